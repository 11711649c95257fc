"""The driver: hands the jobs of a run to an executor, watches them, and writes down what comes of them. No torch."""

import errno
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Sequence

from prunemark.parts import part_place
from prunemark.study.disk import disk_full
from prunemark.study.executors import Executor, Finished
from prunemark.study.job import Job, Outcome, Underway, printable
from prunemark.study.lock import StoreError
from prunemark.study.plan import Plan
from prunemark.study.progress import Advanced, Looked, Progress, Resumed, Slow, Working, duration
from prunemark.study.restoring import Restoring
from prunemark.study.schedule import Expected, Schedule
from prunemark.study.stopping import Stopping
from prunemark.study.store import Store

LIVES = 3
"""How often a job may cost a worker its life before it is given up for this run."""
SLOW_FACTOR = 10.0
"""How many times its expected time a job may take before a line says so."""
# A job that was expected to take no time at all is no news when it takes a little; nor is the first of its kind.
_SLOW_FROM_S = 30.0
_FIRST_SLOW_FROM_S = 600.0
_LOOK_S = 1.0


class Driver:
    """Hands out the jobs of one run and records their outcomes."""

    def __init__(
        self,
        store: Store,
        plan: Plan,
        progress: Progress | None,
        step_seconds: float,
        began: float,
        *,
        job_timeout_s: float | None = None,
    ) -> None:
        self.store, self.progress, self.began = store, progress, began
        self.restoring = Restoring(store, plan, progress)
        self.timeout_s = job_timeout_s
        self.expected = Expected(step_seconds)
        self.schedule = Schedule(())
        self.jobs_total = self.steps_total = 0
        self.done = self.failed = self.steps_done = 0
        self.failures: list[tuple[str, str]] = []
        self.slots = 1
        self._deaths: Counter[str] = Counter()
        self._said: list[Resumed] = []
        self._slow: set[str] = set()
        self._looked = time.monotonic()

    def tell(self, stopping: Stopping | None, more: int) -> None:
        """Say what a look at the results found, and how many jobs follow."""
        if stopping and self.progress:
            self.progress(Looked(stopping=stopping, jobs=more))

    def drive(self, crew: Executor, jobs: Sequence[Job]) -> None:
        """Do these jobs, each after those it needs.

        Raises:
            StoreError: the disk is full.
            ExecutorError: workers cannot be started.
        """
        self.schedule = Schedule(jobs)
        self.jobs_total += len(jobs)
        self.steps_total += sum(job.steps for job in jobs)
        self.expected.plan(jobs)
        self.slots = crew.slots
        running = 0
        # A job whose worker died gets another chance, with the machine to itself: memory may have run out
        # because of what ran beside it.
        again: deque[Job] = deque()
        # That of a machine which is gone needs no more than another one.
        elsewhere: deque[Job] = deque()
        while True:
            if not again:
                while running < crew.slots and (job := elsewhere.popleft() if elsewhere else self.schedule.next()):
                    crew.submit(self.restoring.handed_out(job))
                    running += 1
            elif not running:
                crew.submit(self.restoring.handed_out(again.popleft()))
                running += 1
            if not running:
                return
            finished = crew.wait(_LOOK_S)
            for each in [*([finished] if finished else []), *self._look(crew)]:
                running -= 1
                if self._lost(each):
                    (elsewhere if each.machine_lost else again).append(each.job)
                elif not self._waits_again(each):
                    self._settle(each.job, each.outcome or _given_up(each))

    def _waits_again(self, finished: Finished) -> bool:
        """Whether a job found an input of no use, and waits until that has been made again."""
        if finished.outcome is None or not finished.outcome.unusable:
            return False
        more = self.restoring.again(finished.job, finished.outcome.unusable, self.schedule)
        self.jobs_total += len(more or ())
        self.steps_total += sum(each.steps for each in more or ())
        self.expected.plan(more or ())
        return more is not None

    def _lost(self, finished: Finished) -> bool:
        """Whether a job cost a worker its life and may have another."""
        if finished.outcome is None:
            self._deaths[finished.job.key] += 1
        return finished.outcome is None and self._deaths[finished.job.key] < LIVES

    def _look(self, crew: Executor) -> list[Finished]:
        """Now and then look at what is under way: end what has taken too long, and say what is worth saying."""
        if time.monotonic() - self._looked < _LOOK_S:
            return []
        self._looked = time.monotonic()
        underway, ended = crew.underway(), list[Finished]()
        for each in underway:
            if self.timeout_s is not None and each.seconds > self.timeout_s:
                crew.cancel(each.job)
                reason = f"not finished after {duration(self.timeout_s)}, the time that --job-timeout allows a job"
                outcome = Outcome(status="failed", error=reason, seconds=each.seconds)
                ended.append(Finished(job=each.job, outcome=outcome))
        if self.progress:
            for each in underway:
                self._notice(each, self.progress)
            self.progress(Working(underway=tuple(underway)))
        return ended

    def _notice(self, each: Underway, progress: Progress) -> None:
        if each.resumed_at or each.note:
            event = Resumed(job=each.job, step=each.resumed_at, note=each.note)
            if event not in self._said:
                self._said.append(event)
                progress(event)
        expected = self.expected.seconds(each.job)
        limit = _FIRST_SLOW_FROM_S if expected is None else max(SLOW_FACTOR * expected, _SLOW_FROM_S)
        if each.seconds > limit and each.job.key not in self._slow:
            self._slow.add(each.job.key)
            progress(Slow(job=each.job, seconds=each.seconds, expected_seconds=expected))

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if outcome.disk_full:
            raise disk_full(self.store.folder, outcome.error, self.jobs_total - self.done - self.failed)
        if outcome.status != "failed":
            self.expected.took(job, outcome.seconds)
            self.schedule.succeeded(job)
            self.restoring.made(job, outcome)
            self._record(job, outcome)
            return
        reason = outcome.error.partition("\n")[0]
        self.failures.append((job.key, reason))
        self._record(job, outcome)
        for lost in self.schedule.failed(job):
            self._record(lost, Outcome(status="failed", error=f"not run: it needs {job.kind} {job.key}: {reason}"))

    def _record(self, job: Job, outcome: Outcome) -> None:
        try:
            self.store.record(job, outcome)
        except (TypeError, ValueError) as error:
            # One result that no database holds must not end the run, nor every run after it.
            outcome = Outcome(status="failed", error=printable(f"its result cannot be stored: {error}"))
            self.failures.append((job.key, outcome.error))
            self.store.record(job, outcome)
        except (StoreError, sqlite3.OperationalError) as error:
            # Of the journal, or of the database.
            full = error.errno == errno.ENOSPC if isinstance(error, StoreError) else _is_full(error)
            if not full:
                raise
            raise disk_full(self.store.folder, str(error), self.jobs_total - self.done - self.failed) from error
        if outcome.status == "failed":
            self.failed += 1
        else:
            # Of a failed job it stays: the next attempt goes on from there.
            part_place(self.store.artifacts, job.key).unlink(missing_ok=True)
            self.done += 1
        self.steps_done += job.steps
        self.expected.settled(job)
        if self.progress:
            self.progress(
                Advanced(
                    key=job.key,
                    kind=job.kind,
                    status=outcome.status,
                    error=outcome.error,
                    jobs_done=self.done + self.failed,
                    jobs_total=self.jobs_total,
                    steps_done=self.steps_done,
                    steps_total=self.steps_total,
                    seconds=time.perf_counter() - self.began,
                    seconds_left=self.expected.seconds_left / self.slots,
                )
            )


def _is_full(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode == sqlite3.SQLITE_FULL


def _given_up(finished: Finished) -> Outcome:
    return Outcome(status="failed", error=f"{finished.lost}; given up after {LIVES} attempts")
