"""Accuracy and loss against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from prunemark.training import evaluate


def identity():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    return model


def test_accuracy_and_mean_loss_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0], [0.0, 0.0], [0.0, math.log(7)]])
    result = evaluate(identity(), logits, torch.tensor([0, 1, 0, 1]))
    assert result.accuracy == 0.75
    assert result.loss == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 2) + math.log(7 / 8)) / 4)


@pytest.mark.parametrize("examples", [1, 250, 251, 613])
def test_every_example_counts_once_whatever_the_batches(examples):
    targets = torch.arange(examples) % 2
    inputs = nn.functional.one_hot(targets, 2).float() * torch.arange(examples)[:, None]
    inputs[-1] = torch.tensor([0.0, 1.0]) if targets[-1] == 0 else torch.tensor([1.0, 0.0])
    result = evaluate(identity(), inputs, targets)
    assert result.accuracy == (examples - 1) / examples
    expected = nn.functional.cross_entropy(inputs.double(), targets)
    assert result.loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_statistics_are_used_and_neither_they_nor_the_mode_change(training):
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = torch.tensor([[5.0, 1.0]])
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model[1](inputs / math.sqrt(1 + 1e-5)), torch.tensor([1]))
    result = evaluate(model, inputs, torch.tensor([1]))
    assert result.loss == pytest.approx(expected.item(), rel=1e-6)
    assert model.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_writes_into_its_inputs_leaves_the_examples_as_they_are():
    inputs = torch.tensor([[-1.0, -2.0], [3.0, -4.0]])
    kept, targets = inputs.clone(), torch.tensor([0, 0])
    model = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), identity())
    first, second = (evaluate(model, inputs, targets) for _ in range(2))
    assert torch.equal(inputs, kept)
    assert first.loss == second.loss


def test_nothing_to_evaluate_on_is_an_error():
    with pytest.raises(ValueError, match="no examples"):
        evaluate(identity(), torch.empty(0, 2), torch.empty(0, dtype=torch.int64))


class Mean:
    """A loss that takes outputs of any shape, as one of a user's may."""

    def mean(self, outputs, targets):
        return outputs.mean()

    total = mean


def test_outputs_that_say_no_class_have_no_accuracy():
    images, classes = torch.randn(6, 1, 2, 2), torch.tensor([0, 1, 0, 0, 1, 0])
    with pytest.raises(ValueError, match=r"outputs \(6, 3, 1, 1\) do not fit targets \(6,\)"):
        evaluate(nn.Conv2d(1, 3, 2), images, classes, Mean())
    one = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), images, classes, Mean())
    assert math.isnan(one.accuracy)
    assert one.correct is None
