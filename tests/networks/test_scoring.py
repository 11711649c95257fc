"""Every network can be scored by the study's methods, pruned to the exact count, and trained."""

import pytest
import torch

import prunemark as pm
from prunemark.datasets import Split
from prunemark.models.prunable import prunable
from prunemark.networks import NETWORKS, network
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training import train

# Of each kind one; deeper ones are the same code.
KINDS = ["lenet-300-100", "resnet-8", "vgg-16", "resnet-18", "resnet-18-modified", "resnet-50", "vit-tiny"]


@pytest.fixture(scope="module")
def cases():
    """Each network at its narrowest, and six examples of three classes that fit it."""
    made = {}
    for name in KINDS:
        entry = NETWORKS[name]
        shape = (2, max(8, entry.min_size), max(8, entry.min_size))
        options = {"width": 1 / 32} if "width" in entry.accepts else {}
        if "patch" in entry.accepts:
            options["patch"] = 4
        inputs = torch.randn(6, *shape, generator=generator(0, name))
        made[name] = network(name, input_shape=shape, classes=3, **options), inputs, torch.arange(6) % 3
    return made


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("method", "options"),
    [("random", {}), ("magnitude", {}), ("snip", {}), ("grasp", {}), ("synflow", {"rounds": 3})],
)
def test_every_method_prunes_every_network_to_the_exact_count(cases, name, method, options):
    model, inputs, targets = cases[name]
    total = sum(weight.numel() for weight in prunable(model).values())
    masks = pm.prune(
        model, method, sparsity=0.9, data=[(inputs, targets)], input_shape=tuple(inputs.shape[1:]), **options
    )
    assert masks.total == total
    assert masks.kept == round(0.1 * total)
    assert list(masks) == list(prunable(model))


@pytest.mark.parametrize("name", KINDS)
def test_synflow_scores_are_float64_and_positive_somewhere_in_every_layer(cases, name):
    model, inputs, _ = cases[name]
    scores = pm.score(model, "synflow", input_shape=tuple(inputs.shape[1:]))
    assert all(score.dtype == torch.float64 and score.max() > 0 for score in scores.values())


def test_grasp_through_attention_is_the_derivative_of_the_gradient_along_itself(cases):
    model, inputs, targets = cases["vit-tiny"]
    model, inputs = pm.reinitialize(model, seed=0).double(), inputs.double()
    scores = pm.score(model, "grasp", data=[(inputs, targets)])
    weights = prunable(model)

    def gradient():
        loss = torch.nn.functional.cross_entropy(model(inputs) / 200, targets)
        return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))

    here = gradient()
    step = 1e-6 / sum(g.pow(2).sum() for g in here.values()).sqrt()
    ends = []
    for sign in (1, -2):
        with torch.no_grad():
            for name, weight in weights.items():
                weight += sign * step * here[name]
        ends.append(gradient())
    with torch.no_grad():
        for name, weight in weights.items():
            weight += step * here[name]
    largest = max(float(score.abs().max()) for score in scores.values())
    for name, weight in weights.items():
        product = (ends[0][name] - ends[1][name]) / (2 * step)
        torch.testing.assert_close(scores[name], weight.detach() * product, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.parametrize("name", KINDS)
def test_every_network_trains_under_a_mask_and_goes_on_from_a_checkpoint(cases, name):
    model, inputs, targets = cases[name]
    masks = pm.prune(model, "magnitude", sparsity=0.5)
    data, recipe = (
        Split(inputs=inputs, targets=targets),
        Recipe(epochs=2, batch_size=3, lr=1e-3, augment=("crop", "flip")),
    )

    def fresh():
        return pm.reinitialize(model, seed=1)

    whole = train(fresh(), data, recipe, seed=0, masks=masks, test=data)
    part = train(fresh(), data, recipe, seed=0, masks=masks, until=3)
    rest = train(fresh(), data, recipe, seed=0, masks=masks, test=data, start=part.checkpoint)
    assert not whole.diverged
    for key, value in whole.checkpoint.model.items():
        assert torch.equal(value, rest.checkpoint.model[key])
    for key, mask in masks.items():
        assert not whole.checkpoint.model[key][~mask].any()
