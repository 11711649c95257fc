"""Networks that train otherwise than a trace of them says: the sparse engine refuses them, and "auto" is dense."""

import dataclasses

import pytest
import torch
from torch import nn

from prunemark.datasets import Split
from prunemark.networks import network
from prunemark.recipes import Recipe
from prunemark.training import train
from prunemark.training.engines.sparse import UnsupportedError, fidelity
from tests.training.engines.sparse.reference import batch, draw_, engine, random_masks

SHAPE = (2, 6, 6)


class Plain(nn.Module):
    """Convolution, BatchNorm, ReLU and a linear map; the networks below are this one, but for how they train."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 36, 10)
        draw_(self)

    def features(self, x):
        return torch.relu(self.bn(self.conv(x)))

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


class FrozenStatistics(Plain):
    def train(self, mode=True):
        super().train(mode)
        self.bn.eval()
        return self


class FrozenByTrain(Plain):
    def train(self, mode=True):
        super().train(mode)
        self.conv.requires_grad_(not mode)
        return self


class WithoutGradient(Plain):
    def features(self, x):
        with torch.no_grad():
            return super().features(x)


class NothingHasAGradient(Plain):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


class HalvesItsGradient(Plain):
    def features(self, x):
        x = super().features(x)
        # A trace's proxy is no tensor, so that the trace does not see it.
        return Halved.apply(x) if isinstance(x, torch.Tensor) else x


REFUSED = {
    FrozenStatistics: "bn stays in eval mode",
    FrozenByTrain: "conv.bias gets no gradient",
    WithoutGradient: "bn.bias gets no gradient",
    HalvesItsGradient: "the gradient of conv.weight is not that",
}


def trained(model, masks, engine):
    inputs, targets = batch(40, SHAPE)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.05)
    return train(model, Split(inputs=inputs, targets=targets), recipe, seed=0, masks=masks, engine=engine)


@pytest.mark.parametrize(("kind", "reason"), REFUSED.items())
def test_what_a_trace_does_not_see_is_refused(kind, reason):
    model = kind()
    masks = random_masks(model, density=0.2)
    with pytest.raises(UnsupportedError, match=reason):
        trained(kind(), masks, "sparse")
    found = trained(model, masks, "auto")
    assert found.engine == "dense"
    assert reason in found.engine_reason
    expected = trained(kind(), masks, "dense").checkpoint.model
    assert all(torch.equal(found.checkpoint.model[name], expected[name]) for name in expected)


def test_a_model_without_any_gradient_is_refused():
    with pytest.raises(UnsupportedError, match="its logits get no gradient"):
        engine(NothingHasAGradient(), {}).built_for(SHAPE)


def test_the_network_without_them_is_taken_and_left_as_it_was():
    model = Plain()
    masks = random_masks(model, density=0.2)
    generators = torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sparse = engine(model, {})
    sparse.built_for(SHAPE)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generators)
    assert trained(model, masks, "auto").engine == "sparse"


def test_statistics_that_are_averaged_otherwise_are_refused(monkeypatch):
    def other(graph, twin, masks, program):
        built = build(graph, twin, masks, program)
        twin.bn.momentum = 0.5
        return built

    build = fidelity.build
    monkeypatch.setattr(fidelity, "build", other)
    with pytest.raises(UnsupportedError, match="bn averages its statistics otherwise"):
        engine(Plain(), {}).built_for(SHAPE)


def test_the_answer_depends_on_no_weight():
    model = Plain()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    engine(model, {}).built_for(SHAPE)


@pytest.mark.parametrize("name", ["lenet-300-100", "resnet-8"])
@pytest.mark.parametrize("density", [0.9, 0.05, 0.002])
def test_networks_of_ours_are_taken_at_any_density(name, density):
    model = network(name, input_shape=(1, 8, 8), classes=10, seed=0)
    engine(model, random_masks(model, density=density)).built_for((1, 8, 8))


def test_a_model_that_cannot_be_copied_is_refused():
    model = Plain()
    model.lock = (each for each in ())
    with pytest.raises(UnsupportedError, match="it cannot be copied"):
        engine(model, {}).built_for(SHAPE)


BEYOND = {
    "optimizer": "adam",
    "optimizer_options": {"nesterov": True},
    "loss": "mse",
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "mixup": 0.2,
    "ema": 0.9,
    "precision": "bfloat16",
}
# What the loop does with a recipe, and the steps that the kernels take.
WITHIN = {
    *("epochs", "batch_size", "lr", "momentum", "weight_decay", "warmup_epochs", "drops", "drop_factor", "schedule"),
    *("augment", "rewind_to", "final_lr"),
}


def test_every_field_of_a_recipe_is_one_that_steps_know_or_refuse():
    assert {field.name for field in dataclasses.fields(Recipe)} == BEYOND.keys() | WITHIN


@pytest.mark.parametrize("field", BEYOND)
def test_a_recipe_that_asks_for_more_than_sgd_is_refused(field):
    with pytest.raises(UnsupportedError, match=rf"not with.*\b{field} = "):
        engine(Plain(), {}, **{field: BEYOND[field]})
