from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from prunemark.artifacts import Format, digest_of, write_artifact
from prunemark.cli import app
from prunemark.parts import part_place
from prunemark.study.job import Outcome
from prunemark.study.lock import StoreError
from prunemark.study.plan import Plan, plan
from prunemark.study.spec import Study
from prunemark.study.store import Store
from prunemark.study.store.clean import clean
from prunemark.study.store.verify import verify
from tests.study.store.conftest import outcome
from tests.study.store.test_rebuild import _downgrade, sql  # pyright: ignore[reportPrivateUsage]

Fill = Callable[..., Plan]


def with_artifacts(filled: Fill, folder: Path) -> list[Path]:
    """The artifacts of the first three jobs of a folder, made up, with their digests."""
    job_plan = filled(folder)
    paths: list[Path] = []
    with Store.writing(folder) as store:
        for job in job_plan.jobs[:3]:
            paths.append(path := store.artifact(job.key))
            write_artifact(path, Format("scores", "made up"), {"a": torch.ones(3)}, {"kind": job.kind})
            found = outcome(test_accuracy=0.5)
            store.record(job, type(found)(**(vars(found) | {"digest": digest_of(path), "size": path.stat().st_size})))
    return paths


def test_a_whole_folder(filled: Fill, tmp_path: Path) -> None:
    with_artifacts(filled, tmp_path)
    found = verify(tmp_path)
    assert found.problems == ()
    assert (found.artifacts, found.unknown) == (3, 0)
    assert found.rows > 20
    assert found.lines > 10
    done = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert done.exit_code == 0
    assert "all of it is what was stored" in done.output


def test_everything_that_is_wrong_is_named_and_repaired(filled: Fill, tmp_path: Path) -> None:
    changed, cut, gone = with_artifacts(filled, tmp_path)
    changed.write_text("x" * changed.stat().st_size)
    cut.write_text("")
    gone.unlink()
    (tmp_path / "artifacts" / "stranger.safetensors").write_text("?")
    sql(tmp_path, "UPDATE jobs SET seconds = 7 WHERE rowid = 9")
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1].replace(b"digits", b"mnist"), *lines[2:]]))
    done = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert done.exit_code == 1
    for each in (
        f"{changed} is not the file that was written",
        f"{cut} has 0 bytes, and",
        f"{gone} is missing",
        "1 artifact of no recorded job, which prunemark clean removes",
        "row 9 of jobs is not what was stored",
        "journal.jsonl: line 2 is damaged",
        "5 problems",
    ):
        assert each in done.output
    done = CliRunner().invoke(app, ["verify", str(tmp_path), "--repair"])
    assert done.exit_code == 0
    assert "restored from journal.jsonl" in done.output
    assert f"{changed} was removed" in done.output
    assert not changed.exists()
    # A line of the journal stays as it is; the row that it had is in the journal once more.
    assert [each for each in verify(tmp_path).problems if "is missing" not in each] == [f"{journal}: line 2 is damaged"]


def test_a_damaged_database_is_a_problem_and_is_repaired(filled: Fill, tmp_path: Path) -> None:
    with_artifacts(filled, tmp_path)
    (tmp_path / "study.sqlite").write_text("no database at all, and no way to find one")
    assert "study.sqlite is damaged" in verify(tmp_path).problems[0]
    assert "rebuilt with" in verify(tmp_path, repair=True).repaired[0]
    assert verify(tmp_path).problems == ()


def test_an_earlier_version_has_no_digests_until_they_are_recorded(filled: Fill, tmp_path: Path) -> None:
    with_artifacts(filled, tmp_path)
    _downgrade(tmp_path)
    assert verify(tmp_path).unknown == 3
    said = " ".join(CliRunner().invoke(app, ["verify", str(tmp_path), "--repair"]).output.split())
    assert "all that can be verified is what was stored; 3 artifacts of an earlier version without a digest" in said
    assert "which is recorded now from the files as they are: what changed before is not found" in said
    found = verify(tmp_path)
    assert (found.unknown, found.artifacts, found.problems) == (0, 3, ())


@pytest.mark.parametrize("keep", [0, 5, 30, -1])
def test_an_artifact_of_an_earlier_version_that_was_cut_off_gets_no_digest(
    filled: Fill, tmp_path: Path, keep: int
) -> None:
    cut, *_ = with_artifacts(filled, tmp_path)
    _downgrade(tmp_path)
    cut.write_bytes(cut.read_bytes()[:keep])
    assert verify(tmp_path).problems == (f"{cut} is no whole artifact",)
    verify(tmp_path, repair=True)
    assert not cut.exists()
    assert verify(tmp_path).artifacts == 2


def test_only_a_folder_of_results_is_looked_at(tmp_path: Path) -> None:
    for look in (verify, clean):
        with pytest.raises(StoreError, match="holds no results of prunemark"):
            look(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_clean_keeps_what_trials_rest_on(filled: Fill, tiny: Callable[..., Study], tmp_path: Path) -> None:
    job_plan = filled(tmp_path)
    with Store.writing(tmp_path) as store:
        for job in job_plan.jobs:
            store.artifact(job.key).write_text("12345")
        store.artifact("f" * 64).write_text("12345")
    files = set((tmp_path / "artifacts").iterdir())
    assert clean(tmp_path, dry_run=True).files == 1
    assert set((tmp_path / "artifacts").iterdir()) == files
    assert clean(tmp_path).kept == len(job_plan.jobs)
    # A study that has fewer trials now.
    filled(tmp_path, methods=["snip"])
    fewer = clean(tmp_path)
    assert 0 < fewer.files < len(job_plan.jobs)
    assert fewer.size == 5 * fewer.files
    # One of its trainings is to be done again, and needs its mask.
    key = next(trial.job_key for trial in job_plan.trials if trial.method == "snip")
    job = next(job for job in job_plan.jobs if job.key == key)
    with Store.writing(tmp_path) as store:
        before = {path.stem for path in store.artifacts.iterdir()}
        store.record(job, Outcome(status="failed", error="no"))
    done = CliRunner().invoke(app, ["clean", str(tmp_path), "--all"])
    assert done.exit_code == 0, done.output
    left = {path.stem for path in (tmp_path / "artifacts").iterdir()}
    assert set(job.inputs.values()) <= left < before


@pytest.mark.parametrize("everything", [False, True])
def test_clean_keeps_how_far_jobs_were_that_a_stopped_run_left(
    filled: Fill, tiny: Callable[..., Study], tmp_path: Path, everything: bool
) -> None:
    job_plan = filled(tmp_path, methods=["snip"], benchmarks=[])
    training = job_plan.jobs[-1].key
    with Store.writing(tmp_path) as store:
        store.record(job_plan.jobs[-1], Outcome(status="failed", error="not finished after 1 min"))
    parts = {part_place(tmp_path / "artifacts", key) for key in (training, "f" * 64)}
    for part in parts:
        part.write_text("12345")
    clean(tmp_path, everything=everything)
    assert set((tmp_path / "artifacts").glob("*.part")) == {part_place(tmp_path / "artifacts", training)}
    # One that was stopped in a job that was never recorded: which that is, its plan alone knows.
    other = plan(tiny(methods=["snip"], benchmarks=[], replicates=2))
    with Store.writing(tmp_path) as store:
        store.begin(other)
    for part in parts:
        part.write_text("12345")
    clean(tmp_path, everything=everything)
    assert set((tmp_path / "artifacts").glob("*.part")) == parts
