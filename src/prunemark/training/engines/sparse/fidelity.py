"""Whether a network trains as the operations do that it was traced to."""

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.randomness import generator
from prunemark.training.engines.sparse.builder import Built, build
from prunemark.training.engines.sparse.graph import Graph, UnsupportedError
from prunemark.training.engines.sparse.kernels import new_program
from prunemark.training.engines.sparse.reading import gradients_of

_EXAMPLES = 16
# Rounding is far below, unless it decides whether a unit is open; what a trace misses is far above.
_RELATIVE = 0.01
# Of the largest gradient: what is left of one that is 0 in exact arithmetic, a bias before BatchNorm.
_ABSOLUTE = 1e-4


def require_same_training(
    graph: Graph, model: nn.Module, masks: Mapping[str, Tensor], input_shape: tuple[int, ...], kernels: str = ""
) -> None:
    """Compare gradients and running statistics of a training step of a copy of the model with those of the kernels.

    A trace sees operations. It sees neither what is not differentiated (`torch.no_grad`) nor what stays in eval mode.
    Weights and examples are drawn for the purpose, so that the answer depends on the network and its masks alone, and
    a training that is resumed gets the same.

    Args:
        graph: the operations that the model was traced to.
        model: is left as it is.
        masks: parameter name -> boolean tensor of its shape, True = kept.
        input_shape: of one example.
        kernels: an instruction set instead of the best of this processor.

    Raises:
        UnsupportedError: the model trains otherwise; the message says where.
    """
    try:
        twin = copy.deepcopy(model)
    except Exception as error:  # whatever a user's module raises when it is copied
        raise UnsupportedError(f"it cannot be copied: {error}") from error
    twin.train()
    _draw_(twin, masks)
    built = build(graph, twin, masks, new_program(_EXAMPLES, kernels))
    for name in built.normalisations:
        if not twin.get_submodule(name).training:
            raise UnsupportedError(f"{name} stays in eval mode while the model trains")
    # An input of a ReLU next to 0 may go either way, which is much in a small network; not in three batches in a row.
    found = ""
    for batch in range(3):
        found = _difference(built, twin, masks, graph.shapes[graph.logits][0], input_shape, batch)
        if not found:
            return
    raise UnsupportedError(found)


def _draw_(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Draw all parameters: as large as signals keep their size under the masks, and none a special value."""
    source = generator(0, "fidelity")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=source)
            if parameter.ndim > 1:
                mask = masks.get(name, torch.ones(parameter.shape, dtype=torch.bool))
                drawn *= mask * (2 / mask.flatten(1).sum(1).clamp(min=1)).sqrt().view(-1, *[1] * (parameter.ndim - 1))
            elif name.endswith("weight"):
                drawn = drawn.abs() + 0.5
            parameter.copy_(drawn)


def _difference(
    built: Built, twin: nn.Module, masks: Mapping[str, Tensor], classes: int, input_shape: tuple[int, ...], batch: int
) -> str:
    """What differs in one training step, in words; empty if nothing does."""
    inputs = torch.randn(_EXAMPLES, *input_shape, generator=generator(0, "fidelity", batch))
    targets = torch.arange(_EXAMPLES) % classes
    parameters = {name: each for name, each in twin.named_parameters() if each.requires_grad}
    before = {name: _statistics(twin, name) for name in built.normalisations}
    with torch.inference_mode(False), torch.enable_grad():
        loss = F.cross_entropy(twin(inputs.clone()), targets)
        if not loss.requires_grad:
            return "its logits get no gradient in training"
        # None where the loss does not depend on a parameter, which torch's types leave out.
        found = cast(Sequence[Tensor | None], torch.autograd.grad(loss, list(parameters.values()), allow_unused=True))
    expected = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    got = gradients_of(built, twin, inputs, targets)
    if missing := sorted(got.keys() - expected.keys()):
        return f"{missing[0]} gets no gradient in training"
    if beyond := sorted(expected.keys() - got.keys()):
        return f"{beyond[0]} gets a gradient in training, but is in no layer"
    largest = max(gradient.norm().item() for gradient in expected.values())
    for name, gradient in got.items():
        right = expected[name] * masks[name] if name in masks else expected[name]
        if not (gradient - right).norm() <= _RELATIVE * right.norm() + _ABSOLUTE * largest:
            return f"the gradient of {name} is not that of the operations that the model was traced to"
    for name, number in built.normalisations.items():
        read = [each.clone() for each in before[name]]
        built.program.read_statistics(number, *read)
        for start, now, right in zip(before[name], read, _statistics(twin, name), strict=True):
            moved = now != start  # units that are left out keep theirs
            if not torch.allclose(now[moved], right[moved], rtol=_RELATIVE, atol=_ABSOLUTE):
                return f"{name} averages its statistics otherwise"
    return ""


def _statistics(model: nn.Module, name: str) -> list[Tensor]:
    module = model.get_submodule(name)
    return [each.detach().clone() for each in (module.running_mean, module.running_var) if isinstance(each, Tensor)]
