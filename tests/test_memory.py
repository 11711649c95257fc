"""How much memory scoring holds: peak resident size, each measurement in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from torch import nn
import prunemark as pm

torch.set_num_threads(1)
what = sys.argv[1]


def mlp(width):
    layers = [layer for _ in range(5) for layer in (nn.Linear(width, width, bias=False), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10)), [(torch.randn(20, width), torch.arange(20) % 10)]


def work(model, data):
    if what not in ("backward", "second backward", "float64 backward"):
        return pm.score(model, what, data=data)
    if what == "float64 backward":
        model, data = model.double(), [(data[0][0].double(), data[0][1])]
    weights = list(model.parameters())
    loss = nn.functional.cross_entropy(model(data[0][0]), data[0][1])
    gradients = torch.autograd.grad(loss, weights, create_graph=what == "second backward")
    if what == "second backward":
        gradients = torch.autograd.grad(sum((g * g.detach()).sum() for g in gradients), weights)
    return gradients


work(*mlp(16))
model, data = mlp(2236)
if what == "float64 backward":
    model.double()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = work(model, data)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown * (1 if sys.platform == "darwin" else 1024) / (4 * 5 * 2236**2))
"""


def peak_in_models(what: str) -> float:
    """By how many times the size of a float32 perceptron of 25 M weights the process grows."""
    result = subprocess.run([sys.executable, "-c", PROGRAM, what], capture_output=True, text=True, check=True)
    return float(result.stdout)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("random", None),
        ("magnitude", None),
        ("snip", "backward"),
        ("grasp", "second backward"),
        ("synflow", "float64 backward"),
        ("synflow:synaptic-flow", "backward"),
        ("force", "backward"),
    ],
)
def test_scoring_holds_less_than_three_models_beyond_its_backward_passes_own(method, own):
    beyond = peak_in_models(method) - (peak_in_models(own) if own else 0)
    assert 1 < beyond < 3, f"{method} holds {beyond:.2f} models"
