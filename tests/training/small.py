"""A small network, data and masks to train with every recipe."""

import torch
from torch import nn

from prunemark.datasets import Split
from prunemark.models.prunable import prunable
from prunemark.randomness import generator


def split(examples=22, *, shape=(2, 4, 4), classes=3, seed=0):
    source = generator(seed, "test examples")
    return Split(
        inputs=torch.randn(examples, *shape, generator=source),
        targets=torch.randint(0, classes, (examples,), generator=source),
    )


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
        )


def random_masks(model, density=0.4):
    source = generator(0, "test masks")
    return {name: torch.rand(w.shape, generator=source) < density for name, w in prunable(model).items()}


def assert_same(first, second):
    """Two checkpoints, bit for bit."""
    assert first.step == second.step
    for part in ("model", "momentum", "optimizer", "average"):
        one, other = getattr(first, part), getattr(second, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
