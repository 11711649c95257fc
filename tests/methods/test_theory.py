"""Each method against an independent computation or a theorem about it."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

import prunemark as pm
from prunemark.models.prunable import prunable


def loss_as_function(model, batch, temperature=1.0):
    """The loss as a function of one flat vector of the prunable weights, in float64 and train mode."""
    model = copy.deepcopy(model).double().train()
    weights = prunable(model)
    inputs, targets = batch[0].double(), batch[1]

    def loss(flat):
        pieces = flat.split([w.numel() for w in weights.values()])
        state = {n: p.view_as(w) for (n, w), p in zip(weights.items(), pieces, strict=True)}
        buffers = {name: value.clone() for name, value in model.named_buffers()}
        outputs = functional_call(model, {**state, **buffers}, (inputs,))
        return functional.cross_entropy(outputs / temperature, targets)

    return loss, torch.cat([w.detach().flatten() for w in weights.values()])


def flatten(scores):
    return torch.cat([score.flatten() for score in scores.values()])


def test_snip_is_the_loss_change_to_first_order(convnet, batches):
    scores = flatten(pm.score(convnet.double(), "snip", data=[(batches[0][0].double(), batches[0][1])]))
    loss, flat = loss_as_function(convnet, batches[0])
    step = 1e-6
    for index in torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))[:20].tolist():
        change = torch.zeros_like(flat)
        change[index] = step * flat[index]
        slope = (loss(flat + change) - loss(flat - change)) / (2 * step)
        torch.testing.assert_close(scores[index], slope.abs(), rtol=1e-6, atol=1e-9)


def test_snip_over_batches_is_the_size_weighted_mean(convnet, batches):
    together = pm.score(convnet, "snip", data=batches)
    first, second = (pm.score(convnet, "snip", data=[batch]) for batch in batches)
    for name in together:
        torch.testing.assert_close(together[name], (12 * first[name] + 8 * second[name]) / 20)


def test_grasp_against_a_finite_difference_hessian(convnet, batches):
    scores = flatten(pm.score(convnet.double(), "grasp", data=[(batches[0][0].double(), batches[0][1])]))
    loss, flat = loss_as_function(convnet, batches[0], temperature=200.0)
    gradient = torch.func.grad(loss)
    g = gradient(flat)
    step = 1e-4 / g.norm()
    product = (gradient(flat + step * g) - gradient(flat - step * g)) / (2 * step)
    torch.testing.assert_close(scores, flat * product, rtol=1e-4, atol=1e-6 * float(scores.abs().max()))


def test_grasp_is_the_change_of_the_squared_gradient_norm(convnet, batches):
    # d/dw_i (g.g) / 2 = (Hg)_i: shrinking w_i by a small factor changes the squared norm by -2 * score_i * factor.
    scores = flatten(pm.score(convnet.double(), "grasp", data=[(batches[0][0].double(), batches[0][1])]))
    loss, flat = loss_as_function(convnet, batches[0], temperature=200.0)
    gradient = torch.func.grad(loss)
    for index in [0, 70, 200, 400]:
        change = torch.zeros_like(flat)
        change[index] = 1e-5 * flat[index]
        norms = [gradient(flat + sign * change).square().sum() for sign in (1, -1)]
        torch.testing.assert_close(scores[index], (norms[0] - norms[1]) / 4e-5, rtol=1e-3, atol=1e-12)


def test_synflow_conserves_flow_through_every_hidden_unit():
    # Without biases, the scores of the weights into a unit and out of it have the same sum (Tanaka et al., theorem 1).
    net = nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.ReLU(), nn.Conv2d(5, 6, 2, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, bias=False),
    )  # fmt: skip
    scores = pm.score(net, "synflow", input_shape=(2, 7, 7))
    first, second, third = scores["0.weight"], scores["2.weight"], scores["6.weight"]
    torch.testing.assert_close(first.sum((1, 2, 3)), second.sum((0, 2, 3)))
    torch.testing.assert_close(second.sum((1, 2, 3)), third.sum(0))


def test_synflow_of_a_linear_chain_by_hand():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        net[1].weight.copy_(torch.tensor([[-5.0, 6.0]]))
    scores = pm.score(net, "synflow", input_shape=(2,))
    assert scores["0.weight"].tolist() == [[5, 10], [18, 24]]
    assert scores["1.weight"].tolist() == [[15, 42]]


def test_synflow_does_not_overflow_where_float32_does():
    # 12 layers of gain 2000: R is about 1e39, beyond float32.
    net = nn.Sequential(*(nn.Linear(40, 40, bias=False) for _ in range(12)))
    with torch.no_grad():
        for layer in net:
            layer.weight.fill_(50.0)
    masks = pm.prune(net, "synflow", sparsity=0.9, input_shape=(40,))
    assert masks.kept == round((1 - 0.9) * masks.total)


def test_synflow_avoids_layer_collapse_where_one_shot_magnitude_does_not():
    # Its paper's axiom: at a density that leaves one weight per layer, 100 rounds never empty a layer.
    net = nn.Sequential(nn.Linear(30, 30, bias=False), nn.Linear(30, 30, bias=False), nn.Linear(30, 3, bias=False))
    with torch.no_grad():
        net[1].weight.mul_(0.01)
    synflow = pm.prune(net, "synflow", sparsity=0.99, input_shape=(30,))
    magnitude = pm.prune(net, "magnitude", sparsity=0.99)
    assert all(count.kept for count in synflow.layers())
    assert [count.kept for count in magnitude.layers()][1] == 0


def test_random_ignores_the_weights_and_is_uniform():
    net = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100))
    with torch.no_grad():
        net[1].weight.mul_(1000)
    masks = pm.prune(net, "random", sparsity=0.5, seed=0)
    # The first layer keeps a hypergeometric number: mean 5000, standard deviation 35.
    assert abs(masks.layers()[0].kept - 5000) < 4 * 36
    assert masks == pm.prune(net, "random", sparsity=0.5, seed=0)
    assert masks != pm.prune(net, "random", sparsity=0.5, seed=1)


def test_magnitude_by_hand():
    net = nn.Linear(3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-3.0, 1.0, 2.0]]))
    assert pm.prune(net, "magnitude", sparsity=1 / 3)["weight"].tolist() == [[True, False, True]]
    assert pm.prune(net, "magnitude", sparsity=1 / 3, invert=True)["weight"].tolist() == [[False, True, True]]


@pytest.mark.parametrize("method", ["snip", "grasp"])
def test_eval_mode_uses_running_statistics(convnet, batches, method):
    train = pm.score(convnet, method, data=batches)
    evaluated = pm.score(convnet, method, data=batches, bn="eval")
    assert not torch.allclose(train["stem.weight"], evaluated["stem.weight"])
