"""Folders that somebody else made: nothing outside them is written, nothing in them runs, everything is a sentence."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import altair as alt
import pandas as pd
import pytest
from typer.testing import CliRunner

from prunemark.cli import app
from prunemark.reports.figure import figure
from prunemark.study.exports import What, export, results
from prunemark.study.judging import judge_study
from prunemark.study.lock import StoreError
from prunemark.study.plan import Plan
from prunemark.study.run import RunSummary
from prunemark.study.store import Store
from prunemark.study.store.rows import COLUMNS, names, seal

Fill = Callable[..., Plan]
ENDLESS = (
    "ALTER TABLE trials RENAME TO real; CREATE VIEW trials AS WITH RECURSIVE n (i) AS"
    " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT real.*, i FROM real, n"
)


def forge(folder: Path, query: str, values: tuple[object, ...] = ()) -> None:
    """Change rows as somebody does who knows how hashes are made, journal included."""
    connection = sqlite3.connect(folder / "study.sqlite")
    connection.create_function("seal", -1, seal)
    with connection:
        connection.execute(query, values)
        for table in COLUMNS:
            connection.execute(f"UPDATE {table} SET hash = seal('{table}', {names(table)})")
    connection.close()
    (folder / "journal.jsonl").unlink(missing_ok=True)


def ways(folder: Path) -> list[Callable[[], object]]:
    """The ways of reading a folder."""
    whats: tuple[What, ...] = ("trials", "curves", "layers", "claims")
    reads: list[Callable[[], object]] = [lambda what=what: results(folder, what=what) for what in whats]
    return [*reads, lambda: judge_study(folder)]


@pytest.mark.parametrize("target", ["there.txt", "dangling.txt"])
def test_no_link_of_a_folder_is_written_through(filled: Fill, tmp_path: Path, target: str) -> None:
    folder, outside = tmp_path / "received", tmp_path / target
    filled(folder)
    if target == "there.txt":
        outside.write_text("precious")
    figures = [folder / f"report-figures/drawn.{kind}" for kind in ("svg", "png", "pdf")]
    figures[0].parent.mkdir()
    paths = [folder / name for name in ("results.csv", "results.json", "results.tex", "claims.csv")] + figures
    for path in paths:
        path.symlink_to(outside)
    for form in ("csv", "json", "latex"):
        export(folder, format=form)
    export(folder, what="claims")
    drawn = figure("drawn", "", "", "", draw, "")
    assert drawn is not None
    drawn.save(figures[0].parent)
    assert not any(path.is_symlink() for path in paths)
    assert (outside.read_text() if outside.exists() else None) == ("precious" if target == "there.txt" else None)


def draw(title: str, subtitle: str) -> alt.Chart:
    table = pd.DataFrame({"x": ["a\x1b\x00\ufffeb"], "y": [1]})
    return alt.Chart(table, title=title).mark_point().encode(x="x:N", y="y:Q")


@pytest.mark.parametrize(
    "name",
    ["writer.lock", "writer.txt", "workers.log", "study.sqlite", "journal.jsonl", "artifacts", "study.sqlite-wal"],
)
def test_a_folder_whose_own_files_are_links_is_refused(filled: Fill, tmp_path: Path, name: str) -> None:
    folder, outside = tmp_path / "received", tmp_path / "outside"
    filled(folder)
    there = folder / name
    if there.exists():
        there.rename(outside)
    else:
        outside.write_text("precious")
    before = outside.read_bytes() if outside.is_file() else b""
    there.symlink_to(outside)
    with pytest.raises(StoreError, match=rf"{name} is a symbolic link"), Store.writing(folder):
        pass
    assert (outside.read_bytes() if outside.is_file() else b"") == before


def test_figures_are_not_written_into_a_folder_that_is_a_link(filled: Fill, tmp_path: Path) -> None:
    folder, outside = tmp_path / "received", tmp_path / "outside"
    filled(folder)
    outside.mkdir()
    (folder / "report-figures").symlink_to(outside)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 1
    assert "is a symbolic link" in done.output
    assert "Replicates: 1" in done.output, "the results are said all the same"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON jobs BEGIN DELETE FROM trials; END",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON jobs (length(result))",
        "ALTER TABLE jobs ADD COLUMN more TEXT",
        "ALTER TABLE jobs ADD COLUMN more TEXT GENERATED ALWAYS AS (hex(result))",
        "DROP TABLE facts",
        ENDLESS,
        "CREATE VIRTUAL TABLE more USING fts5 (x)",
    ],
)
def test_a_database_with_anything_but_our_tables_is_not_read(filled: Fill, tmp_path: Path, sql: str) -> None:
    filled(tmp_path)
    connection = sqlite3.connect(tmp_path / "study.sqlite")
    connection.executescript(sql)
    connection.close()
    with pytest.raises(StoreError, match="holds what no prunemark writes"):
        results(tmp_path)
    # Without reading it: from the journal, if there is one.
    journal = tmp_path / "journal.jsonl"
    aside = journal.rename(tmp_path / "aside")
    with pytest.raises(StoreError, match="holds what no prunemark writes"), Store.writing(tmp_path):
        pass
    aside.replace(journal)
    with Store.writing(tmp_path) as store:
        assert "rebuilt with" in store.notes[0]
    assert len(results(tmp_path)) == 11


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE studies SET spec = '[]'",
        "UPDATE studies SET spec = '{'",
        "UPDATE studies SET spec = '{}'",
        'UPDATE studies SET spec = replace(spec, \'"margin":0.5\', \'"margin":"much"\')',
        "UPDATE studies SET spec = json_set(spec, '$.methods', json('[3]'))",
        "UPDATE studies SET spec = json_set(spec, '$.recipe', json('{\"epochs\": \"many\"}'))",
        "UPDATE studies SET spec = json_set(spec, '$.replicates', json('{\"min\": -1}'))",
        "UPDATE studies SET spec = json_set(spec, '$.network', 'none')",
        "UPDATE jobs SET result = json_set(result, '$.test_accuracy', 'high')",
        "UPDATE jobs SET result = json_set(result, '$.train_seconds', json('[]'))",
        "UPDATE jobs SET result = json_set(result, '$.curve', 7)",
        "UPDATE jobs SET result = json_set(result, '$.curve', json('{\"step\": [1]}'))",
        "UPDATE jobs SET result = json_set(result, '$.layers', json('[1]'))",
        "UPDATE jobs SET result = json_set(result, '$.correct', 'x')",
        "UPDATE jobs SET result = 'no json'",
        "UPDATE jobs SET inputs = '[]'",
        "UPDATE jobs SET inputs = json_object('start', key)",
        "UPDATE trials SET replicate = -9223372036854775808",
        "UPDATE trials SET sparsity = 9e999",
        "UPDATE trials SET sparsity = -1",
    ],
)
def test_content_that_makes_no_sense_is_a_sentence(filled: Fill, tmp_path: Path, query: str) -> None:
    filled(tmp_path)
    forge(tmp_path, query)
    for read in ways(tmp_path):
        # A table, or a sentence.
        with contextlib.suppress(StoreError, ValueError):
            read()


def test_dense_training_that_starts_at_itself_ends(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    forge(tmp_path, "UPDATE jobs SET inputs = json_object('start', key) WHERE kind = 'dense'")
    assert results(tmp_path)["train_seconds"].notna().all()
    assert results(tmp_path, what="curves").empty


def test_texts_of_a_folder_are_one_line_without_escapes(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    evil = "\x1b[31m=cmd|x\n\u202e" + "y" * 500
    forge(tmp_path, "UPDATE trials SET method = ? WHERE method = 'snip'", (evil,))
    forge(tmp_path, 'UPDATE studies SET spec = replace(spec, \'"label":"snip"\', ?)', (f'"label":{json.dumps(evil)}',))
    (method,) = {each for each in results(tmp_path)["method"] if "cmd" in each}
    assert method.isprintable()
    assert len(method) < 400
    done = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output


def test_a_text_cell_is_no_formula(filled: Fill, tmp_path: Path) -> None:
    filled(tmp_path)
    forge(tmp_path, "UPDATE trials SET method = '=HYPERLINK(\"x\")' WHERE method = 'snip'")
    forge(tmp_path, "UPDATE trials SET method = '@SUM(A1)' WHERE method = 'synflow'")
    forge(tmp_path, "UPDATE jobs SET result = json_set(result, '$.test_loss', -1.5)")
    table = pd.read_csv(export(tmp_path))
    assert {'\'=HYPERLINK("x")', "'@SUM(A1)", "random"} <= set(table["method"])
    assert set(table["test_loss"]) == {-1.5}, "numbers stay"


def test_a_drawing_holds_no_character_that_xml_lacks() -> None:
    drawn = figure("name", "t\x07itle", "", "", draw, "d\x0bescription")
    assert drawn is not None
    assert "<svg" in drawn.svg()


def test_a_report_that_fails_hides_no_result(filled: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no ink\x1b[31m")

    monkeypatch.setattr("prunemark.study.reporting.write", fail)
    for options in ([], ["--json"]):
        done = CliRunner().invoke(app, ["report", str(tmp_path), *options])
        assert done.exit_code == 1
        assert "the report could not be written: RuntimeError: no ink" in done.output
        assert "\x1b" not in done.output
        assert ("claims" if options else "Replicates: 1") in done.output


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_report_that_fails_hides_no_answer_of_check(
    filled: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    filled(tmp_path / "out")
    judged = judge_study(tmp_path / "out")
    (tmp_path / "mine.py").write_text("def largest(problem): ...\n")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("prunemark.study.reporting.write", fail)
    monkeypatch.setattr("prunemark.study.judging.judge_study", lambda *_, **__: judged)
    monkeypatch.setattr("prunemark.cli.battery.tell_answers", lambda *_, **__: print("the answers"))
    summary = RunSummary(done=1, failed=0, skipped=0, left=0, seconds=1.0)
    monkeypatch.setattr("prunemark.study.run.run", lambda *_, **__: summary)
    command = ["check", f"{tmp_path}/mine.py:largest", "--out", str(tmp_path / "out"), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "the answers" in done.output
    assert "the report could not be written: RuntimeError: no ink" in done.output


def test_a_path_that_is_too_long_is_a_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path / ("x" * 300), tmp_path.joinpath(*["y" * 100] * 6)):
        with (
            pytest.raises(StoreError, match=r"cannot write to .*(too long|than the 480 bytes)"),
            Store.writing(folder),
        ):
            pass
        with pytest.raises(StoreError, match="holds no results"):
            results(folder)
    assert list(tmp_path.iterdir()) == []
