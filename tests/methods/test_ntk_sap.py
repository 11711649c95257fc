"""NTK-SAP against its definition, finite differences and the neural tangent kernel itself."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

import prunemark as pm
from prunemark.masks import Masks
from prunemark.methods.base import Problem
from prunemark.models.prunable import prunable
from prunemark.randomness import generator


def problem_of(model, masks=None, **fields):
    weights = prunable(model)
    initial = {name: weight.detach().clone() for name, weight in weights.items()}
    return Problem(model=model, weights=weights, masks=masks or Masks.ones(weights), initial=initial, **fields)


def directions(weights, source):
    return {n: torch.randn(w.shape, generator=source, dtype=w.dtype) for n, w in weights.items()}


def test_scores_against_finite_differences_of_the_definition():
    first, second = nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)
    net = nn.Sequential(first, nn.ReLU(), second).double()
    masks = pm.prune(net, "random", sparsity=0.4)
    options = {"draws": 2, "epsilon": 0.05, "examples": 7}
    scores = pm.score(net, "ntk-sap", input_shape=(4,), seed=3, within=masks, **options)

    draws = []
    for draw in (1, 2):
        source = generator(3, f"ntk-sap round 1 draw {draw}")
        weights = [nn.init.kaiming_normal_(torch.empty(shape), generator=source) for shape in ((5, 4), (3, 5))]
        moves = [torch.randn(shape, generator=source) for shape in ((5, 4), (3, 5))]
        inputs = torch.randn(7, 4, generator=source)
        draws.append([[t.double() for t in group] for group in (weights, moves, [inputs])])

    def change(m):
        total = 0.0
        for (w1, w2), (d1, d2), (x,) in draws:
            plain = torch.relu(x @ (m[0] * w1).T) @ (m[1] * w2).T
            moved = torch.relu(x @ (m[0] * (w1 + 0.05 * d1)).T) @ (m[1] * (w2 + 0.05 * d2)).T
            total += (plain - moved).square().sum()
        return total

    ms = [masks[name].double() for name in ("0.weight", "2.weight")]
    for layer, name in enumerate(("0.weight", "2.weight")):
        assert (scores[name][~masks[name]] == 0).all()
        flat = ms[layer].view(-1)
        for index in flat.nonzero().flatten().tolist():
            sides = []
            for value in (1 + 1e-5, 1 - 1e-5):
                flat[index] = value
                sides.append(change(ms))
            flat[index] = 1.0
            slope = (sides[0] - sides[1]).abs() / 2e-5
            torch.testing.assert_close(scores[name].flatten()[index], slope, rtol=1e-6, atol=1e-9)


def test_the_change_of_the_outputs_estimates_the_trace_of_the_kernel():
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    masks = pm.prune(net, "random", sparsity=0.3)
    masks.apply_(net)
    problem, method = problem_of(net, masks), pm.methods.NtkSap(epsilon=1e-4)
    source = generator(0, "test")
    inputs = torch.randn(5, 4, generator=source, dtype=torch.float64)
    weights = {name: weight.detach() for name, weight in prunable(net).items()}

    jacobians = jacrev(lambda w: functional_call(net, w, (inputs,)))(weights)
    # The kernel's diagonal is a sum of squares over the kept weights only.
    trace = sum((jacobian.square() * masks[name]).sum() for name, jacobian in jacobians.items())
    ms = {name: mask.double() for name, mask in masks.items()}
    estimates = [method.change(problem, ms, weights, directions(weights, source), inputs) / 1e-8 for _ in range(600)]
    torch.testing.assert_close(torch.stack(estimates).mean().detach(), trace, rtol=0.1, atol=0)


def test_of_a_linear_map_by_hand():
    # f(x) = Wx: R = e^2 sum over x of |(m * D) x|^2, the kernel's trace is 2 |x|^2 for two outputs, and
    # the expected score of a weight on input j is 2 e^2 sum x_j^2.
    net = nn.Linear(3, 2, bias=False).double()
    scores = pm.score(net, "ntk-sap", input_shape=(3,), draws=400, examples=20, epsilon=0.1)
    expected = 2 * 0.1**2 * 400 * 20
    torch.testing.assert_close(scores["weight"], torch.full((2, 3), expected, dtype=torch.float64), rtol=0.3, atol=0)
    torch.testing.assert_close(scores["weight"].mean().item(), expected, rtol=0.1, atol=0)


def test_both_networks_use_the_same_batchnorm_statistics(convnet):
    # With statistics of its own, the perturbed network would differ by more than its weights do.
    net = convnet.double()
    problem, source = problem_of(net), generator(0, "test")
    weights = {name: weight.detach() for name, weight in prunable(net).items()}
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    direction = directions(weights, source)
    inputs = torch.randn(9, 2, 6, 6, generator=source, dtype=torch.float64)
    change = pm.methods.NtkSap(epsilon=1e-3).change(problem, ones, weights, direction, inputs)
    hidden = net.stem(inputs)
    torch.testing.assert_close(net.norm.running_mean, hidden.mean((0, 2, 3)))
    net.eval()
    moved = {name: weight + 1e-3 * direction[name] for name, weight in weights.items()}
    expected = (net(inputs) - functional_call(net, moved, (inputs,))).square().sum()
    torch.testing.assert_close(change, expected)


def test_the_networks_own_weights_do_not_matter_but_the_seed_does():
    nets = [pm.network("lenet-300-100", input_shape=(1, 4, 4), classes=3, seed=seed) for seed in (0, 1)]
    first, second = (pm.score(net, "ntk-sap", input_shape=(1, 4, 4), seed=5) for net in nets)
    other = pm.score(nets[0], "ntk-sap", input_shape=(1, 4, 4), seed=6)
    for name in first:
        assert torch.equal(first[name], second[name])
        assert not torch.equal(first[name], other[name])


def test_each_round_draws_afresh():
    seen = []

    class Spy(pm.methods.NtkSap):
        def change(self, problem, masks, weights, direction, inputs):
            seen.append((weights["weight"].clone(), direction["weight"], inputs))
            return super().change(problem, masks, weights, direction, inputs)

    pm.prune(nn.Linear(8, 4), Spy(), sparsity=0.5, input_shape=(8,), rounds=2)
    assert len(seen) == 2 * 5
    for kind in range(3):
        assert len({tuple(draw[kind].flatten().tolist()) for draw in seen}) == 10


def test_bad_input(convnet):
    with pytest.raises(ValueError, match="NTK-SAP feeds random inputs: pass input_shape="):
        pm.score(convnet, "ntk-sap")
    with pytest.raises(ValueError, match="draws >= 1, examples >= 1 and epsilon > 0; got draws=0"):
        pm.score(convnet, "ntk-sap", input_shape=(2, 6, 6), draws=0)
    with pytest.raises(ValueError, match="outputs that are one tensor; the model gives a tuple"):
        pm.score(convnet, "ntk-sap", input_shape=(2, 6, 6), forward=lambda model, x: (model(x), x))
    tokens = nn.Sequential(nn.Embedding(10, 6), nn.Flatten(), nn.Linear(30, 3))
    with pytest.raises(ValueError, match=r"NTK-SAP feeds Sequential random floats of shape \(100, 5\)"):
        pm.score(tokens, "ntk-sap", input_shape=(5,))
    behind = pm.score(tokens, "ntk-sap", input_shape=(5, 6), forward=lambda model, x: model[2](model[1](x)))
    assert (behind["2.weight"] > 0).all()
