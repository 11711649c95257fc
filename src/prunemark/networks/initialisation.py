"""Initial distributions of a network's weights. Imports torch only to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from prunemark.registry import unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

INITS = ("he-normal", "he-uniform", "orthogonal", "normal-0.1", "signed-constant")
BATCHNORMS = ("uniform", "ones")
BIASES = ("uniform", "zeros")


@runtime_checkable
class DrawsItself(Protocol):
    """A module with parameters of its own that knows their distribution: learned positions, for example."""

    def draw_(self, generator: torch.Generator) -> None:
        """Draw the module's own parameters anew, in place, with float32 numbers made on the CPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """The distributions that a network's parameters are drawn from.

    With f the fan-in of a convolution or linear map (inputs per output unit) and s = sqrt(2 / f):

    - `init`, weights of convolutions and linear maps: "he-normal" N(0, s^2); "he-uniform"
      U(-sqrt(3) s, sqrt(3) s), of the same variance; "orthogonal" with gain sqrt(2) over the weights as a matrix of
      one row an output; "normal-0.1" N(0, 0.1^2) whatever the fan-in; "signed-constant" +s or -s with equal
      probability.
    - `biases`, their biases: "uniform" U(-1/sqrt(f), 1/sqrt(f)), as PyTorch draws them; or "zeros".
    - `batchnorm`, BatchNorm weights: "uniform" U(0, 1) or "ones"; biases 0, running statistics as new.
    - LayerNorm: weights 1, biases 0.
    - attention: each of the query, key, value and output projections as a linear map; their biases 0, as PyTorch
      sets them.
    - a module with a method `draw_`, see `DrawsItself`: as it says.

    Raises:
        ValueError: unknown `init`, `batchnorm` or `biases`.

    References: He et al. 2015, arXiv 1502.01852; Saxe et al. 2014, arXiv 1312.6120 (orthogonal); Zhou et al. 2019,
    arXiv 1905.01067 (signed constant); Frankle et al. 2021, arXiv 2009.08576 (the defaults).
    """

    init: str = "he-normal"
    batchnorm: str = "uniform"
    biases: str = "uniform"

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise ValueError(unknown("init", self.init, INITS))
        if self.batchnorm not in BATCHNORMS:
            raise ValueError(unknown("batchnorm", self.batchnorm, BATCHNORMS))
        if self.biases not in BIASES:
            raise ValueError(unknown("biases", self.biases, BIASES))

    def draw_(self, model: nn.Module, generator: torch.Generator) -> None:
        """Draw every parameter of the model anew, in the order of its modules, and reset BatchNorm statistics.

        Draws in float32 on the CPU, whatever the model's device and dtype.

        Raises:
            TypeError: a module of the model has parameters that no rule covers.
        """
        import torch
        from torch import nn

        with torch.no_grad():
            for name, module in model.named_modules():
                if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
                    module.weight.copy_(self._weight(module.weight.shape, generator))
                    if module.bias is not None:  # torch's stubs
                        self._draw_bias_(module, generator)
                elif isinstance(module, nn.MultiheadAttention):
                    self._draw_attention_(module, generator, name)
                elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                    self._draw_batchnorm_(module, generator)
                elif isinstance(module, nn.LayerNorm):
                    module.reset_parameters()
                elif isinstance(module, DrawsItself):
                    module.draw_(generator)
                elif any(True for _ in module.parameters(recurse=False)):
                    raise TypeError(f"no rule to initialise {name or 'the model'}, a {type(module).__name__}")

    def _draw_bias_(self, module: nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear, generator: torch.Generator) -> None:
        import torch
        from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

        assert module.bias is not None
        attends = isinstance(module, NonDynamicallyQuantizableLinear)  # the output projection of attention
        if attends or self.biases == "zeros":
            module.bias.zero_()
            return
        bound = 1 / math.sqrt(module.weight[0].numel())
        module.bias.copy_(torch.empty(module.bias.shape).uniform_(-bound, bound, generator=generator))

    def _draw_batchnorm_(
        self, module: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, generator: torch.Generator
    ) -> None:
        import torch

        module.reset_running_stats()
        if module.affine:
            module.bias.zero_()
            module.weight.fill_(1)
            if self.batchnorm == "uniform":
                module.weight.copy_(torch.empty(module.weight.shape).uniform_(0, 1, generator=generator))

    def _draw_attention_(self, module: nn.MultiheadAttention, generator: torch.Generator, name: str) -> None:
        if module.in_proj_weight is None or module.bias_k is not None:  # pyright: ignore[reportUnnecessaryComparison]
            raise TypeError(f"no rule to initialise {name}, attention with separate projections or extra biases")
        for projection in module.in_proj_weight.chunk(3):
            projection.copy_(self._weight(projection.shape, generator))
        if module.in_proj_bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            module.in_proj_bias.zero_()

    def _weight(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        import torch

        weight = torch.empty(shape)
        he = math.sqrt(2 / shape[1:].numel())
        match self.init:
            case "he-normal":
                return weight.normal_(0, he, generator=generator)
            case "he-uniform":
                return weight.uniform_(-math.sqrt(3) * he, math.sqrt(3) * he, generator=generator)
            case "orthogonal":
                return torch.nn.init.orthogonal_(weight, gain=math.sqrt(2), generator=generator)
            case "normal-0.1":
                return weight.normal_(0, 0.1, generator=generator)
            case _:
                return he * (2.0 * torch.randint(2, shape, generator=generator) - 1)
