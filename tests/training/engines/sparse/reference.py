"""The dense masked network in float64, which the kernels are compared with."""

import copy
import math

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from prunemark.models.prunable import prunable
from prunemark.randomness import generator
from prunemark.recipes import Recipe
from prunemark.training.engines.sparse import SparseEngine


def random_masks(model, *, density, seed=0):
    source = generator(seed, "test masks")
    return {name: torch.rand(w.shape, generator=source) < density for name, w in prunable(model).items()}


def apply_(model, masks):
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def draw_(model, *, seed=0):
    """Draw all parameters, biases and BatchNorm's too, so that none is a special value."""
    source = generator(seed, "test weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.copy_(torch.randn(parameter.shape, generator=source) * (2 / fan_in) ** 0.5)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.abs_().add_(0.5)


def batch(examples, shape, *, classes=10, seed=0):
    source = generator(seed, "test batch")
    return (
        torch.randn(examples, *shape, generator=source),
        torch.randint(0, classes, (examples,), generator=source),
    )


def engine(model, masks, *, batch_size=16, kernels="", start=None, **recipe):
    recipe = Recipe(epochs=1, batch_size=batch_size, **recipe)
    return SparseEngine(model, recipe, masks, start, torch.device("cpu"), kernels=kernels)


class _Margin(TorchDispatchMode):
    """The smallest distance from 0 of anything that a ReLU is applied to: nearer ones might flip in float32."""

    def __init__(self):
        super().__init__()
        self.smallest = math.inf

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.relu.default, torch.ops.aten.relu_.default):
            # What is 0 in exact arithmetic is a channel without inputs: it is 0 in float32, too.
            distances = args[0].detach().abs()
            distances = distances[distances > 1e-14]
            self.smallest = min(self.smallest, distances.min().item()) if distances.numel() else self.smallest
        return func(*args, **(kwargs or {}))


def dense(model, masks, inputs, targets):
    """Loss and gradients of the masked network by torch, and the smallest input of a ReLU."""
    model = copy.deepcopy(model).to(inputs.dtype).train()
    with _Margin() as margin:
        loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    gradients = {name: g * masks[name] if name in masks else g for name, g in gradients.items()}
    return loss.item(), gradients, margin.smallest


def steady_batch(model, masks, examples, shape):
    """A batch on which no ReLU flips in float32, with the loss and gradients in float64."""
    for seed in range(60):
        inputs, targets = batch(examples, shape, seed=seed)
        loss, gradients, margin = dense(model, masks, inputs.double(), targets)
        if margin > 3e-6:
            return inputs, targets, loss, gradients
    raise AssertionError("every batch has an input of a ReLU next to 0")


def assert_gradients_agree(model, masks, shape, *, examples=16, kernels="", cancelled=()):
    """Every gradient within 1e-5 of its norm, or where torch's own float32 is not, within ten times its error.

    Torch is not where a gradient is a small difference of large numbers. Those of `cancelled` are 0 in exact
    arithmetic, and are compared with the largest gradient.
    """
    apply_(model, masks)
    inputs, targets, loss, expected = steady_batch(model, masks, examples, shape)
    _, single, _ = dense(model, masks, inputs, targets)
    trained = engine(model, masks, batch_size=examples, kernels=kernels)
    got = trained.gradients(inputs, targets)
    assert got.keys() == expected.keys()
    scale = max(g.norm().item() for g in expected.values())
    for name, gradient in expected.items():
        size = scale if name in cancelled else gradient.norm().item()
        allowed = max(1e-5 * size, 10 * (single[name] - gradient).norm().item(), 2e-6 * scale)
        assert (got[name] - gradient).norm() <= allowed, name
    assert abs(trained.built_for(shape).program.gradients(inputs, targets) - loss) <= 3e-6 * abs(loss)
