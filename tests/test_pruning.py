"""The contract that every method in METHODS fulfils, and what `prune` adds to a method."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import prunemark as pm
from prunemark.methods import METHODS
from prunemark.prunable import prunable

SPARSITIES = [0.0, 0.5, 1 - 0.8**10, 0.997]
names = pytest.mark.parametrize("method", METHODS)


@names
@pytest.mark.parametrize("rounds", [1, 10])
@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("invert", [False, True])
def test_exact_count_in_any_number_of_rounds(convnet, batches, method, rounds, sparsity, invert):
    masks = pm.prune(convnet, method, sparsity=sparsity, data=batches, rounds=rounds, invert=invert)
    assert masks.kept == round((1 - sparsity) * masks.total)
    assert {n: m.shape for n, m in masks.items()} == {n: w.shape for n, w in prunable(convnet).items()}
    if invert:
        assert masks.provenance["certificate"]["ablation"] == "invert"


@names
def test_same_seed_same_scores_and_nothing_of_the_caller_is_touched(convnet, batches, method):
    convnet.eval()
    convnet.norm.train()
    convnet.head.weight.requires_grad_(False)
    convnet.stem.weight.grad = torch.ones_like(convnet.stem.weight)
    state = copy.deepcopy(convnet.state_dict())
    modes = [module.training for module in convnet.modules()]
    randomness = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    first = pm.score(convnet, method, data=batches, seed=5)
    torch.rand(1)  # whatever happens in between
    torch.set_rng_state(randomness[0])
    second = pm.score(convnet, method, data=batches, seed=5)
    assert all(torch.equal(first[name], second[name]) for name in prunable(convnet))
    assert torch.equal(torch.get_rng_state(), randomness[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == randomness[1:]  # noqa: NPY002
    assert all(torch.equal(value, state[name]) for name, value in convnet.state_dict().items())
    assert [module.training for module in convnet.modules()] == modes
    assert not convnet.head.weight.requires_grad
    assert (convnet.stem.weight.grad == 1).all()
    assert convnet.down.weight.grad is None


@names
def test_float64_models(convnet, batches, method):
    double = [(inputs.double(), targets) for inputs, targets in batches]
    masks = pm.prune(convnet.double(), method, sparsity=0.9, data=double, rounds=2)
    assert masks.kept == round((1 - 0.9) * masks.total)


def test_rounds_rescore_the_surviving_network(convnet, batches):
    seen: list[int] = []

    def spy(problem) -> dict[str, Tensor]:
        seen.append(problem.masks.kept)
        assert all((w[~problem.masks[n]] == 0).all() for n, w in problem.weights.items())
        return pm.methods.Snip()(problem)

    total = sum(w.numel() for w in prunable(convnet).values())
    masks = pm.prune(convnet, spy, sparsity=0.9, data=batches, rounds=4)
    assert seen == [total, *(round((1 - 0.9) ** (n / 4) * total) for n in (1, 2, 3))]
    assert masks.kept == round((1 - 0.9) * total)


def test_iterative_differs_from_one_shot(convnet, batches):
    once = pm.prune(convnet, "grasp", sparsity=0.9, data=batches)
    often = pm.prune(convnet, "grasp", sparsity=0.9, data=batches, rounds=10)
    assert once != often


def test_scoring_a_subnetwork_scores_pruned_weights_zero(convnet, batches):
    masks = pm.prune(convnet, "random", sparsity=0.5)
    scores = pm.score(convnet, "snip", data=batches, within=masks)
    assert all((scores[name][~masks[name]] == 0).all() for name in masks)


def test_a_plain_function_is_a_method(convnet):
    def largest_rows(problem) -> dict[str, Tensor]:
        return {n: w.detach().abs().flatten(1).sum(1).view(-1, *[1] * (w.ndim - 1)).expand_as(w)
                for n, w in problem.weights.items()}  # fmt: skip

    masks = pm.prune(convnet, largest_rows, sparsity=0.5)
    assert masks.kept == round(0.5 * masks.total)
    assert masks.provenance["method"] == "largest_rows"


def test_dropout_is_drawn_from_the_seed(batches):
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 20), nn.Dropout(0.5), nn.Linear(20, 3))
    first, again, other = (pm.score(net, "snip", data=batches, seed=s)["1.weight"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_models_with_several_or_named_inputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.a(left) + self.b(right)

    net, targets = Two(), torch.tensor([0, 1, 1])
    left, right = torch.randn(3, 3), torch.randn(3, 4)
    by_position = pm.score(net, "snip", data=[((left, right), targets)])
    by_name = pm.score(net, "snip", data=[({"left": left, "right": right}, targets)])
    assert all(torch.equal(by_position[n], by_name[n]) for n in by_position)


def test_provenance_says_how_masks_were_made(convnet, batches):
    masks = pm.prune(convnet, "snip", sparsity=0.9, data=batches, seed=4, rounds=3, bn="eval")
    assert masks.provenance["method"] == "snip"
    assert masks.provenance["options"] == {"examples_per_class": 10, "bn": "eval"}
    assert (masks.provenance["sparsity"], masks.provenance["rounds"], masks.provenance["seed"]) == (0.9, 3, 4)
    assert masks.provenance["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "snipp"}, 'unknown method "snipp"; known: .*; did you mean "snip"'),
        ({"method": "snip"}, "this method scores with examples: pass data="),
        ({"method": "synflow"}, "pass input_shape="),
        ({"method": "snip", "data": []}, "data holds no batches"),
        ({"method": "snip", "examples": 3}, 'snip: unknown option "examples"; known: .*examples_per_class'),
        ({"method": "random", "sparsity": 1.0}, r"in \[0, 1\); got 1.0"),
        ({"method": "random", "rounds": 0}, "rounds counts from 1; got 0"),
        ({"method": lambda problem: {}}, "must name each prunable weight: missing"),
        ({"method": lambda p: {n: w[:1] for n, w in p.weights.items()}}, "scores of stem.weight have shape"),
        (
            {"method": lambda p: {n: w.detach() / 0 for n, w in p.weights.items()}},
            "scores of stem.weight are not finite",
        ),
    ],
)
def test_bad_input_gets_one_sentence(convnet, arguments, message):
    with pytest.raises(ValueError, match=message):
        pm.prune(convnet, **{"sparsity": 0.5, **arguments})


def test_a_loss_that_is_not_a_scalar(convnet, batches):
    with pytest.raises(ValueError, match=r"the loss must be one number; got a tensor of shape \(12, 3\)"):
        pm.score(convnet, "snip", data=batches, loss=lambda outputs, targets: outputs)
    with pytest.raises(ValueError, match="does not depend on any prunable weight"):
        pm.score(convnet, "snip", data=batches, loss=lambda outputs, targets: torch.tensor(1.0))
