"""Worker processes on this machine, each with one thread."""

import os
import queue
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from prunemark.study.executors import ExecutorError, Finished
from prunemark.study.executors.channel import Message
from prunemark.study.executors.pipes import Child, last_line
from prunemark.study.job import Context, Job, Outcome, Underway
from prunemark.study.store import open_log

# Workers that end one after the other before any has begun: no accident, then.
_FALSE_STARTS = 3


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
        self._false_starts = 0
        self._workers = [self._start(device) for _, device in zip(range(workers), context.each_device(), strict=False)]

    @property
    def slots(self) -> int:
        """Number of jobs that run at the same time."""
        return self._slots

    def submit(self, job: Job) -> None:
        """Give a job to a worker that has none."""
        next(worker for worker in self._workers if worker.job is None).give(job)

    def wait(self, timeout_s: float | None = None) -> Finished | None:
        """Wait until one of the jobs under way is finished, or its worker has died; None after `timeout_s` seconds.

        Raises:
            ExecutorError: a worker ended before it was ready to work, or several were killed then.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                worker, message = self._events.get(timeout=left)
            except queue.Empty:
                return None
            if worker not in self._workers:
                continue  # its job was taken from it
            if message is None:
                if finished := self._replaced(worker):
                    return finished
            elif "ready" in message:
                worker.ready, self._false_starts = True, 0
            elif "began" in message:
                worker.began = time.monotonic()
            elif "outcome" in message:
                job, worker.job = worker.job, None
                assert job is not None
                return Finished(job=job, outcome=Outcome.from_dict(message["outcome"]))
            else:
                worker.said |= message

    def _replaced(self, worker: "_Worker") -> Finished | None:
        """Put another worker in place of one that has ended; its job, if it had begun one."""
        how = f"the worker {worker.process.buried()}"
        self._workers.remove(worker)
        if not worker.ready:
            self._false_starts += 1
            if worker.process.code >= 0 or self._false_starts == _FALSE_STARTS:
                raise ExecutorError(f"a worker ended before it began: {how}; {last_line(self._log)}")
        self._workers.append(self._start(worker.device))
        if worker.job is not None and worker.ready:
            return Finished(job=worker.job, lost=f"{how}; see {self._log}")
        if worker.job is not None:
            self.submit(worker.job)
        return None

    def underway(self) -> Sequence[Underway]:
        """The jobs that workers have, and how far each has said it is."""
        return [worker.underway(worker.job) for worker in self._workers if worker.job is not None]

    def cancel(self, job: Job) -> None:
        """Kill the worker that has a job, and put another in its place."""
        worker = next(worker for worker in self._workers if worker.job == job)
        worker.process.kill()
        worker.process.buried()
        self._workers[self._workers.index(worker)] = self._start(worker.device)

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._workers:
            worker.process.dismiss()
        for worker in self._workers:
            worker.process.buried()
        self._workers.clear()

    def _start(self, device: str) -> "_Worker":
        return _Worker(replace(self._context, device=device), self._log, self._events)


class _Worker:
    """One process and the job that it has."""

    def __init__(
        self, context: Context, log: Path, events: "queue.SimpleQueue[tuple[_Worker, Message | None]]"
    ) -> None:
        self.job: Job | None = None
        self.device = context.device
        self.ready = False
        self.began: float | None = None
        self.said: Message = {}
        with open_log(log) as errors:
            self.process = Child(
                "prunemark.study.executors.worker", lambda message: events.put((self, message)), errors=errors
            )
        self.process.tell(asdict(context))

    def give(self, job: Job) -> None:
        self.job, self.began, self.said = job, None, {}
        self.process.tell(job.to_dict())

    def underway(self, job: Job) -> Underway:
        seconds = 0.0 if self.began is None else time.monotonic() - self.began
        return Underway(job=job, seconds=seconds, **self.said)
