import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

import ray
from prunemark.study.executors import ClusterOptions, ExecutorError
from prunemark.study.executors.answers import require_ray
from prunemark.study.executors.ray_cluster import connect
from prunemark.study.plan import plan
from prunemark.study.progress import Advanced, Event, Resumed, Working
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.ray.conftest import start_cluster
from tests.study.conftest import TINY
from tests.study.stored import compare

LONG: dict[str, Any] = TINY | {
    "methods": ["snip", "random"],
    "benchmarks": [],
    "ablations": [],
    "sparsities": [0.5],
    "recipe": {"epochs": 400, "rewind_to": "3it"},
}


def test_a_node_is_killed_in_the_middle_of_a_study(tmp_path: Path, inline: str) -> None:
    study = Study(**LONG)
    cluster = start_cluster()
    (node,) = cluster.worker_nodes
    killed: list[float] = []
    events: list[Event] = []

    def kill(event: Event) -> None:
        events.append(event)
        # One job on each node, and both have written down how far they are.
        if not killed and len(list((tmp_path / "ray/artifacts").glob("*.part"))) == 2:
            killed.append(time.monotonic())
            cluster.remove_node(node, allow_graceful=False)

    try:
        options: dict[str, Any] = {"executor": "ray", "address": cluster.address, "checkpoint_minutes": 0.01}
        summary = run(study, out=tmp_path / "ray", progress=kill, **options)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed
    assert (summary.done, summary.failed, summary.left) == (len(plan(study).jobs), 0, 0)
    done = [event.key for event in events if isinstance(event, Advanced)]
    assert len(done) == len(set(done)), "nothing twice"
    assert any(isinstance(event, Resumed) and event.step for event in events), "a job resumed on the other node"
    run(study, out=tmp_path / "inline", executor=inline)
    compare(tmp_path / "ray", tmp_path / "inline")


STUDY = """
name = "long"
network = "lenet-300-100"
dataset = "digits"
methods = ["snip", "random"]
sparsities = [0.5]
replicates = 1
recipe = { epochs = 3000, rewind_to = "3it" }
"""


def cli(folder: Path, *options: str) -> subprocess.Popen[str]:
    (folder / "long.toml").write_text(STUDY)
    command = [sys.executable, "-c", "from prunemark.cli import main; main()", "run", str(folder / "long.toml")]
    return subprocess.Popen(
        [*command, "--out", str(folder / "out"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "500"},
    )


def test_the_head_dies(tmp_path: Path) -> None:
    cluster = start_cluster()
    try:
        driver = cli(tmp_path, "--executor", "ray", "--address", cluster.address)
        until = time.monotonic() + 120
        while not list((tmp_path / "out").glob("artifacts/*.safetensors")):
            assert time.monotonic() < until
            time.sleep(0.1)
        cluster.head_node.kill_gcs_server()
        said, _ = driver.communicate(timeout=120)
    finally:
        cluster.shutdown()
    assert driver.returncode not in (0, None)
    assert "the Ray cluster is gone" in said
    assert "what was stored is whole, run again when it is back" in said
    short = tmp_path / "short.toml"
    short.write_text(STUDY.replace("3000", "3"))
    summary = run(short, out=tmp_path / "out", workers=1)
    assert (summary.failed, summary.left) == (0, 0)


def test_an_address_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(ExecutorError, match=f"the Ray cluster {address} does not answer: Connection refused"):
            run(Study(**TINY), out=tmp_path / "out", executor="ray", address=address)
    # It takes connections and says nothing, as a proxy may.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("prunemark.study.executors.ray_cluster.require_ray", partial(require_ray, timeout_s=0.5))
        with pytest.raises(ExecutorError, match="what listens there is no Ray cluster"):
            run(Study(**TINY), out=tmp_path / "out", executor="ray", address=address)
    with pytest.raises(ValueError, match='the address of a Ray cluster is "auto", HOST:PORT or ray://HOST:PORT'):
        run(Study(**TINY), out=tmp_path / "out", executor="ray", address="head:port")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def none_runs(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", none_runs)
    with pytest.raises(ExecutorError, match="no Ray cluster runs on this machine: start one"):
        connect(ClusterOptions(cpus_per_job=1.0))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def joined(cluster: Cluster) -> str:
    return cluster.address


def test_a_job_that_fits_on_no_node_is_refused(joined: str, tmp_path: Path) -> None:
    for options, needs in (({"cpus_per_job": 3}, "3 CPU"), ({"gpus_per_job": 0.5}, "1 CPU and 0.5 GPU")):
        with pytest.raises(ValueError, match=f"no node of the Ray cluster has {needs} for a job; nodes: .* with 1 CPU"):
            run(Study(**TINY), out=tmp_path, executor="ray", address=joined, **options)
    half = connect(ClusterOptions(address=joined, cpus_per_job=0.5, gpus_per_job=0.0))
    assert half.slots == 4
    half.close()


def test_nodes_that_do_not_share_the_folder_or_the_programs_are_named(
    joined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Study(**(TINY | {"methods": ["snip"], "benchmarks": [], "ablations": []}))
    options: dict[str, Any] = {"executor": "ray", "address": joined, "workers": 1}
    with monkeypatch.context() as patch:
        patch.setattr("prunemark.study.executors.ray.who_writes", lambda _: "another machine's process")
        with pytest.raises(
            ExecutorError, match=r"node .* does not see the folder .* of the driver: all nodes must share"
        ):
            run(small, out=tmp_path / "a", **options)
    with monkeypatch.context() as patch:
        patch.setattr("prunemark.study.executors.ray.programs", lambda _: {"prunemark": "0.0", "torch": "1.0"})
        with pytest.raises(ExecutorError, match=r"node .* has prunemark .* and the driver prunemark 0.0, torch 1.0"):
            run(small, out=tmp_path / "b", **options)


def test_workers_end_with_their_driver(joined: str, tmp_path: Path) -> None:
    driver = cli(tmp_path, "--executor", "ray", "--address", joined)
    until = time.monotonic() + 120
    while not list((tmp_path / "out").glob("artifacts/*.safetensors")):
        assert time.monotonic() < until
        time.sleep(0.1)
    driver.kill()
    driver.communicate()
    while workers := workers_in(tmp_path / "out"):
        assert time.monotonic() < until, f"{workers} outlived their driver"
        time.sleep(0.1)


def workers_in(folder: Path) -> list[str]:
    """Processes of workers, which keep the log of the folder open."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "fd/2").readlink() == folder / "workers.log":
                found.append(process.name)
        except OSError:
            continue
    return found


def test_ctrl_c_ends_a_run_and_the_next_one_resumes(joined: str, tmp_path: Path) -> None:
    study = Study(**LONG)

    def interrupt(event: Event) -> None:
        if isinstance(event, Working) and any(each.step for each in event.underway):
            raise KeyboardInterrupt

    options: dict[str, Any] = {"executor": "ray", "address": joined, "checkpoint_minutes": 0.01}
    first = run(study, out=tmp_path, progress=interrupt, **options)
    assert first.interrupted
    assert first.left
    events: list[Event] = []
    second = run(study, out=tmp_path, progress=events.append, **options)
    assert (second.failed, second.left, second.done) == (0, 0, first.left)
    assert any(isinstance(event, Resumed) and event.step for event in events)
