"""The side of a worker that runs on a node of a Ray cluster. Ray runs it there as an actor; it imports no Ray."""

import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prunemark.study.executors.local import LocalExecutor
from prunemark.study.executors.node_data import Bytes, NodeData, unpacked
from prunemark.study.job import Context, Job
from prunemark.study.lock import who_writes
from prunemark.version import __version__

Reply = dict[str, Any]
"""{"outcome"}: the job is done; {"lost"}: its process ended; {"underway"}: how far it is; {"broken"}: why no worker can
work there."""


def programs(engine: str) -> dict[str, str]:
    """Versions that must be the same on all nodes, or results would depend on where a job ran."""
    packages = ("torch",) if engine == "dense" else ("torch", "prunemark-kernels")
    return {"prunemark": __version__} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


class RayWorker:
    """One slot on a node: a `LocalExecutor` of one worker, whose process does what it does on a single machine."""

    def __init__(self, context: Reply, log: str, fetch: Callable[[Any], Bytes]) -> None:
        self._context, self._log, self._fetch = Context(**context), Path(log), fetch
        self._local: LocalExecutor | None = None
        self._data: str | None = None

    def begin(self, expected: dict[str, str], writer: str) -> Reply:
        """Check that this node has the same programs and the same folder of results as the driver.

        Args:
            expected: the driver's `programs`.
            writer: who writes to that folder, as the driver reads it there.

        Returns:
            {"host": the name of the node}, and why no worker can work here, if so.
        """
        host, folder = platform.node(), self._log.parent
        different = {name: here for name, here in programs(self._context.engine).items() if here != expected[name]}
        if different:
            here = ", ".join(f"{name} {found}" for name, found in different.items())
            there = ", ".join(f"{name} {expected[name]}" for name in different)
            return {"host": host, "broken": f"node {host} has {here} and the driver {there}: install the same"}
        if not Path(self._context.artifacts).is_dir() or who_writes(folder) != writer:
            reason = f"node {host} does not see the folder {folder} of the driver: all nodes must share it"
            return {"host": host, "broken": reason}
        return {"host": host}

    def work(self, job: Reply | None, data: NodeData | None, timeout_s: float) -> Reply:
        """Begin a job, if one is given, and wait a while for the end of the one under way."""
        try:
            if job is not None:
                self._crew(data).submit(Job.from_dict(job))
            assert self._local is not None
            finished = self._local.wait(timeout_s)
        except OSError as error:
            return {"broken": f"node {platform.node()}: {error}"}
        if finished is None:
            underway = asdict(self._local.underway()[0])
            return {"underway": {name: value for name, value in underway.items() if name != "job"}}
        if finished.outcome is None:
            return {"lost": f"{finished.lost} (on node {platform.node()})"}
        return {"outcome": finished.outcome.to_dict()}

    def cancel(self) -> None:
        """End the job under way."""
        for each in self._local.underway() if self._local else ():
            assert self._local is not None
            self._local.cancel(each.job)

    def close(self) -> None:
        """End the process of the worker."""
        if self._local:
            self._local.close()

    def _crew(self, data: NodeData | None) -> LocalExecutor:
        folder = self._context.data_dir if data is None else unpacked(data, self._fetch)
        if self._local is None or folder != self._data:
            self.close()
            self._data = folder
            self._local = LocalExecutor(replace(self._context, data_dir=folder), 1, self._log)
        return self._local
