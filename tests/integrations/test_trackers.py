"""Trials sent to TensorBoard, MLflow and W&B themselves, and read back."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import prunemark as pm

STUDY = pm.Study(
    name="tiny",
    network="lenet-300-100",
    dataset="digits",
    methods=["snip"],
    sparsities=[0.9],
    replicates=1,
    recipe={"epochs": 2},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study that was run; each test sends its trials somewhere."""
    folder = tmp_path_factory.mktemp("trackers")
    pm.run(STUDY, out=folder, workers=1, track="tensorboard")
    return folder


@pytest.fixture(scope="module")
def accuracies(folder) -> dict[str, float]:
    table = pm.results(folder)
    return dict(zip(table["method"], table["test_accuracy"], strict=True))


def send(folder: Path, track: str) -> None:
    notes: list[str] = []
    pm.run(STUDY, out=folder, track=track, progress=lambda event: notes.append(getattr(event, "text", "")))
    assert not any(notes), notes


def test_tensorboard_reads_its_files_back(folder, accuracies):
    runs = folder / "tensorboard" / "tiny"
    assert {path.name for path in runs.iterdir()} == {"dense_r0", "snip_0.9_at_0ep_r0"}
    events = EventAccumulator(str(runs / "snip_0.9_at_0ep_r0"))
    events.Reload()
    curve = pm.results(folder, what="curves").query("method == 'snip'")
    read = events.Scalars("test_accuracy")
    assert [event.step for event in read] == [1, 2]
    assert [event.value for event in read] == pytest.approx(list(curve["test_accuracy"]))
    assert events.Scalars("result/test_accuracy")[0].value == pytest.approx(accuracies["snip"])
    (asked,) = events.Tensors("asked/text_summary")
    assert b"sparsity = 0.9" in asked.tensor_proto.string_val[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An MLflow server on this machine alone."""
    place, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place)]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (place / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def test_mlflow_has_a_run_per_trial(folder, accuracies, server):
    from mlflow.tracking import MlflowClient

    send(folder, f"mlflow:{server}")
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"dense r0", "snip 0.9 at 0ep r0"}
    run = runs["snip 0.9 at 0ep r0"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["result/test_accuracy"] == accuracies["snip"]
    assert run.data.params["sparsity"] == "0.9"
    history = client.get_metric_history(run.info.run_id, "test_accuracy")
    curve = pm.results(folder, what="curves").query("method == 'snip'")
    assert [(one.step, one.value) for one in history] == list(zip([1, 2], curve["test_accuracy"], strict=True))
    send(folder, f"mlflow:{server}")
    assert len(client.search_runs([experiment.experiment_id])) == 2


def stored(path: Path) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log format (blocks of 32 KiB, CRC, length and kind of each piece)."""
    content, at, pieces = path.read_bytes(), 7, []
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        if kind == 0:
            break
        pieces.append(content[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield b"".join(pieces)
            pieces = []


def test_wandb_offline(folder, accuracies, monkeypatch):
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    send(folder, "wandb:mine")
    kept = sorted((folder / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(kept) == 2
    names, summaries = [], []
    for path in kept:
        steps, last = 0, {}
        for data in stored(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                names.append(record.run.display_name)
                assert (record.run.project, record.run.run_group) == ("mine", "tiny")
            elif kind == "history":
                steps += 1
            elif kind == "summary":
                last |= {each.key or each.nested_key[0]: json.loads(each.value_json) for each in record.summary.update}
        assert steps == 2
        summaries.append(last["result/test_accuracy"])
    assert set(names) == {"dense r0", "snip 0.9 at 0ep r0"}
    assert sorted(summaries) == sorted(accuracies.values())
