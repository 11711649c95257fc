import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prunemark import artifacts
from prunemark.study import disk
from prunemark.study.disk import DiskFullError, Sizes, needed_bytes, require_room
from prunemark.study.executors import Finished
from prunemark.study.job import Context, Outcome, Underway, printable
from prunemark.study.plan import plan
from prunemark.study.progress import Event, Planned, Resumed, Slow, Working
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from tests.study.inline import InlineExecutor

Tiny = Callable[..., Study]


class Waits(InlineExecutor):
    """Says of each score that it has taken a while, until it is taken away or has been asked often enough."""

    seconds = 0.0
    looks = 3

    def __init__(self, context: Context, workers: int, log: Path) -> None:
        super().__init__(context, workers, log)
        self.asked = Counter[str]()

    def wait(self, timeout_s: float | None = None) -> Finished | None:  # type: ignore[override]
        for job in self.jobs:
            if job.kind == "score" and self.asked[job.key] < self.looks:
                self.asked[job.key] += 1
                return None
        return super().wait(timeout_s)

    def underway(self) -> list[Underway]:
        return [
            Underway(job=job, seconds=self.seconds if job.kind == "score" else 1.0, step=7, resumed_at=5)
            for job in self.jobs
        ]


@pytest.fixture
def waits(inline: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("tests.study.inline.InlineExecutor", Waits)
    monkeypatch.setattr("prunemark.study.driver._LOOK_S", 0.0)
    return inline


def snip(tiny: Tiny, **fields: Any) -> Study:
    return tiny(methods=["snip"], benchmarks=[], ablations=[], **fields)


def test_a_job_that_takes_longer_than_it_may_has_failed(
    tiny: Tiny, tmp_path: Path, waits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waits, "seconds", 61.0)
    summary = run(snip(tiny), out=tmp_path, executor=waits, workers=1, job_timeout_s=60)
    ((_, reason),) = summary.failures
    assert reason == "not finished after 1 min 0 s, the time that --job-timeout allows a job"
    assert (summary.done, summary.failed, summary.left) == (2, 3, 0), "its mask and training are given up with it"


def test_what_workers_do_is_told_and_what_takes_ten_times_as_long_as_it_should(
    tiny: Tiny, tmp_path: Path, waits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waits, "seconds", 601.0)
    events: list[Event] = []
    assert run(snip(tiny), out=tmp_path, executor=waits, workers=1, progress=events.append).failed == 0
    doing = [event.describe() for event in events if isinstance(event, Working)]
    assert "scores of snip (round 7, 10 min 1 s)" in doing
    (slow,) = (event for event in events if isinstance(event, Slow))
    assert slow.describe() == (
        "slow: scores of snip has been under way for 10 min 1 s; none of its kind has finished yet "
        "(--job-timeout ends such jobs)"
    )
    resumed = [event.describe() for event in events if isinstance(event, Resumed)]
    assert "resumed scores of snip after round 5" in resumed

    # Its time is known now: of two more replicates, a score may take ten times as long as those did.
    monkeypatch.setattr(Waits, "seconds", 31.0)
    events.clear()
    run(snip(tiny, replicates=3), out=tmp_path, executor=waits, workers=1, progress=events.append)
    slow = [event.describe() for event in events if isinstance(event, Slow)]
    assert len(slow) == 1, "the first of its kind has time; its time is expected of the second"
    assert slow[0].startswith("slow: scores of snip has been under way for 31 s; about 1 s were expected")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_at_once_and_the_next_run_goes_on(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    replace, left = Path.replace, [4]

    def full(path: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise OSError(code, os.strerror(code))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(artifacts.Path, "replace", full)
        message = r"no space is left for .* \(OSError: .*\). All that was stored is whole, and \d+ jobs are left; free"
        with pytest.raises(DiskFullError, match=message):
            run(tiny(), out=tmp_path, executor=inline, workers=1)
    done = len(InlineExecutor.executed) - 1
    summary = run(tiny(), out=tmp_path, executor=inline, workers=1)
    assert (summary.skipped, summary.failed, summary.left) == (done, 0, 0)
    assert done < 4, "nothing was begun after it"


def test_a_full_disk_of_the_database_says_the_same(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(Store, "record", full)
    with pytest.raises(DiskFullError, match="no space is left"):
        run(tiny(), out=tmp_path, executor=inline)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, usage = plan(tiny()).jobs, disk.shutil.disk_usage(tmp_path)
    sizes = Sizes(state=4 * 24_120, weights=23_400)  # LeNet-300-100 on 8 x 8 pixels, about
    needed = needed_bytes(jobs, sizes, 1)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage._replace(free=needed // 2))
    with pytest.raises(DiskFullError, match=r"the study needs about \d\.\d MB in .*out, and \d\.\d MB are free there"):
        run(tiny(), out=tmp_path / "new" / "out", executor=inline)
    assert not list(tmp_path.iterdir())
    require_room(tmp_path, needed // 2)


def test_room_is_reckoned_for_what_is_stored(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    run(tiny(), out=tmp_path, executor=inline, workers=1)
    stored = sum(path.stat().st_size for path in (tmp_path / "artifacts").iterdir())
    with Store.reading(tmp_path) as store:
        # The initial state holds all parameters and nothing else.
        state = store.artifact(plan(tiny()).jobs[0].key).stat().st_size
    sizes = Sizes(state=state, weights=8 * 8 * 300 + 300 * 100 + 100 * 10)
    needed = needed_bytes(plan(tiny()).jobs, sizes, 1)
    assert stored < needed < 4 * stored + 1_000_000


def test_what_another_driver_did_meanwhile_is_not_done_again(tiny: Tiny, tmp_path: Path, inline: str) -> None:
    def another(event: Event) -> None:
        if isinstance(event, Planned):
            run(tiny(), out=tmp_path, executor=inline)

    summary = run(tiny(), out=tmp_path, executor=inline, progress=another)
    assert (summary.done, summary.skipped, summary.left) == (0, len(plan(tiny()).jobs), 0)
    assert len(InlineExecutor.executed) == len(set(InlineExecutor.executed))


def test_a_result_that_cannot_be_stored_is_a_failed_job(
    tiny: Tiny, tmp_path: Path, inline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(executor: InlineExecutor, timeout_s: float | None = None) -> Finished:
        job = executor.jobs.pop()
        return Finished(job=job, outcome=Outcome(status="done", result={"name": object()}))

    monkeypatch.setattr(InlineExecutor, "wait", odd)
    summary = run(tiny(), out=tmp_path, executor=inline)
    assert summary.failures[0][1].startswith("its result cannot be stored: ")
    assert summary.left == 0


@pytest.mark.parametrize("limit", ["job_timeout_s", "job_memory_gib", "checkpoint_minutes"])
def test_limits_are_above_0(tiny: Tiny, tmp_path: Path, limit: str) -> None:
    with pytest.raises(ValueError, match=f"{limit} must be above 0; got 0"):
        run(tiny(), out=tmp_path, **{limit: 0})  # pyright: ignore[reportArgumentType]


def test_texts_that_no_terminal_or_database_takes_are_made_printable() -> None:
    assert printable("a\tb\x1b[31m\udcff\nc é 漢") == "a\\tb\\x1b[31m\\udcff\nc é 漢"
    cut = printable("x" * 100_000)
    assert len(cut) < 21_000
    assert "(100,000 characters)" in cut
