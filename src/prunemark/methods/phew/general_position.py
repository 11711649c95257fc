"""A model made ready to be probed: layers without weights, and numbers in general position between them."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from prunemark.models.prunable import module_of, prunable
from prunemark.randomness import generator

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def prepare_(model: nn.Module) -> dict[Layer, str]:
    """Move a model to float64 on the CPU, free its layers' weights and set all other numbers; returns its layers.

    Returns:
        The linear maps and convolutions with a prunable weight -> the weight's name.

    Raises:
        ValueError: a prunable weight is that of something else.
    """
    names = _layers(model)
    # What layers compute is replaced, so that their weights need no more than a shape.
    shapes = {layer: layer.weight.shape for layer in names}
    for layer in shapes:
        layer.weight.data = torch.empty(0, device=layer.weight.device)
    model.to("cpu", torch.float64).eval()
    _spread_(model)
    for layer, shape in shapes.items():
        layer.weight.data = torch.ones((), dtype=torch.float64).expand(shape)
    return names


def fresh_numbers(shape: tuple[int, ...], purpose: int | str, size: float) -> Tensor:
    """Numbers in [size, 2 size)."""
    source = generator(0, "wiring", purpose)
    return size * (1 + torch.rand(shape, generator=source, dtype=torch.float64))


def _layers(model: nn.Module) -> dict[Layer, str]:
    """The linear maps and convolutions with a prunable weight -> the weight's name."""
    weights = prunable(model)
    for name in weights:
        module, _ = module_of(model, name)
        if not isinstance(module, Layer):
            kind = type(module).__name__
            raise ValueError(
                "paths are followed through linear maps and convolutions (not transposed), pruned or not; "
                f"{name} is of {kind}"
            )
    names = {id(weight): name for name, weight in weights.items()}
    return {
        module: names[id(module.weight)]
        for module in model.modules()
        if isinstance(module, Layer) and id(module.weight) in names
    }


def _spread_(model: nn.Module) -> None:
    """Give the operations between the layers numbers in general position; frozen parameters keep theirs."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                source = generator(0, "wiring", f"parameter {name}")
                parameter.copy_(0.25 + 0.5 * torch.rand(parameter.shape, generator=source, dtype=torch.float64))
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                if module.track_running_stats:
                    module.reset_running_stats()
                if module.affine and module.weight.requires_grad:
                    module.weight.fill_(1)
                    module.bias.zero_()
