"""Worker processes on this machine, each with one thread."""

import os
import queue
from dataclasses import asdict
from pathlib import Path

from prunemark.study.executors import ExecutorError, Finished
from prunemark.study.executors.pipes import Child, Message, ended, last_line
from prunemark.study.job import Context, Job, Outcome
from prunemark.study.store import open_log


def usable_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalExecutor:
    """Worker processes on this machine.

    Workers are fresh interpreters that import nothing of the program they serve, so that scripts and notebooks can
    start them as they are. A worker that dies takes only its own job with it.
    """

    def __init__(self, context: Context, workers: int, log: Path) -> None:
        self._context = context
        self._log = log
        self._events: queue.SimpleQueue[tuple[_Worker, Message | None]] = queue.SimpleQueue()
        self._slots = workers
        self._workers = [self._start() for _ in range(workers)]

    @property
    def slots(self) -> int:
        """Number of jobs that run at the same time."""
        return self._slots

    def submit(self, job: Job) -> None:
        """Give a job to a worker that has none."""
        next(worker for worker in self._workers if worker.job is None).give(job)

    def wait(self) -> Finished:
        """Wait until one of the jobs under way is finished, or its worker has died.

        Raises:
            ExecutorError: a worker died before it was ready to work.
        """
        while True:
            worker, message = self._events.get()
            if message is None:
                self._workers.remove(worker)
                cause = f"the worker {ended(worker.process.buried())}"
                if not worker.ready:
                    raise ExecutorError(f"a worker ended before it began: {cause}; {last_line(self._log)}")
                self._workers.append(self._start())
                if worker.job is not None:
                    return Finished(job=worker.job, lost=f"{cause}; see {self._log}")
            elif "ready" in message:
                worker.ready = True
            else:
                job, worker.job = worker.job, None
                assert job is not None
                return Finished(job=job, outcome=Outcome.from_dict(message["outcome"]))

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._workers:
            worker.process.dismiss()
        for worker in self._workers:
            worker.process.buried()
        self._workers.clear()

    def _start(self) -> "_Worker":
        return _Worker(self._context, self._log, self._events)


class _Worker:
    """One process and the job that it has."""

    def __init__(
        self, context: Context, log: Path, events: "queue.SimpleQueue[tuple[_Worker, Message | None]]"
    ) -> None:
        self.job: Job | None = None
        self.ready = False
        with open_log(log) as errors:
            self.process = Child(
                "prunemark.study.executors.worker", lambda message: events.put((self, message)), errors=errors
            )
        self.process.tell(asdict(context))

    def give(self, job: Job) -> None:
        self.job = job
        self.process.tell(job.to_dict())
