"""The public surface: a change here is a change for users, and goes into CHANGELOG.md."""

import subprocess
import sys

import pytest

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.study.store import COLUMNS


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
    assert COLUMNS == (
        "study", "network", "dataset", "method", "ablation", "benchmark", "prune_at", "sparsity", "density",
        "replicate", "test_accuracy", "test_loss", "train_seconds", "status", "job_key", "code_version",
        "torch_version", "device",
    )  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [
        "prunemark", "prunemark.cli", "prunemark.methods", "prunemark.networks", "prunemark.datasets",
        "prunemark.recipes", "prunemark.study.spec", "prunemark.study.plan", "prunemark.study.store",
        "prunemark.stats", "prunemark.report",
    ],
)  # fmt: skip
def test_starts_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
