"""Training, evaluating and scoring for tasks other than classification."""

import math

import pytest
import torch
from torch import nn

from prunemark.datasets import Dataset, Split
from prunemark.datasets.from_tensors import from_tensors
from prunemark.masks import Masks
from prunemark.models.prunable import prunable
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.recipes.table import recipe_for
from prunemark.training import evaluate, train
from prunemark.training.losses import CrossEntropy, MeanSquare


class Tokens(nn.Module):
    """The logits of the next of 4 tokens, from the token alone."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(4, 8), nn.Linear(8, 4)

    def forward(self, tokens):
        return self.head(self.embed(tokens))


def of_task(task: str) -> tuple[Dataset, nn.Module]:
    draw = generator(0, "task")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        match task:
            case "next-token":
                tokens = torch.arange(41).remainder(4)
                inputs, targets = tokens[:-1].view(10, 4), tokens[1:].view(10, 4)
                model = Tokens()
            case "segmentation":
                inputs = torch.randn(30, 1, 4, 4, generator=draw)
                targets, model = (inputs[:, 0] > 0).long(), nn.Conv2d(1, 2, 1)
            case _:
                inputs = torch.randn(200, 3, generator=draw)
                targets, model = inputs @ torch.tensor([[1.0], [-2.0], [0.5]]), nn.Linear(3, 1)
    return from_tensors("task", train=(inputs, targets), test=(inputs, targets)), model


@pytest.mark.parametrize("task", ["next-token", "segmentation", "regression"])
def test_every_task_trains_to_a_small_loss_under_masks(task):
    data, model = of_task(task)
    assert data.task == task
    recipe = recipe_for("own", "own", task).override(
        {"epochs": 60, "batch_size": 10, "optimizer": "adam", "lr": 0.05, "weight_decay": 0, "drops": []}
    )
    masks = Masks({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()})
    before = evaluate(model, data.test.inputs, data.test.targets, _loss(task))
    trained = train(model, data.train, recipe, seed=0, masks=masks, test=data.test)
    assert trained.test_loss < 0.2 * before.loss
    assert trained.correct is None
    assert math.isnan(trained.test_accuracy) if task == "regression" else trained.test_accuracy > 0.95


def _loss(task):
    return MeanSquare() if task == "regression" else CrossEntropy()


def test_accuracy_is_the_share_of_pixels_and_of_places_that_are_right():
    class Fixed(nn.Module):
        def __init__(self, outputs):
            super().__init__()
            self.outputs = nn.Parameter(outputs)

        def forward(self, inputs):
            return self.outputs

    pixels = torch.tensor([[[0, 1], [1, 1]]])
    logits = nn.functional.one_hot(torch.tensor([[[0, 1], [0, 1]]]), 2).movedim(-1, 1).float()
    found = evaluate(Fixed(logits), torch.zeros(1, 1, 2, 2), pixels)
    right, wrong = math.log(1 + math.exp(-1)), 1 + math.log(1 + math.exp(-1))
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx((3 * right + wrong) / 4)
    logits = nn.functional.one_hot(torch.tensor([[0, 1, 0, 1]]), 2).float()
    found = evaluate(Fixed(logits), torch.zeros(1, 4).long(), torch.tensor([[0, 1, 1, 1]]))
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx((3 * right + wrong) / 4)


def test_outputs_and_losses_of_another_task_are_said():
    tokens, numbers = torch.zeros(2, 3).long(), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"for tokens .* = \(2, 3\) must be \(N, T, tokens\), not \(2, 5, 3\)"):
        CrossEntropy().mean(torch.zeros(2, 5, 3), tokens)
    with pytest.raises(ValueError, match="needs classes or tokens as targets"):
        CrossEntropy().mean(numbers, numbers)
    data = Split(inputs=numbers, targets=torch.zeros(2).long())
    with pytest.raises(ValueError, match="augment changes images"):
        train(nn.Linear(3, 2), data, Recipe(epochs=1, augment=("flip",)), seed=0)


def test_a_sample_of_other_tasks_is_drawn_from_all_examples():
    data, _ = of_task("regression")
    inputs, targets = data.balanced_sample(7, generator(0, "examples"))
    assert (len(inputs), len(targets)) == (7, 7)
    assert all(any(torch.equal(row, known) for known in data.train.inputs) for row in inputs)
    with pytest.raises(ValueError, match="200 training examples; 201 were asked for"):
        data.balanced_sample(201, generator(0, "examples"))
