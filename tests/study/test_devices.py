"""Devices of workers."""

from pathlib import Path

import pytest
import torch

from prunemark.study.devices import device_words, devices_of_workers
from prunemark.study.executors import local
from prunemark.study.job import Context


@pytest.mark.parametrize(
    ("device", "workers", "per_device", "gpus", "expected"),
    [
        ("cpu", None, None, 0, ["cpu"] * 4),
        ("cpu", 2, None, 8, ["cpu"] * 2),
        ("cuda", None, None, 1, ["cuda"]),
        ("cuda", None, 3, 1, ["cuda"] * 3),
        ("cuda", None, None, 2, ["cuda:0", "cuda:1"]),
        ("cuda", None, 2, 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cuda", 3, None, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 3, 2, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", None, 2, 4, ["cuda:1", "cuda:1"]),
        ("mps", None, None, 0, ["mps"]),
    ],
)
def test_workers_are_dealt_out_over_the_devices(device, workers, per_device, gpus, expected):
    found = devices_of_workers(device, workers=workers, per_device=per_device, gpus=gpus, cores=4)
    assert list(found) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "cpu", "workers": 0, "per_device": None}, "workers counts from 1; got 0"),
        ({"device": "cuda", "workers": None, "per_device": 0}, "workers per device counts from 1; got 0"),
        ({"device": "cpu", "workers": 2, "per_device": 2}, "workers per device are of GPUs"),
        ({"device": "cuda", "workers": 5, "per_device": 2}, "5 workers are more than 2 on each of 2 devices"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        devices_of_workers(**given, gpus=2, cores=4)


def test_results_name_a_gpu_by_its_model(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: {"cuda:0": "A", "cuda:1": "B"}[device])
    assert [device_words(device) for device in ("cpu", "cuda:1")] == ["cpu", "cuda (B)"]


def test_each_worker_is_told_its_device_and_so_is_the_one_that_replaces_it(monkeypatch, tmp_path):
    told: list[str] = []

    class Told:
        def __init__(self, context, log, events):
            told.append(context.device)
            self.device, self.job, self.ready, self.process = context.device, None, True, self

        def buried(self):
            return -9

        def dismiss(self):
            pass

    monkeypatch.setattr(local, "_Worker", Told)
    context = Context(artifacts=str(tmp_path), device="cuda", devices=("cuda:0", "cuda:1"))
    executor = local.LocalExecutor(context, 3, Path(tmp_path / "log"))
    executor._workers[1].job = "a job"
    executor._events.put((executor._workers[1], None))
    executor.wait()
    assert told == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    executor.close()
