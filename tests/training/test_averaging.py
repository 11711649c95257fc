"""The moving average of weights: by hand, what is evaluated, what training ends in."""

import torch
from torch import nn

from prunemark.datasets import Split
from prunemark.recipes import Recipe
from prunemark.training import evaluate, train
from tests.training.small import random_masks, small, split

RECIPE = Recipe(epochs=2, batch_size=8, ema=0.75)


def test_the_average_is_that_of_the_states_after_each_step():
    states = [train(small(), split(), RECIPE, seed=0, until=step).checkpoint for step in range(1, 7)]
    expected = dict(states[0].model)
    for state in states[1:]:
        for name, tensor in state.model.items():
            old = expected[name]
            expected[name] = 0.75 * old + 0.25 * tensor if tensor.is_floating_point() else tensor
    for name, tensor in states[-1].average.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(states[-1].average["1.running_mean"], states[-1].model["1.running_mean"])
    assert states[-1].average["1.num_batches_tracked"] == 6


def test_averaging_changes_no_step():
    plain = train(small(), split(), RECIPE.override({"ema": 0}), seed=0).checkpoint
    averaged = train(small(), split(), RECIPE, seed=0, test=split(seed=1), evaluate_every_epoch=True).checkpoint
    assert plain.average == {}
    assert all(torch.equal(plain.model[name], averaged.model[name]) for name in plain.model)


def test_the_average_is_what_is_evaluated_and_what_the_model_ends_as():
    model, test, masks = small(), split(seed=1), random_masks(small())
    result = train(model, split(), RECIPE, seed=0, masks=masks, test=test)
    assert all(torch.equal(tensor, result.checkpoint.average[name]) for name, tensor in model.state_dict().items())
    again = small()
    again.load_state_dict(result.checkpoint.settled().model)
    found = evaluate(again, test.inputs, test.targets)
    assert (found.accuracy, found.loss) == (result.test_accuracy, result.test_loss)
    assert any(not torch.equal(result.checkpoint.model[name], tensor) for name, tensor in model.state_dict().items())


def test_a_mask_clears_the_average_of_a_dense_checkpoint_under_all_names():
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.Linear(6, 6)), flat()
    model[2].weight = model[1].weight
    dense = train(model, data, RECIPE, seed=0, until=2).checkpoint
    masks = {"1.weight": torch.eye(6) == 0}
    average = train(model, data, RECIPE, seed=0, masks=masks, start=dense).checkpoint.average
    assert not average["1.weight"].diagonal().any()
    assert torch.equal(average["2.weight"], average["1.weight"])
    assert not model[1].weight.diagonal().any()


def flat() -> Split:
    source = torch.Generator().manual_seed(0)
    return Split(inputs=torch.randn(24, 6, generator=source), targets=torch.arange(24) % 3)
