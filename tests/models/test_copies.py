"""Copies in rounds of pruning: fresh each time, but for the weights of methods that leave them as they need them."""

import copy

import pytest
import torch
from torch import Tensor, nn

import prunemark as pm
from prunemark.models.copies import independent_copy
from prunemark.pruning.selection import select_count


class Counting(nn.Module):
    """A model that remembers how often it was called, even in eval mode, and computes accordingly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 20), nn.BatchNorm1d(20), nn.Linear(20, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.scale += 1
        return self.last(torch.relu(self.norm(self.first(x))) * self.calls) * self.scale + self.last.weight.sum()


@pytest.mark.parametrize("method", ["synflow", "synflow:synaptic-flow"])
def test_rounds_on_the_weights_of_the_round_before_choose_as_rounds_on_fresh_copies(method):
    model = Counting()
    state = copy.deepcopy(model.state_dict())
    seen: list[dict[str, Tensor]] = []

    class Spy(pm.methods.SynFlow):
        def __call__(self, problem, /):
            seen.append(super().__call__(problem))
            return seen[-1]

    options = {"dtype": "float32", "buffers": True} if method == "synflow:synaptic-flow" else {}
    together = pm.prune(model, Spy(rounds=6, **options), sparsity=0.9, input_shape=(6,))
    masks = pm.Masks.ones({name: together[name] for name in together})
    for step, scores in enumerate(seen, 1):
        fresh = pm.score(model, method, input_shape=(6,), within=masks)
        assert all(torch.equal(scores[name], fresh[name]) for name in fresh)
        keep = together.kept if step == 6 else masks.total - int((1 - 0.1 ** (step / 6)) * masks.total)
        masks = select_count(scores, keep, within=masks)
    assert masks == together
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.scale == 1


def test_a_method_that_changes_its_copy_gets_a_fresh_one_in_each_round():
    model = Counting()
    before = model.first.weight.detach().clone()

    def vandal(problem) -> dict[str, Tensor]:
        kept = problem.masks["first.weight"]
        assert torch.equal(problem.weights["first.weight"][kept], before[kept])
        with torch.no_grad():
            for weight in problem.weights.values():
                weight.add_(1)
        return {name: weight.detach().abs() for name, weight in problem.weights.items()}

    pm.prune(model, vandal, sparsity=0.5, rounds=3)


def test_a_copy_takes_given_weights_in_every_place_where_they_are_used():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    given = nn.Parameter(torch.full((3, 3), 7.0))
    duplicate = independent_copy(tied, weights={"0.weight": given})
    assert duplicate[0].weight is duplicate[1].weight is given
    assert duplicate[0].bias is not tied[0].bias
    assert not (tied[0].weight == 7).any()
