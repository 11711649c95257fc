from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from prunemark.study.executors import EXECUTORS, ClusterOptions, Executor, MakeExecutor
from prunemark.study.preflight import Findings
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.study.executors.contract import ProcessContract


class TestRay(ProcessContract):
    @pytest.fixture
    def executor(self, cluster: Cluster) -> tuple[str, dict[str, Any]]:
        return "ray", {"address": cluster.address}

    @pytest.fixture
    def make(self, cluster: Cluster) -> Iterator[MakeExecutor]:
        options = ClusterOptions(address=cluster.address, cpus_per_job=1.0, gpus_per_job=0.0)
        connected = EXECUTORS["ray"].load()(options)
        made: list[Executor] = []

        def on_ray(*arguments: Any) -> Executor:
            made.append(connected.executor(*arguments))
            return made[-1]

        yield on_ray
        for crew in made:
            crew.close()
        connected.close()

    def test_limits_of_a_run_hold(
        self, study: Callable[..., Study], tmp_path: Path, executor: tuple[str, dict[str, Any]]
    ) -> None:
        name, options = executor
        hangs = study("sleeps", "dies")
        found = Findings(step_seconds=0.001, fingerprint="", share="")
        # Its check, too, would take ten minutes.
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(run.__globals__, "rehearse", lambda study, **_: found)
            summary = run(hangs, out=tmp_path / "out", executor=name, workers=2, job_timeout_s=10, **options)
        reasons = sorted(reason for _, reason in summary.failures)
        assert reasons[0] == "not finished after 10 s, the time that --job-timeout allows a job"
        assert reasons[1].startswith("the worker was killed (signal 9)")
        assert reasons[1].endswith("given up after 3 attempts")
        assert (summary.done, summary.left) == (2, 0), "the dense network is trained"
