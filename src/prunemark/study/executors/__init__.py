"""Executors run jobs. An executor takes jobs and gives back what came of them; it decides nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prunemark.registry import Entry
from prunemark.study.job import Context, Job, Outcome, Underway


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that an executor is done with: its outcome, or why the worker that had it is gone."""

    job: Job
    outcome: Outcome | None = None
    lost: str = ""


class ExecutorError(OSError):
    """The workers cannot work at all."""


class Executor(Protocol):
    """Runs up to `slots` jobs at a time."""

    @property
    def slots(self) -> int:
        """Number of jobs that run at the same time."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job; at most `slots` may be under way."""
        ...

    def wait(self, timeout_s: float | None = None) -> Finished | None:
        """Wait until one of the jobs under way is finished; None if none is after `timeout_s` seconds.

        Raises:
            ExecutorError: workers cannot be started.
        """
        ...

    def underway(self) -> Sequence[Underway]:
        """The jobs under way, and how far each is known to be."""
        ...

    def cancel(self, job: Job) -> None:
        """End a job under way, whatever it does; nothing more is heard of it, and its place is free."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do; what they have not reported is lost."""
        ...


MakeExecutor = Callable[[Context, int, Path], Executor]
"""(context, workers, file for what the workers print) -> executor."""

EXECUTORS: dict[str, Entry] = {
    "local": Entry(
        target="prunemark.study.executors.local:LocalExecutor", summary="one process per worker, on this machine"
    ),
}
