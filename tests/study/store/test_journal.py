import errno
import os
from pathlib import Path

import pytest

from prunemark.study.store import Store, journal
from prunemark.study.store.journal import Journal


def test_lines_are_read_as_they_were_written_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    entries = [{"facts": ["a", "1"]}, {"facts": ["b", "ä\ud800\n"]}, {"facts": ["c", "3"]}]
    with Journal(tmp_path) as log:
        log.append(entries[0])
        last = log.append(*entries[1:])
    assert [entry for _, entry in journal.read(tmp_path)] == entries
    assert journal.ends_at(tmp_path, last)
    assert last.end == log.path.stat().st_size
    assert [entry for _, entry in journal.read(tmp_path, since=last.at)] == entries[2:]
    log.path.write_bytes(log.path.read_bytes().replace(b'"b"', b'"x"'))
    assert [entry for _, entry in journal.read(tmp_path)] == [entries[0], None, entries[2]]


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    with Journal(tmp_path) as log:
        log.append({"facts": ["a", "1"]})
        log.append({"facts": ["b", "2"]})
    log.path.write_bytes(log.path.read_bytes()[:-9])
    with Journal(tmp_path) as log:
        log.append({"facts": ["c", "3"]})
    assert [entry for _, entry in journal.read(tmp_path)] == [{"facts": ["a", "1"]}, None, {"facts": ["c", "3"]}]


def test_a_write_that_fails_is_taken_back_and_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.writing(tmp_path) as store:
        store.require_fact("a", "1", "")
        before = (tmp_path / "journal.jsonl").read_bytes()
        write = os.write

        def full(descriptor: int, content: bytes) -> int:
            write(descriptor, bytes(content)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(
            OSError, match=r"journal.jsonl cannot be written to: No space left .*; free space"
        ) as caught:
            store.require_fact("b", "2", "")
        monkeypatch.undo()
        assert caught.value.errno == errno.ENOSPC
        assert (tmp_path / "journal.jsonl").read_bytes() == before
        assert store.facts() == {"a": "1"}
        store.require_fact("b", "2", "")
    with Store.writing(tmp_path) as store:
        assert store.facts() == {"a": "1", "b": "2"}
        assert store.notes == []


def test_each_record_is_in_the_journal_before_the_database_knows(tmp_path: Path) -> None:
    with Store.writing(tmp_path) as store:
        with pytest.raises(ZeroDivisionError), store._recorded({"facts": ["a", "1"]}):  # pyright: ignore[reportPrivateUsage]
            raise ZeroDivisionError
        assert store.facts() == {}
    with Store.writing(tmp_path) as store:
        assert store.facts() == {"a": "1"}, "as after a kill between the two"
