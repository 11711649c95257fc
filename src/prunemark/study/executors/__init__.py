"""Executors run jobs. An executor takes jobs and gives back what came of them; it decides nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prunemark.registry import Entry
from prunemark.study.job import Context, Job, Outcome, Underway


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that an executor is done with: its outcome, or why the worker that had it is gone.

    Attributes:
        job: which.
        outcome: None if the worker is gone.
        lost: why it is gone.
        machine_lost: whether that was the loss of the machine, which takes whatever ran there. The job need not have
            the next one to itself.
    """

    job: Job
    outcome: Outcome | None = None
    lost: str = ""
    machine_lost: bool = False


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


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What a run says about a cluster.

    Attributes:
        address: of the cluster; None = the one that runs on this machine.
        cpus_per_job: cores that are set aside for each job; None = 1. A job computes with one thread all the same.
        gpus_per_job: GPUs for each job, also a fraction of one; None = 1 on cuda, else 0.
    """

    address: str | None = None
    cpus_per_job: float | None = None
    gpus_per_job: float | None = None


class Cluster(Protocol):
    """Machines that have been connected to."""

    @property
    def slots(self) -> int:
        """Number of jobs that fit on the machines that are there now."""
        ...

    def executor(self, context: Context, workers: int, log: Path) -> Executor:
        """An executor on these machines, see `MakeExecutor`."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutorEntry(Entry):
    """A line of EXECUTORS.

    Attributes:
        is_cluster: whether jobs run on other machines. Then `target` is a function of `ClusterOptions` that returns a
            `Cluster`; else it is a `MakeExecutor`.
    """

    is_cluster: bool = False


EXECUTORS: dict[str, ExecutorEntry] = {
    "local": ExecutorEntry(
        target="prunemark.study.executors.local:LocalExecutor", summary="one process per worker, on this machine"
    ),
    "ray": ExecutorEntry(
        target="prunemark.study.executors.ray_cluster:connect",
        summary="one process per worker, on the nodes of a Ray cluster; needs the extra ray",
        is_cluster=True,
    ),
}
