"""Named variants: each changes what its name says."""

import copy
import itertools

import pytest
import torch
from torch.nn import functional as F

import prunemark as pm
from prunemark.masks import Masks


def test_several_batches_are_added_before_the_absolute_value(convnet, batches):
    summed = pm.score(convnet, "snip:synaptic-flow", data=batches)
    averaged = pm.score(convnet, "snip", data=batches, bn="eval")
    total = sum(score.sum() for score in averaged.values())
    assert not torch.allclose(summed["down.weight"], averaged["down.weight"] / total, rtol=1e-3)
    first = pm.score(convnet, "snip:synaptic-flow", data=batches[:1])
    single = pm.score(convnet, "snip", data=batches[:1], bn="eval")
    total = sum(score.sum() for score in single.values())
    torch.testing.assert_close(first["down.weight"], single["down.weight"] / total)


def test_only_synaptic_flows_snip_revives_pruned_weights(convnet, batches):
    masks = pm.prune(convnet, "random", sparsity=0.5, seed=1)
    revived = pm.score(convnet, "snip:synaptic-flow", data=batches, within=masks)
    assert all((revived[name][~masks[name]] != 0).any() for name in masks)

    kept: list[Masks] = []

    class Spy(pm.methods.SnipSynapticFlow):
        def __call__(self, problem, /):
            kept.append(problem.masks)
            return super().__call__(problem)

    kept.append(pm.prune(convnet, Spy(), sparsity=0.95, data=batches, rounds=20))
    came_back = [(after[n] & ~before[n]).any() for before, after in itertools.pairwise(kept) for n in after]
    assert any(came_back)


def test_the_official_snip_ignores_batchnorm_statistics_of_the_batch(convnet, batches):
    official = pm.score(convnet, "snip:official", data=batches)
    single = pm.score(convnet, "snip", data=batches[:1], bn="eval")
    total = sum(score.sum() for score in single.values())
    for name in official:
        torch.testing.assert_close(official[name], single[name] / total)


def test_an_ordinary_batch_is_not_balanced():
    data = pm.dataset("digits")
    model = pm.network("lenet-300-100", input_shape=data.input_shape, classes=data.classes)
    seen = {}

    class Spy(pm.methods.SnipOfficial):
        def __call__(self, problem, /):
            seen["counts"] = problem.batches[0][1].bincount(minlength=10).tolist()
            return super().__call__(problem)

    pm.score(model, Spy(), data=data)
    assert sum(seen["counts"]) == 100
    assert len(set(seen["counts"])) > 1


def test_signs_and_magnitude_of_grasp(convnet, batches):
    plain, opposite, magnitude = (
        pm.score(convnet, name, data=batches) for name in ("grasp", "grasp:reversed", "graspabs")
    )
    for name in plain:
        assert torch.equal(opposite[name], -plain[name])
        assert torch.equal(magnitude[name], plain[name].abs())


def test_halves_matter_only_to_batchnorm(convnet, batches):
    # Without batch statistics, two equal halves have H1 + H2 = 2H and g1 + g2 = 2g: four times the batch's score.
    plain, halves = (pm.score(convnet, name, data=batches[:1], bn="eval") for name in ("grasp", "grasp:halves"))
    for name in plain:
        torch.testing.assert_close(halves[name], 4 * plain[name], rtol=1e-3, atol=1e-12)
    plain, halves = (pm.score(convnet, name, data=batches[:1]) for name in ("grasp", "grasp:halves"))
    assert not torch.allclose(halves["stem.weight"], 4 * plain["stem.weight"], rtol=1e-2, atol=0)


def test_synflow_in_train_mode_normalises_by_the_one_input(convnet):
    evaluated = pm.score(convnet, "synflow", input_shape=(2, 6, 6))
    trained = pm.score(convnet, "synflow", input_shape=(2, 6, 6), bn="train")
    assert any(not torch.allclose(evaluated[name], trained[name]) for name in evaluated)


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")  # of units that no example activates
def test_open_lths_grasp_has_g_over_pruned_weights_too(convnet, batches):
    x, y = batches[0][0].double(), batches[0][1]
    model = copy.deepcopy(convnet).double()
    masks = pm.prune(model, "random", sparsity=0.6, seed=1)
    masks.apply_(model)
    weights = [model.get_parameter(name) for name in masks]
    model.train()
    gradients = torch.autograd.grad(F.cross_entropy(model(x) / 200, y), weights, create_graph=True)
    products = torch.autograd.grad(sum((g.detach() * g).sum() for g in gradients), weights)
    scores = pm.score(model, "grasp:open-lth", data=[(x, y)], within=masks)
    for name, weight, product in zip(masks, weights, products, strict=True):
        torch.testing.assert_close(scores[name], weight.detach() * product)
    survivors = pm.score(model, "grasp", data=[(x, y)], within=masks)
    assert any(not torch.allclose(survivors[name], scores[name], rtol=1e-2) for name in masks)
    one, ten = (
        [pm.prune(convnet, name, sparsity=0.3, data=batches, rounds=rounds) for name in ("grasp", "grasp:open-lth")]
        for rounds in (1, 10)
    )
    assert one[0] == one[1]
    assert ten[0] != ten[1]
