import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prunemark.study.exports import results
from prunemark.study.plan import Plan
from prunemark.study.store import DamagedRowsWarning, Store
from prunemark.study.store.rows import COLUMNS, names, seal
from tests.study.store.conftest import outcome

Fill = Callable[..., Plan]


def rows(folder: Path) -> dict[str, set[tuple[Any, ...]]]:
    connection = sqlite3.connect(folder / "study.sqlite")
    found = {table: set(connection.execute(f"SELECT {names(table)}, hash FROM {table}")) for table in COLUMNS}
    connection.close()
    return found


def sql(folder: Path, *queries: str) -> None:
    with sqlite3.connect(folder / "study.sqlite") as connection:
        for query in queries:
            connection.execute(query)
    connection.close()


def _delete(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _garbage(file: Path) -> None:
    file.write_bytes(b"not a database, but long enough to be taken for one" * 40)


def _holes(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + bytes(len(whole) - 4096))


@pytest.mark.parametrize("harm", [_delete, _empty, _half, _garbage, _holes])
def test_a_lost_database_is_rebuilt_from_the_journal(
    filled: Fill, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    filled(tmp_path)
    filled(tmp_path, name="second", margin=1.0)
    before, table = rows(tmp_path), results(tmp_path)
    harm(tmp_path / "study.sqlite")
    with Store.writing(tmp_path) as store:
        assert f"rebuilt with {len(before['jobs'])} jobs" in store.notes[0]
    assert rows(tmp_path) == before
    pd.testing.assert_frame_equal(results(tmp_path), table)
    with Store.writing(tmp_path) as store:
        assert store.notes == [], "once"


def test_a_damaged_database_without_a_journal_gives_what_can_be_read(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    before = rows(tmp_path)
    (tmp_path / "journal.jsonl").unlink()
    file = tmp_path / "study.sqlite"
    whole = bytearray(file.read_bytes())
    whole[-4096:] = bytes(4096)
    file.write_bytes(whole)
    with Store.writing(tmp_path) as store:
        assert "study.damaged" in store.notes[0]
    after = rows(tmp_path)
    assert (tmp_path / "study.damaged").read_bytes() == whole
    assert all(after[table] <= before[table] for table in COLUMNS), "nothing that was not stored"
    assert sum(map(len, after.values())) > 5


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET result = replace(result, '0.05', '0.95')",
        "UPDATE jobs SET status = 'diverged' WHERE rowid = 3",
        "UPDATE jobs SET digest = 'abc' WHERE rowid = 3",
        "UPDATE trials SET sparsity = 0.95 WHERE position = 4",
        "UPDATE trials SET job_key = (SELECT min(job_key) FROM trials)",
        "UPDATE studies SET spec = replace(spec, 'digits', 'mnist')",
        "UPDATE facts SET value = 'f2'",
    ],
)
def test_a_changed_row_is_left_out_by_readers_and_restored_by_writers(
    filled: Fill, tmp_path: Path, change: str
) -> None:
    filled(tmp_path)
    before = rows(tmp_path)
    sql(tmp_path, change)
    assert rows(tmp_path) != before
    with Store.reading(tmp_path) as store:
        with pytest.warns(DamagedRowsWarning, match=r"rows? of .* not what was stored"):
            store.results()
        assert store.notes
    with Store.writing(tmp_path) as store:
        assert "restored from journal.jsonl" in store.notes[0]
    assert rows(tmp_path) == before


def test_a_changed_row_that_no_journal_has_is_computed_again(filled: Fill, tmp_path: Path) -> None:
    job_plan = filled(tmp_path)
    (tmp_path / "journal.jsonl").unlink()
    with Store.writing(tmp_path):
        pass
    sql(tmp_path, "UPDATE jobs SET result = replace(result, '0.05', '0.95')")
    (tmp_path / "journal.jsonl").write_text("")
    with Store.writing(tmp_path) as store:
        assert "computed again where needed" in store.notes[0]
        assert len(store.finished()) == len(job_plan.jobs) - 1


def test_a_byte_that_is_no_utf_8_is_a_changed_row(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    before = rows(tmp_path)
    sql(tmp_path, "UPDATE jobs SET device = CAST(x'ff63' AS TEXT) WHERE rowid = 2")
    with Store.reading(tmp_path) as store, pytest.warns(DamagedRowsWarning):
        assert len(store.results()) == 11
    with Store.writing(tmp_path):
        pass
    assert rows(tmp_path) == before


def test_rows_that_a_lost_wal_held_come_back(filled: Fill, tmp_path: Path) -> None:
    job_plan = filled(tmp_path)
    early = tmp_path / "early.sqlite"
    shutil.copy(tmp_path / "study.sqlite", early)
    with Store.writing(tmp_path) as store:
        store.record(job_plan.jobs[-1], outcome(test_accuracy=0.75))
    before = rows(tmp_path)
    early.replace(tmp_path / "study.sqlite")
    with Store.writing(tmp_path) as store:
        assert store.notes == ["1 rows that study.sqlite had lost were restored from journal.jsonl"]
    assert rows(tmp_path) == before


def test_a_copy_with_a_wal_is_read_where_nothing_can_be_written(
    filled: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_plan = filled(tmp_path / "first")
    with Store.writing(tmp_path / "first") as store:
        store.record(job_plan.jobs[-1], outcome(test_accuracy=0.75))
        (tmp_path / "copy").mkdir()
        for name in ("study.sqlite", "study.sqlite-wal"):
            shutil.copy(tmp_path / "first" / name, tmp_path / "copy" / name)
    monkeypatch.setattr("os.access", lambda *_: False)
    table = results(tmp_path / "copy").set_index("job_key")
    assert table.loc[job_plan.jobs[-1].key, "test_accuracy"] == 0.75
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"study.sqlite", "study.sqlite-wal"}


def test_the_study_that_ran_last_is_the_last_though_a_clock_was_set_back(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    with Store.writing(tmp_path) as store:
        row = (
            "tiny",
            store.connection.execute("SELECT spec FROM studies").fetchone()[0],
            "2099-01-01T00:00:00.000000Z",
        )
        store.connection.execute("UPDATE studies SET run_at = ?, hash = ?", (row[2], seal("studies", *row)))
        store.connection.commit()
    filled(tmp_path, name="second")
    with Store.reading(tmp_path) as store:
        assert list(store.studies()) == ["tiny", "second"]


def test_a_lost_or_cut_journal_is_written_again(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    before, journal = rows(tmp_path), tmp_path / "journal.jsonl"
    for content in (b"", journal.read_bytes()[:1000], journal.read_bytes()[:-20] + b"x" * 20):
        journal.write_bytes(content)
        with Store.writing(tmp_path) as store:
            assert store.notes == []
        (tmp_path / "study.sqlite").unlink()
        with Store.writing(tmp_path):
            pass
        assert rows(tmp_path) == before


def test_a_folder_of_version_0_1_is_read_and_brought_up_to_date(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    before, table = rows(tmp_path), results(tmp_path)
    _downgrade(tmp_path)
    pd.testing.assert_frame_equal(results(tmp_path), table)
    with Store.writing(tmp_path) as store:
        assert store.notes == []
    assert rows(tmp_path) == before
    (tmp_path / "study.sqlite").unlink()
    with Store.writing(tmp_path):
        pass
    assert rows(tmp_path) == before


def _downgrade(folder: Path) -> None:
    (folder / "journal.jsonl").unlink()
    hashes = [f"ALTER TABLE {table} DROP COLUMN hash" for table in COLUMNS]
    digests = [f"ALTER TABLE jobs DROP COLUMN {name}" for name in ("digest", "size")]
    sql(folder, *hashes, *digests, "DROP TABLE journal", "PRAGMA user_version = 1")


def test_artifacts_without_any_record_are_said(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "artifacts" / f"{'a' * 64}.safetensors").write_text("mask")
    for name in ("study.sqlite", "journal.jsonl"):
        (tmp_path / name).unlink()
    with Store.writing(tmp_path) as store:
        assert "is missing, and so is the journal" in store.notes[0]
