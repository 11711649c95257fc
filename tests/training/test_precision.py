"""bfloat16: a setting of the recipe, for all trainings of a study or none."""

import math

import pytest
import torch

import prunemark as pm
from prunemark.models import precision
from prunemark.recipes import Recipe
from prunemark.training import train
from prunemark.training.engines import ENGINES
from tests.training.small import random_masks, small, split

RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05)
BFLOAT16 = Recipe(epochs=2, batch_size=8, lr=0.05, precision="bfloat16")


@pytest.fixture
def capable(monkeypatch):
    """This processor's library computes bfloat16 in any case, in hardware or not."""
    monkeypatch.setattr("prunemark.models.precision.computes_in_bfloat16", lambda device: True)


def test_products_are_rounded_to_bfloat16_and_weights_and_steps_are_not(capable):
    model, plain = small(), small()
    masks, data = random_masks(model), split()
    seen: list[torch.dtype] = []
    model[4].register_forward_hook(lambda module, inputs, outputs: seen.append(outputs.dtype))
    half = train(model, data, BFLOAT16, seed=0, masks=masks, test=data, until=1)
    full = train(plain, data, RECIPE, seed=0, masks=masks, test=data, until=1)
    # A step, then the evaluation, which is in float32.
    assert seen == [torch.bfloat16, torch.float32]
    assert half.engine == "dense"
    for name, weight in half.checkpoint.model.items():
        if weight.is_floating_point():
            assert weight.dtype == torch.float32
            assert not torch.equal(weight.bfloat16().float(), weight) or weight.numel() < 5
            # Of a gradient, times a learning rate of 0.05, two or three digits remain.
            torch.testing.assert_close(weight, full.checkpoint.model[name], rtol=0, atol=5e-3)
    assert not torch.equal(half.checkpoint.model["4.weight"], full.checkpoint.model["4.weight"])
    assert all(momentum.dtype == torch.float32 for momentum in half.checkpoint.momentum.values())
    assert not any((half.checkpoint.model[name][~mask] != 0).any() for name, mask in masks.items())
    assert math.isfinite(half.test_loss)


def test_a_device_without_bfloat16_refuses_it_in_a_sentence(monkeypatch):
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match=r'precision = "bfloat16" needs a device that multiplies bfloat16.*this cpu'):
        train(small(), split(), BFLOAT16, seed=0)
    train(small(), split(), RECIPE, seed=0)


def test_it_is_a_field_of_the_recipe_that_moves_no_key_by_default():
    assert "precision" not in RECIPE.to_dict()
    assert BFLOAT16.to_dict()["precision"] == "bfloat16"
    assert BFLOAT16.beyond_sgd() == ("precision = bfloat16",)  # so the sparse engine refuses it
    with pytest.raises(ValueError, match=r'unknown precision "bfloat61".*did you mean "bfloat16"'):
        Recipe(epochs=1, precision="bfloat61")
    assert set(ENGINES) >= {"dense", "sparse"}


def test_training_on_a_data_set_is_in_true_float32_and_restores_what_was_set():
    inside: list[bool] = []
    data = pm.dataset("digits")
    model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=10, width=0.05)
    model.fc1.register_forward_pre_hook(lambda module, inputs: inside.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        pm.train(model, data, Recipe(epochs=1, batch_size=512), curve=False)
        assert torch.backends.cudnn.allow_tf32
        strict, inside[:] = set(inside), []
        pm.train(model, data, Recipe(epochs=1, batch_size=512), curve=False, tf32=True)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert strict == {False}
    assert set(inside) == {True}


@pytest.mark.parametrize("given", ["none", "others"])
def test_a_model_under_a_hold_of_other_masks_is_not_trained(given):
    data = pm.dataset("digits")
    model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=10, width=0.05)
    held, others = (pm.prune(model, "random", sparsity=0.5, seed=seed) for seed in range(2))
    recipe = Recipe(epochs=1, batch_size=512)
    with held.hold(model, torch.optim.SGD(model.parameters(), lr=0.1)):
        with pytest.raises(ValueError, match=r"a hold in force on this model prunes [\d,]+ of the w.*pm\.release"):
            pm.train(model, data, recipe, masks=None if given == "none" else others, curve=False)
        pm.train(model, data, recipe, masks=held, curve=False)
    pm.train(model, data, recipe, masks=others, curve=False)
