"""The public surface: a change here is a change for users, and goes into CHANGELOG.md."""

import inspect
import subprocess
import sys

import pytest

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.terms import columns


def test_names_of_the_package():
    assert set(pm.__all__) == set(dir(pm))
    for name in pm.__all__:
        assert getattr(pm, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = pm.nope


def test_method_names_and_their_rounds():
    assert METHODS["synflow"].rounds == 100
    assert METHODS["snip"].rounds == 1
    assert set(METHODS) >= {
        "random", "magnitude", "snip", "grasp", "synflow", "graspabs", "grasp:halves", "grasp:reversed",
        "grasp:open-lth", "snip:mil-ad", "snip:official", "snip:synaptic-flow", "synflow:synaptic-flow",
    }  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_entry_agrees_with_its_class(name):
    entry = METHODS[name]
    assert pm.methods.resolve(name).rounds == entry.rounds
    if name == next(n for n, e in METHODS.items() if e.target == entry.target):
        assert entry.load()().rounds == entry.rounds
    assert entry.summary
    assert entry.source


def test_columns_of_the_results():
    assert columns.TRIAL == (
        "study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "density",
        "effective_density", "unscored", "replicate", "test_accuracy", "test_loss", "train_seconds", "status",
        "job_key", "code_version", "torch_version", "device", "engine", "processor",
        "method_name", "margin", "looks", "test_images", "classes", "steps_per_epoch", "last_gain", "initial_overlap",
        "metric", "metric_value", "metric_direction", "metric_unit",
    )  # fmt: skip


def test_columns_of_the_curves():
    assert columns.CURVE == (
        "study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "replicate",
        "epoch", "step", "train_loss", "test_loss", "test_accuracy", "job_key",
    )  # fmt: skip


def test_train_takes_what_the_documentation_says():
    parameters = inspect.signature(pm.train).parameters
    assert list(parameters) == [
        "model", "data", "recipe", "masks", "seed", "engine", "device", "curve", "on_epoch", "tf32",
    ]  # fmt: skip
    assert (parameters["recipe"].default, parameters["engine"].default) == (None, "dense")


@pytest.mark.parametrize(
    "module",
    [
        "prunemark", "prunemark.cli", "prunemark.methods", "prunemark.networks", "prunemark.datasets",
        "prunemark.recipes", "prunemark.study.spec", "prunemark.study.plan", "prunemark.study.store",
        "prunemark.stats", "prunemark.reports",
    ],
)  # fmt: skip
def test_starts_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
