"""Connecting to a Ray cluster, with a sentence for each way in which that fails."""

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

from prunemark.study.executors import ClusterOptions, ExecutorError
from prunemark.study.executors.answers import CLIENT, require_answer, require_ray
from prunemark.study.executors.ray import RayExecutor
from prunemark.study.job import Context


def connect(options: ClusterOptions) -> "RayCluster":
    """Connect to the cluster of an address.

    Args:
        options: the address is None or "auto" for the cluster of this machine (or RAY_ADDRESS), HOST:PORT of a head,
            or ray://HOST:PORT of a head that is reached as a client.

    Raises:
        ExecutorError: Ray is not installed, nothing answers there, or it is another version.
        ValueError: no node has room for a single job.
    """
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("grpc")
    except ImportError as error:
        raise ExecutorError(f'executor "ray" needs the package ray: pip install "prunemark[ray]" ({error})') from error
    if ray.is_initialized():
        # A program that has connected by itself stays connected.
        return RayCluster(ray, options, "", ours=False)
    address = options.address or "auto"
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "") or address
    if address != "auto":
        require_answer(address)
        require_ray(address)
    # Not for this machine's users to know that Ray would count them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        # What workers print goes to workers.log.
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        if address != "auto":
            raise ExecutorError(f"{address} is no Ray cluster: {_line(error)}") from error
        raise ExecutorError(
            'no Ray cluster runs on this machine: start one ("ray start --head"), or name its address'
        ) from error
    except (RuntimeError, OSError, ValueError) as error:
        raise ExecutorError(f"cannot connect to the Ray cluster {address}: {_line(error)}") from error
    if not address.startswith(CLIENT):
        address = ray.get_runtime_context().gcs_address
    return RayCluster(ray, options, address, ours=True)


class RayCluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: Any, options: ClusterOptions, address: str, *, ours: bool) -> None:
        """Look at its nodes.

        Args:
            ray: the package.
            options: with CPUs and GPUs per job.
            address: of its head.
            ours: whether to disconnect in the end.

        Raises:
            ValueError: no node has room for a single job.
        """
        self._ray, self._ours, self._head = ray, ours, address
        self._needs = {"CPU": options.cpus_per_job or 0.0, "GPU": options.gpus_per_job or 0.0}
        if not self.slots:
            found = "; ".join(_words(node) for node in self._nodes()) or "none"
            self.close()
            raise ValueError(f"no node of the Ray cluster has {_amounts(self._needs)} for a job; nodes: {found}")

    @property
    def slots(self) -> int:
        """Number of jobs that fit on the nodes that are there now."""
        needs = {name: amount for name, amount in self._needs.items() if amount}
        if not needs:
            return len(self._nodes())
        return sum(
            min(int(node["Resources"].get(name, 0.0) / amount + 1e-9) for name, amount in needs.items())
            for node in self._nodes()
        )

    def executor(self, context: Context, workers: int, log: Path) -> RayExecutor:
        """An executor on its nodes."""
        cpus, gpus = self._needs["CPU"], self._needs["GPU"]
        return RayExecutor(self._ray, context, workers, log, cpus=cpus, gpus=gpus, head=self._head)

    def close(self) -> None:
        """Disconnect."""
        if self._ours:
            with contextlib.suppress(Exception):
                self._ray.shutdown()

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]


def _amounts(needs: dict[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount)


def _words(node: dict[str, Any]) -> str:
    has = {name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU")}
    return f"{node['NodeManagerHostname']} with {_amounts(has) or 'neither CPU nor GPU'}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
