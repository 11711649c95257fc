"""SynFlow: iterative synaptic flow pruning (Tanaka et al. 2020, arXiv 2006.05467)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from prunemark.methods import METHODS
from prunemark.methods.base import BatchNormMode, Method, Problem

_PIECE = 65_536  # weights


@dataclass(frozen=True, kw_only=True)
class SynFlow(Method):
    """Score each weight with the synaptic flow through it.

    s = |w * dR/dw|, R = the sum of the outputs for one all-ones input, on the network with every parameter
    (biases and normalisation too, buffers not) replaced by its absolute value, in eval mode and float64.
    Needs no data, but the shape of an example. In every layer without a bias behind it the scores into a
    unit add up to those out of it (the paper's conservation law). Hardly any flow passes a softmax: the queries and
    keys of attention get scores near 0 and are pruned first.

    Rounds before the last prune floor(sparsity * total) weights, as the authors' program does, not the nearest number:
    one weight more or less early on decides otherwise about others later, and so the masks are the program's own.

    Deviations: the authors' program computes in float32, which overflows on deep networks.

    Attributes:
        rounds: 100 in the paper; 1 gives one-shot SynFlow.
        bn: whether BatchNorm uses its running statistics ("eval") or those of the one input ("train", a switch of the
            authors' program).
        dtype: "float64", or "float32" as in the authors' program.
        buffers: take the absolute values of buffers (running means) too, as the authors' program does.
        keeps_ceiling: rounds before the last keep the ceiling of density * total; False keeps the nearest number.
    """

    rounds: int = METHODS["synflow"].rounds
    bn: BatchNormMode = "eval"
    dtype: Literal["float64", "float32"] = "float64"
    buffers: bool = False
    keeps_ceiling: bool = True
    reuses_weights = True  # their absolute values, which the next round would only compute again
    keeps_model = True
    own_precision = True
    zero_means = "unscored"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in float64.

        Raises:
            ValueError: the shape of an example is not known; the model does not take floats of that shape, or
                returns something other than one tensor.
        """
        input_shape = problem.shape_of_example("SynFlow feeds an all-ones input")
        dtype = torch.float64 if self.dtype == "float64" else torch.float32
        model = problem.model
        if not problem.continued:
            model.to(dtype)
            with torch.no_grad():
                for tensor in (*model.parameters(), *(model.buffers() if self.buffers else ())):
                    if tensor.is_floating_point():
                        tensor.abs_()
        device = next(model.parameters()).device
        ones = torch.ones(1, *input_shape, dtype=dtype, device=device)
        # Pruned weights are 0, and so are their scores, whatever their gradients. Each gradient is freed before the
        # next score is made: in float64 these are the largest things around.
        with problem.mode(self.bn):
            gradients = problem.gradients(self._outputs(problem, model, ones).sum(), masked=False)
        return {name: _flow(weight.detach(), gradients.pop(name)) for name, weight in problem.weights.items()}

    @staticmethod
    def _outputs(problem: Problem, model: nn.Module, ones: Tensor) -> Tensor:
        try:
            outputs = problem.forward(model, ones)
        except Exception as error:
            raise ValueError(
                f"SynFlow feeds {type(model).__name__} ones of shape {tuple(ones.shape)} and dtype {ones.dtype}, which "
                "it does not take; where inputs are not one tensor of floats (tokens, say), pass "
                f"forward=(model, ones) -> logits, which enters behind the embedding, with its input_shape=: {error}"
            ) from error
        if not isinstance(outputs, Tensor):
            raise ValueError(
                f"SynFlow adds up outputs that are one tensor; the model returns a {type(outputs).__name__}: pass "
                "forward=(model, ones) -> logits"
            )
        return outputs


def _flow(weight: Tensor, gradient: Tensor) -> Tensor:
    """|w * dR/dw|, in the place of the gradient, in pieces that the processor's cache holds between the operations."""
    if weight.numel() <= _PIECE or weight.stride() != gradient.stride():
        return gradient.mul_(weight).abs_()
    axes = sorted(range(weight.ndim), key=lambda axis: (-weight.stride(axis), axis))
    pieces = (tensor.permute(axes).reshape(-1).split(_PIECE) for tensor in (weight, gradient))
    for w, g in zip(*pieces, strict=True):
        g.mul_(w).abs_()
    return gradient
