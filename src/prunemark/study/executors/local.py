"""Worker processes on this machine, each with one thread."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunemark.study.executors import ExecutorError, Finished
from prunemark.study.job import Context, Job, Outcome

# Two threads in one process fight over a shared machine's cores: one thread in each, set before torch is loaded.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_CLOSE_TIMEOUT_S = 5.0


def usable_cores() -> int:
    """How many cores this process may use."""
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
        self._events: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._slots = workers
        self._workers = [self._start() for _ in range(workers)]

    @property
    def slots(self) -> int:
        """How many jobs run at the same time."""
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
                cause = worker.buried()
                if not worker.ready:
                    raise ExecutorError(f"a worker ended before it began: {cause}; {_last_line(self._log)}")
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
            worker.dismiss()
        for worker in self._workers:
            worker.buried()
        self._workers.clear()

    def _start(self) -> "_Worker":
        return _Worker(self._context, self._log, self._events)


def _same_modules() -> dict[str, str]:
    """Settings by which a worker finds the modules that this process finds, and no others in the present folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}


class _Worker:
    """One process, its pipes, and the job that it has."""

    def __init__(
        self,
        context: Context,
        log: Path,
        events: "queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]",
    ) -> None:
        self.job: Job | None = None
        self.ready = False
        self._events = events
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prunemark.study.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, **_ONE_THREAD, **_same_modules()},
                # Out of the terminal's process group: Ctrl-C is for the driver alone.
                start_new_session=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._send(asdict(context))

    def give(self, job: Job) -> None:
        self.job = job
        self._send(job.to_dict())

    def dismiss(self) -> None:
        """Close its standard input, on which it ends at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def buried(self) -> str:
        """See the process end, free its pipes, and say how it ended."""
        self.dismiss()
        try:
            code = self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if code == -9:
            return "the worker was killed (signal 9), perhaps because memory ran out"
        return f"the worker died of signal {-code}" if code < 0 else f"the worker ended with exit code {code}"

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # A worker that has just died is reported by its listener.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put((self, json.loads(line)))
        self._events.put((self, None))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1]} (see {log})" if lines else f"see {log}"
