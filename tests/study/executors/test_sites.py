import sys
from pathlib import Path

import pytest

from prunemark.study.executors import ClusterOptions, ExecutorError
from prunemark.study.executors.sites import open_site
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.study.conftest import TINY


def test_without_ray_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r'executor "ray" needs the package ray: pip install "prunemark\[ray\]"'):
        run(Study(**TINY), out=tmp_path, executor="ray")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("executor", "device", "options", "message"),
    [
        ("local", "cpu", {"address": "auto"}, 'address: executor "local" runs on this machine alone'),
        ("local", "cpu", {"cpus_per_job": 1.0, "gpus_per_job": 0.5}, "cpus_per_job, gpus_per_job: executor"),
        ("ray", "cpu", {"gpus_per_job": -1.0}, "gpus_per_job must be at least 0; got -1"),
        ("ray", "cuda:1", {}, 'on executor "ray" device must be cpu, cuda or auto, not "cuda:1"'),
        ("ray", "cuda", {"gpus_per_job": 0.0}, 'device "cuda" needs gpus_per_job above 0'),
    ],
)
def test_options_that_make_no_sense(executor: str, device: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message), open_site(executor, device, options=ClusterOptions(**options)):  # pyright: ignore[reportArgumentType]
        pass
