"""An executor without processes, for tests of what surrounds it."""

from pathlib import Path
from typing import ClassVar

from prunemark.study.executors import Finished
from prunemark.study.job import Context, Job, Underway
from prunemark.study.jobs import execute


class InlineExecutor:
    """Runs jobs in this process, the last one submitted first: not the order of any pool of processes."""

    executed: ClassVar[list[str]] = []  # keys, in order, over all runs of a test; emptied by the fixture

    def __init__(self, context: Context, workers: int, log: Path) -> None:
        self.context = context
        self.slots = workers
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        assert len(self.jobs) < self.slots
        self.jobs.append(job)

    def wait(self, timeout_s: float | None = None) -> Finished:
        job = self.jobs.pop()
        self.executed.append(job.key)
        return Finished(job=job, outcome=execute(job, self.context))

    def underway(self) -> list[Underway]:
        return [Underway(job=job) for job in self.jobs]

    def cancel(self, job: Job) -> None:
        self.jobs.remove(job)

    def close(self) -> None:
        self.jobs.clear()
