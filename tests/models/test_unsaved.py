"""State beside the state dict is seen to change, whatever it is; training itself changes none."""

import random

import pytest
import torch
from torch import nn

from prunemark.models.unsaved import unchanged
from prunemark.networks import network


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.calls, self.seen = 0, {"largest": [0.0]}
        self.generator, self.draws = torch.Generator().manual_seed(0), random.Random(0)
        self.register_buffer("average", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.layer(x)


CHANGES = {
    "a number": lambda model: setattr(model, "calls", 1),
    "a value within": lambda model: model.seen["largest"].append(1.0),
    "a generator of torch": lambda model: torch.rand(1, generator=model.generator),
    "a generator of Python": lambda model: model.draws.random(),
    "a buffer that is not saved": lambda model: model.average.add_(1),
    "another function": lambda model: setattr(model, "forward", lambda x: x),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_state_dict_leaves_out_is_seen_to_change(change):
    model = nn.Sequential(Counts())
    same = unchanged(model)
    assert same()
    CHANGES[change](model[0])
    assert not same()


@pytest.mark.parametrize(
    "model",
    [
        network("resnet-8", input_shape=(1, 8, 8), classes=10, seed=0),
        nn.Sequential(nn.Flatten(2), nn.LSTM(64, 8)),
        nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(64, 2, 16)),
    ],
    ids=["resnet-8", "lstm", "transformer"],
)
def test_a_step_of_training_changes_nothing_of_it(model):
    same = unchanged(model)
    outputs = model(torch.ones(4, 1, 8, 8))
    (outputs[0] if isinstance(outputs, tuple) else outputs).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert same()


def test_what_cannot_be_told_counts_as_changed():
    model = nn.Linear(2, 2)
    model.stream = (n for n in range(3))
    assert not unchanged(model)()
