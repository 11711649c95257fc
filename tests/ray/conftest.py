"""A Ray cluster of two nodes, each of one core, on this machine; `make ray` runs this folder."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ray.cluster_utils import Cluster

import ray
from tests.study.conftest import inline, tiny

assert inline, tiny
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Its workers are nicer than others by default, and starve on a machine that does much else.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
# As `ray start` on machines of their own would find it installed.
os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])  # noqa: PTH109
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
# Loopback alone; Ray takes 127.0.0.1 for the machine's own address.
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
ATTEMPTS = 4


def start_cluster() -> Cluster:
    """Two nodes; Ray gives each 30 s to start, and where the machine does much else that takes several attempts."""
    for attempt in range(ATTEMPTS):
        cluster = Cluster()
        try:
            cluster.add_node(node_ip_address=HEAD, include_dashboard=False, **NODE)
            cluster.add_node(node_ip_address=OTHER, **NODE)
        except Exception:
            cluster.shutdown()
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return cluster
    raise AssertionError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = start_cluster()
    yield started
    ray.shutdown()
    started.shutdown()
