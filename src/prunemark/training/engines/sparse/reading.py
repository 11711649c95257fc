"""What a program of kernels holds, as tensors of the network that it trains."""

import torch
from torch import Tensor, nn

from prunemark.training.engines.sparse.builder import Built, Stored


def as_images(inputs: Tensor) -> Tensor:
    """(N, C, H, W), whatever an example's dimensions."""
    return inputs if inputs.ndim == 4 else inputs.reshape(len(inputs), 1, 1, -1)


def read_parameter(built: Built, stored: Stored, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Value, momentum and gradient of a parameter of that many elements, where the program holds it."""
    count = size if stored.positions is None else len(stored.positions)
    value, velocity, gradient = (torch.empty(count) for _ in range(3))
    built.program.read_parameter(stored.id, value, velocity, gradient)
    return value, velocity, gradient


def scatter_(into: Tensor, stored: Stored, values: Tensor) -> None:
    """Write values to their positions of a tensor, and 0 elsewhere."""
    if stored.positions is None:
        into.copy_(values.view(into.shape))
        return
    flat = torch.zeros(into.numel())
    flat[stored.positions] = values
    into.copy_(flat.view(into.shape))


def gradients_of(built: Built, model: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Gradients of the mean loss of a batch by the program, 0 where pruned, by the names of the model's parameters."""
    built.program.gradients(as_images(inputs), targets)
    gradients: dict[str, Tensor] = {}
    for name, stored in built.parameters.items():
        parameter = model.get_parameter(name)
        gradients[name] = torch.zeros_like(parameter, memory_format=torch.contiguous_format).detach()
        scatter_(gradients[name], stored, read_parameter(built, stored, parameter.numel())[2])
    return gradients
