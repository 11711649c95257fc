import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from torch import Tensor

from prunemark.datasets import DATASETS, Dataset, Normalisation, Split, digits
from prunemark.study.executors import Finished
from prunemark.study.exports import results
from prunemark.study.job import Job
from prunemark.study.judging import judge_study
from prunemark.study.lock import StoreError
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.progress import Advanced, Event, Planned, Working, duration
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from tests.study.inline import InlineExecutor

Tiny = Callable[..., Study]


def numbers(folder: Path) -> pd.DataFrame:
    """The results without what may differ from run to run."""
    return results(folder).drop(columns="train_seconds")


class Interrupt:
    """Progress that presses Ctrl-C after some jobs."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, event: Event) -> None:
        if isinstance(event, Advanced) and event.jobs_done == self.after:
            raise KeyboardInterrupt


def load_digits(*, data_dir: str | None = None, normalisation: Normalisation | None = None) -> Dataset:
    """The digits, whose inputs are twice as large where a normalisation is given."""
    data = digits.load(data_dir=data_dir)
    if normalisation is None:
        return data
    assert isinstance(data.train.inputs, Tensor)
    assert isinstance(data.test.inputs, Tensor)
    splits = {
        name: Split(inputs=2 * part.inputs, targets=part.targets)
        for name, part in (("train", data.train), ("test", data.test))
    }
    return dataclasses.replace(data, **splits)


def test_studies_with_named_deviations_run_beside_others_and_their_facts_say_so(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dataclasses.replace(
        DATASETS["digits"],
        target="tests.study.test_run:load_digits",
        paper_normalisation=Normalisation(mean=(0.0,), std=(0.5,)),
    )
    monkeypatch.setitem(DATASETS, "digits", entry)
    few = {"methods": ["snip"], "benchmarks": [], "ablations": [], "replicates": 2}
    ours = tiny(**few)
    theirs = tiny(**few, name="theirs", normalise="paper", scoring_batch=60)
    assert not {job.key for job in plan(ours).jobs} & {job.key for job in plan(theirs).jobs}
    for study in (ours, theirs):
        assert run(study, out=tmp_path, executor=inline).failed == 0
    table = results(tmp_path)
    dense = table[table.method == "dense"]
    assert (
        dense[dense.study == "tiny"].test_loss.to_numpy() != dense[dense.study == "theirs"].test_loss.to_numpy()
    ).all()
    facts = {name: judge_study(tmp_path, study=name).facts for name in ("tiny", "theirs")}
    assert facts["tiny"]["Inputs"].startswith("normalised by the mean and standard deviation of the data set's own")
    assert facts["theirs"]["Inputs"].startswith("normalised by the constants in the code of Frankle et al. 2021")
    assert [facts[name]["Scored examples"] for name in facts] == [
        "10 per class, 250 at a time",
        "10 per class, 60 at a time",
    ]


def test_a_study_from_beginning_to_end(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    events: list[Event] = []
    summary = run(tiny(), out=tmp_path, executor=inline, progress=events.append)
    job_plan = plan(tiny())
    assert (summary.done, summary.failed, summary.skipped, summary.left) == (len(job_plan.jobs), 0, 0, 0)
    assert not summary.interrupted
    planned, *advanced = [event for event in events if not isinstance(event, Working)]
    assert isinstance(planned, Planned)
    assert (planned.jobs, planned.steps) == (len(job_plan.jobs), job_plan.steps)
    assert planned.seconds > 0
    assert "expected time: " in planned.describe()
    assert all(isinstance(event, Advanced) for event in advanced)
    last = advanced[-1]
    assert isinstance(last, Advanced)
    assert (last.jobs_done, last.steps_done) == (last.jobs_total, last.steps_total)
    assert last.seconds_left == pytest.approx(0, abs=1e-6)
    table = results(tmp_path)
    assert len(table) == len(job_plan.trials)
    assert set(table["status"]) == {"done"}
    assert set(table.loc[table["sparsity"] > 0, "density"].round(3)) == {0.1}
    assert table["test_accuracy"].between(0, 1).all()
    assert table["train_seconds"].gt(0).all()


def test_nothing_is_run_twice(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    run(tiny(), out=tmp_path, executor=inline)
    InlineExecutor.executed.clear()
    events: list[Event] = []
    summary = run(tiny(), out=tmp_path, executor=inline, progress=events.append)
    assert InlineExecutor.executed == []
    assert (summary.done, summary.skipped, summary.left) == (0, len(plan(tiny()).jobs), 0)
    (planned,) = events
    assert isinstance(planned, Planned)
    assert "nothing is left to do" in planned.describe()

    more = tiny(sparsities=[0.9, 0.5])
    run(more, out=tmp_path, executor=inline)
    old = {job.key for job in plan(tiny()).jobs}
    assert set(InlineExecutor.executed) == {job.key for job in plan(more).jobs} - old
    assert len(results(tmp_path)) == len(plan(more).trials)


def test_a_training_that_kept_no_state_is_run_again_where_its_state_is_needed(
    tiny: Tiny, tmp_path: Path, inline: str
) -> None:
    once = tiny(methods=[], ablations=[], sparsities=[0.2])
    run(once, out=tmp_path, executor=inline)
    before = numbers(tmp_path)
    InlineExecutor.executed.clear()
    more = tiny(methods=[], ablations=[], sparsities=[0.2, 0.3], benchmarks=["lottery-rewinding", "imp-rewinding"])
    run(more, out=tmp_path, executor=inline)
    again = {job.key for job in plan(once).jobs} & set(InlineExecutor.executed)
    assert [job.key for job in plan(more).jobs if job.keeps_state] == list(again)
    same = numbers(tmp_path).merge(before, how="inner")
    pd.testing.assert_frame_equal(same, before, check_exact=True)


def test_neither_workers_nor_interruptions_change_results(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    # Two processes; this one, job after job; this one, in another order; and this one, stopped twice.
    run(tiny(), out=tmp_path / "two", workers=2)
    run(tiny(), out=tmp_path / "one", executor=inline, workers=1)
    run(tiny(), out=tmp_path / "four", executor=inline, workers=4)
    InlineExecutor.executed.clear()
    for after in (5, 6):
        summary = run(tiny(), out=tmp_path / "stopped", executor=inline, progress=Interrupt(after))
        assert summary.interrupted
        assert summary.done == after
    assert summary.left == len(plan(tiny()).jobs) - 11
    assert not run(tiny(), out=tmp_path / "stopped", executor=inline).interrupted
    assert len(InlineExecutor.executed) == len(set(InlineExecutor.executed)) == len(plan(tiny()).jobs)
    expected = numbers(tmp_path / "one")
    assert len(expected) == len(plan(tiny()).trials)
    for name in ("two", "four", "stopped"):
        pd.testing.assert_frame_equal(numbers(tmp_path / name), expected, check_exact=True)


def test_a_dry_run_plans_and_writes_nothing(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    events: list[Event] = []
    out = tmp_path / "out"
    summary = run(tiny(), out=out, dry_run=True, progress=events.append)
    assert summary.left == len(plan(tiny()).jobs)
    assert len(events) == 1
    assert not out.exists()
    run(tiny(), out=out, executor=inline)
    assert run(tiny(), out=out, dry_run=True).left == 0


def test_a_dry_run_without_the_data_downloads_nothing_and_says_so(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a dry run reads no data that are not here")

    monkeypatch.setattr("prunemark.study.preflight.read_data", never)
    events: list[Event] = []
    study = tiny(dataset="cifar-10", recipe={"epochs": 1, "batch_size": 4})
    summary = run(study, out=tmp_path / "out", dry_run=True, data_dir=tmp_path, progress=events.append)
    (planned,) = events
    assert isinstance(planned, Planned)
    assert "note: cifar-10 is not here (prunemark data fetch cifar-10): the time is measured on" in planned.describe()
    assert planned.step_seconds > 0
    assert summary.left == len(planned.plan.jobs)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_without_the_data_still_finds_what_is_wrong(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(dataset="cifar-10", methods=[{"name": "snip", "quotas": "uniform-plus"}], network="resnet-8")
    study = study.model_copy(update={"sparsities": (0.9999,)})
    with pytest.raises(StudyError, match=r"methods\[0\]: quotas: at sparsity 0.9999"):
        run(study, out=tmp_path / "out", dry_run=True, data_dir=tmp_path)


BAD_METHOD = """
def fails(problem):
    if problem.seed:  # not when the study is checked
        raise RuntimeError("no score today")
    return works(problem)
def works(problem):
    return {name: weight.abs() for name, weight in problem.weights.items()}
"""


def test_a_failing_job_takes_only_what_needs_it(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BAD_METHOD)
    study = tiny(methods=["snip", f"{file}:fails", f"{file}:works"], benchmarks=[], ablations=["shuffle"])
    out = tmp_path / "out"
    events: list[Event] = []
    summary = run(study, out=out, executor=inline, workers=2, progress=events.append)
    # Its score; the mask and the two trainings that need it are given up.
    assert summary.failed == 4
    assert summary.left == 0
    ((key, reason),) = summary.failures
    assert reason == "RuntimeError: no score today"
    table = results(out)
    failed = table[table["method"] == "fails"]
    assert set(failed["status"]) == {"failed"}
    assert failed["test_accuracy"].isna().all()
    assert set(table.drop(failed.index)["status"]) == {"done"}
    with Store.reading(out) as store:
        given_up = store.details(failed["job_key"].iloc[-1])
        assert given_up["error"] == f"not run: it needs score {key}: RuntimeError: no score today"
    last = [event for event in events if isinstance(event, Advanced)][-1]
    assert (last.jobs_done, last.steps_done) == (last.jobs_total, last.steps_total)

    InlineExecutor.executed.clear()
    assert run(study, out=out, executor=inline).failed == 4
    assert InlineExecutor.executed == [key], "what failed is tried again, and what it takes along waits for it"


def test_an_artifact_that_is_gone_is_made_again(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    run(tiny(), out=tmp_path, executor=inline)
    for path in (tmp_path / "artifacts").iterdir():
        path.unlink()
    InlineExecutor.executed.clear()
    assert run(tiny(), out=tmp_path, executor=inline).done == 0
    more = tiny(ablations=["shuffle", "invert", "reinit"])
    summary = run(more, out=tmp_path, executor=inline)
    assert (summary.failed, summary.left) == (0, 0)
    assert set(results(tmp_path)["status"]) == {"done"}


class Fragile(InlineExecutor):
    """Loses the first `lives` workers that get a certain kind of job."""

    lives = 2

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # pyright: ignore[reportArgumentType]
        self.lost: list[Job] = []
        self.most = 0

    def wait(self, timeout_s: float | None = None) -> Finished:
        job = self.jobs[-1]
        if job.kind == "score" and self.lost.count(job) < self.lives:
            self.lost.append(self.jobs.pop())
            return Finished(job=job, lost="the worker was killed (signal 9)")
        if job in self.lost:
            assert len(self.jobs) == 1, "a second chance has the machine to itself"
        return super().wait()


@pytest.mark.parametrize("lives", [2, 3])
def test_a_job_that_kills_its_worker_three_times_is_given_up(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch, lives: int
) -> None:
    monkeypatch.setattr("tests.study.inline.InlineExecutor", Fragile)
    monkeypatch.setattr(Fragile, "lives", lives)
    summary = run(tiny(), out=tmp_path, executor=inline, workers=3)
    if lives == 3:
        reason = "the worker was killed (signal 9); given up after 3 attempts"
        assert [said for _, said in summary.failures] == [reason] * 3
        assert summary.done == 3 + 2 + 3, "SynFlow and the dense network need no score"
    else:
        assert summary.failed == 0
    assert summary.left == 0


def test_what_cannot_run_is_refused_before_anything_is_written(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='unknown executor "locl"; known: local, ray; did you mean "local"'):
        run(tiny(), out=tmp_path, executor="locl")
    with pytest.raises(ValueError, match="workers counts from 1; got 0"):
        run(tiny(), out=tmp_path, workers=0)
    with pytest.raises(ValueError, match='device "quantum" cannot be used here'):
        run(tiny(), out=tmp_path, device="quantum")
    with pytest.raises(StudyError, match="unknown study"):
        run("quikstart", out=tmp_path)
    with pytest.raises(StudyError, match='unknown option "bnn"'):
        run(tiny(methods=[{"name": "snip", "options": {"bnn": "x"}}]), out=tmp_path)
    assert not list(tmp_path.iterdir())
    damaged = tmp_path / "data" / "fashion-mnist"
    damaged.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (damaged / f"{part}-ubyte.gz").write_text("damaged")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        run(tiny(dataset="fashion-mnist"), out=tmp_path / "out", data_dir=tmp_path / "data")
    assert [folder.name for folder in tmp_path.iterdir()] == ["data"]


def test_a_folder_that_is_being_written_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with Store.writing(tmp_path), pytest.raises(StoreError, match=f"is being written by process {os.getpid()}"):
        run(tiny(), out=tmp_path)


def test_data_that_changed_are_refused(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    with Store.writing(tmp_path) as store:
        store.require_fact("data set digits", "another fingerprint", "")
    with pytest.raises(StoreError, match=r"the data set digits has changed: .* was begun with another fingerprint"):
        run(tiny(), out=tmp_path, executor=inline)


DRIVER = """
import signal, sys
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.study.conftest import TINY

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs come with it ignored
for _ in range(2):
    tell = lambda event: print(type(event).__name__, flush=True)
    summary = run(Study(**TINY), out=sys.argv[1], workers=2, progress=tell)
    print("interrupted" if summary.interrupted else "finished", flush=True)
"""


def wait_for(process: subprocess.Popen[str], line: str, count: int = 1) -> None:
    assert process.stdout is not None
    while count:
        said = process.stdout.readline()
        assert said, "the driver ended early"
        count -= said == f"{line}\n"


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc to find the workers")
def test_a_script_can_be_interrupted_and_killed_and_resumed(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    out = tmp_path / "out"
    script = subprocess.Popen([sys.executable, "-c", DRIVER, str(out)], stdout=subprocess.PIPE, text=True)
    wait_for(script, "Advanced", 2)
    script.send_signal(signal.SIGINT)
    wait_for(script, "interrupted")
    wait_for(script, "Advanced", 3)
    workers = [int(pid) for pid in Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()]
    script.kill()
    script.communicate()
    assert script.returncode == -signal.SIGKILL
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.02)
    summary = run(tiny(), out=out, executor=inline)
    assert summary.skipped >= 5
    assert (summary.failed, summary.left) == (0, 0)
    run(tiny(), out=tmp_path / "straight", executor=inline)
    pd.testing.assert_frame_equal(numbers(out), numbers(tmp_path / "straight"), check_exact=True)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_engine_is_recorded_and_changes_no_key(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    study = tiny(methods=["random"], benchmarks=[], ablations=[], replicates=2)
    with pytest.raises(ValueError, match=r'unknown engine "spase".*did you mean "sparse"'):
        run(study, out=tmp_path, executor=inline, engine="spase")
    assert run(study, out=tmp_path, executor=inline, engine="dense").failed == 0
    assert set(results(tmp_path)["engine"]) == {"dense"}
    assert judge_study(tmp_path).facts["Engine"] == "dense"
    assert run(study, out=tmp_path, executor=inline, engine="auto").done == 0
