"""Rivals do the same work, or the comparison means nothing."""

import torch

import prunemark as pm
from prunemark.networks import network
from prunemark.recipes import Recipe
from prunemark.speed.comparisons import comparisons
from prunemark.speed.rivals import usual_synflow, usual_training
from prunemark.training.engines import ENGINES


def test_the_usual_synflow_finds_the_masks_of_ours():
    shape = 1, 8, 8
    ours = pm.prune(
        network("lenet-300-100", input_shape=shape, classes=10), "synflow", sparsity=0.9, rounds=20, input_shape=shape
    )
    rival = network("lenet-300-100", input_shape=shape, classes=10)
    theirs = usual_synflow(rival, shape, sparsity=0.9, rounds=20)
    # Of the last round's ties their loop prunes all, and the count is rounded down.
    assert sum(int((ours[name] != mask.bool()).sum()) for name, mask in theirs.items()) <= 2


def test_the_usual_training_takes_the_steps_of_the_dense_engine():
    shape, source = (1, 6, 6), torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(32, *shape, generator=source), torch.randint(10, (32,), generator=source)
    masks = pm.prune(network("lenet-300-100", input_shape=shape, classes=10), "random", sparsity=0.5)
    model, rival = (network("lenet-300-100", input_shape=shape, classes=10) for _ in range(2))
    masks.apply_(rival)
    usual_training(rival, inputs, targets, masks, batch_size=32)(3)  # one batch, in whatever order
    engine = ENGINES["dense"].load()(model, Recipe(epochs=1, lr=0.01), masks, None, torch.device("cpu"))
    for _ in range(3):
        engine.step(inputs, targets, 0.01)
    engine.close()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(rival.get_parameter(name), weight, rtol=1e-4, atol=1e-6)
    masks.verify(rival)


def test_every_comparison_can_be_made():
    names = [comparison.what for comparison in comparisons()]
    assert len(names) == len(set(names)) >= 6
