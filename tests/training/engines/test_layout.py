"""The layout in which the dense engine trains: the fast one where a model runs in it, and no number moves."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunemark.datasets import Split
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training import Checkpoint, evaluate, train
from prunemark.training.engines.dense import DenseEngine

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=20, lr=0.05)


class Flattened(nn.Module):
    """As LeNet-5-like networks are written: `view` of what a convolution returns, or `flatten`."""

    def __init__(self, how="view", only="always", early=0.0):
        super().__init__()
        self.how, self.only, self.early = how, only, early
        self.conv, self.bn = nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5)
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(5 * 16, 4)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = F.dropout(F.relu(self.bn(self.conv(x))), self.early, self.training)
        if self.how == "view" and self.only in ("always", "training" if self.training else "evaluation"):
            x = x.view(x.size(0), -1)
        return self.fc(self.drop(x.flatten(1)))


class Unflattened(Flattened):
    """Makes images of flat examples itself."""

    def forward(self, x):
        return super().forward(x.view(-1, 2, 6, 6))


def made(kind=Flattened, **options):
    model = kind(**options)
    source = generator(0, "test weights")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=source))
    return model


def split(examples=50, shape=(2, 6, 6)):
    source = generator(0, "test examples")
    return Split(
        inputs=torch.randn(examples, *shape, generator=source),
        targets=torch.randint(0, 4, (examples,), generator=source),
    )


def masks_of(model):
    source = generator(0, "test masks")
    return {name: torch.rand(model.get_parameter(name).shape, generator=source) < 0.5 for name in ("conv.weight",)}


@pytest.mark.parametrize("only", ["always", "training", "evaluation"])
@pytest.mark.parametrize(
    "recipe", [{}, {"optimizer": "adamw", "lr": 0.01}, {"ema": 0.9}, {"augment": ("crop",)}], ids=str
)
def test_a_model_that_takes_a_view_trains_as_one_that_flattens(only, recipe):
    recipe = RECIPE.override(recipe)
    found = []
    for how in ("view", "flatten"):
        model = made(how=how, only=only)
        found.append(train(model, split(), recipe, seed=0, masks=masks_of(model), test=split()))
    one, other = (each.checkpoint for each in found)
    for name, value in other.model.items():
        torch.testing.assert_close(one.model[name], value, rtol=1e-4, atol=1e-6)
    assert not one.model["conv.weight"][~masks_of(made())["conv.weight"]].any()


def test_it_goes_on_from_a_checkpoint_bit_for_bit():
    whole = train(made(), split(), RECIPE, seed=0, masks=masks_of(made())).checkpoint
    half = train(made(), split(), RECIPE, seed=0, masks=masks_of(made()), until=2).checkpoint
    rest = train(made(), split(), RECIPE, seed=0, masks=masks_of(made()), start=half).checkpoint
    assert all(torch.equal(rest.model[name], whole.model[name]) for name in whole.model)
    assert all(torch.equal(rest.momentum[name], whole.momentum[name]) for name in whole.momentum)


def test_it_can_be_evaluated_before_the_first_step():
    model = made()
    expected = evaluate(copy.deepcopy(model), split().inputs, split().targets)
    found = train(model, split(), RECIPE, seed=0, test=split(), until=0)
    assert found.test_accuracy == expected.accuracy
    assert found.test_loss == pytest.approx(expected.loss, rel=1e-6)


@pytest.mark.parametrize(("how", "calls"), [("view", 2), ("flatten", 1)])
def test_a_step_is_that_of_its_layout_bit_for_bit(how, calls):
    """Against a step by hand; a model that runs in the fast layout is called as often as it has steps."""
    model, by_hand = made(how=how, early=0.3), made(how=how, early=0.3)
    layout = torch.contiguous_format if how == "view" else torch.channels_last
    by_hand.to(memory_format=layout).train()
    images, targets = split().inputs.to(memory_format=torch.channels_last), split().targets
    engine = DenseEngine(model, RECIPE, {}, None, CPU)
    assert engine.memory_format == torch.channels_last
    torch.manual_seed(3)
    engine.step(images, targets, 0.1)
    assert engine.memory_format == layout
    torch.manual_seed(3)
    F.cross_entropy(by_hand(images.contiguous(memory_format=layout)), targets).backward()
    assert model.calls == calls
    for name, parameter in by_hand.named_parameters():
        assert torch.equal(model.get_parameter(name).grad, parameter.grad), name
    for name, buffer in by_hand.named_buffers():
        assert torch.equal(model.get_buffer(name), buffer), name
    engine.close()


def test_what_fails_in_every_layout_says_so_itself():
    model = made()
    model.fc = nn.Linear(7, 4)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(model, split(), RECIPE, seed=0)


def test_flat_examples_of_a_network_with_convolutions():
    whole = train(made(), split(), RECIPE, seed=0).checkpoint
    flat = train(made(Unflattened), split(shape=(72,)), RECIPE, seed=0).checkpoint
    assert isinstance(flat, Checkpoint)
    torch.testing.assert_close(flat.model, whole.model, rtol=1e-4, atol=1e-6)
