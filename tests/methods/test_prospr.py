"""ProsPr against training by torch.optim.SGD, differentiated numerically."""

import copy

import pytest
import torch
from torch.nn import functional

import prunemark as pm
from prunemark.models.prunable import prunable


@pytest.fixture
def doubles(batches):
    return [(inputs.double(), targets) for inputs, targets in batches]


def trained(model, batches, steps, *, masks=None, **sgd):
    """A copy after so many steps of SGD on the batches in turn."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(model.parameters(), **sgd)
    for step in range(steps):
        inputs, targets = batches[step % len(batches)]
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        for name, weight in prunable(model).items():
            if masks is not None:
                weight.grad.masked_fill_(~masks[name], 0)
        optimizer.step()
    return model


def loss_after(model, batches, steps, **options):
    inputs, targets = batches[steps % len(batches)]
    return functional.cross_entropy(trained(model, batches, steps, **options)(inputs), targets)


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize(("steps", "momentum"), [(1, 0.0), (3, 0.0), (3, 0.9)])
def test_scores_are_the_change_of_the_loss_after_training(convnet, doubles, steps, momentum, sparsity):
    net = convnet.double()
    masks = pm.prune(net, "random", sparsity=sparsity)
    options = {"lr": 0.3, "momentum": momentum}
    scores = pm.score(net, "prospr", data=doubles, within=masks, steps=steps, **options)
    masks.apply_(net)
    for name in ("stem.weight", "down.weight", "shortcut.weight", "head.weight"):
        weight = prunable(net)[name].data.flatten()
        assert (scores[name][~masks[name]] == 0).all()
        for index in masks[name].flatten().nonzero().flatten().tolist()[::15]:
            value, step, losses = float(weight[index]), 1e-5, []
            for factor in (1 + step, 1 - step):
                weight[index] = factor * value
                losses.append(loss_after(net, doubles, steps, masks=masks, **options))
            weight[index] = value
            change = (losses[0] - losses[1]).abs() / (2 * step)
            torch.testing.assert_close(scores[name].flatten()[index], change, rtol=1e-4, atol=1e-8)


def test_without_steps_it_is_snip(convnet, batches):
    prospr = pm.score(convnet, "prospr", data=batches[:1], steps=0)
    for name, score in pm.score(convnet, "snip", data=batches[:1]).items():
        torch.testing.assert_close(prospr[name], score)


def test_steps_change_the_scores(convnet, batches):
    three, none = (pm.score(convnet, "prospr", data=batches[:1], steps=steps) for steps in (3, 0))
    assert not torch.allclose(three["down.weight"], none["down.weight"], rtol=1e-2)


def test_first_order_takes_the_gradient_where_training_ends(convnet, doubles):
    net = convnet.double()
    scores = pm.score(net, "prospr", data=doubles, steps=2, lr=0.3, momentum=0.9, first_order=True)
    end = trained(net, doubles, 2, lr=0.3, momentum=0.9)
    loss = functional.cross_entropy(end(doubles[0][0]), doubles[0][1])
    gradients = torch.autograd.grad(loss, list(prunable(end).values()))
    for (name, weight), gradient in zip(prunable(net).items(), gradients, strict=True):
        torch.testing.assert_close(scores[name], (weight.detach() * gradient).abs())


def test_new_data_in_each_step(convnet, batches):
    inputs, targets = batches[0]
    cut = pm.score(convnet, "prospr", data=batches[:1], new_data=True)
    pieces = [(inputs[i : i + 3], targets[i : i + 3]) for i in range(0, 12, 3)]
    given = pm.score(convnet, "prospr", data=pieces)
    assert all(torch.equal(cut[name], given[name]) for name in cut)


def test_attention_has_the_second_derivatives_it_needs():
    net = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    inputs, targets = torch.randn(4, 5, 8), torch.randint(0, 8, (4,))
    scores = pm.score(net, "prospr", data=[(inputs, targets)], forward=lambda model, x: model(x).mean(1))
    assert (scores["self_attn.in_proj_weight"] > 0).any()


@pytest.mark.parametrize("option", [{"steps": -1}, {"lr": 0.0}, {"momentum": 1.0}])
def test_bad_options(convnet, batches, option):
    with pytest.raises(ValueError, match=r"ProsPr needs steps >= 0, lr > 0 and momentum in \[0, 1\); got"):
        pm.score(convnet, "prospr", data=batches, **option)
