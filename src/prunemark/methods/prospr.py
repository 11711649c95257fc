"""ProsPr: prospect pruning with meta-gradients (Alizadeh et al. 2022, arXiv 2202.08132)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunemark.methods.base import BatchNormMode, Method, Problem
from prunemark.models.calling import Batch


@dataclass(frozen=True, kw_only=True)
class ProsPr(Method):
    """Score each weight with how much the loss after M steps of training would change without it, to first order.

    s = |dL_M/dc| at c = 1, where w_0 = c * w, w_{i+1} = w_i - lr * dL_i/dw_i for i = 0 .. M - 1, L_i is the loss of
    batch i, and the derivative goes through all M steps: s = |w * dL_M/dw_0|. The steps train every parameter,
    biases and normalisation included. Batches are used in turn, starting over when they run out; with M = 0 this is
    SNIP of the first batch. Of a subnetwork, pruned weights stay 0 in every step.

    Deviations: the authors' program (mil-ad/prospr) detaches the momentum buffer of the first step from the graph,
    so that with momentum its meta-gradient misses the first gradient; here it does not. The program draws batches of
    128 examples; the 10 examples of each class drawn from a dataset here are one batch, used in every step, as by the
    program's command line unless it says `--new-data-in-inner`; the paper's new data in each step are `new_data`.

    Attributes:
        rounds: 1 in the paper.
        examples_per_class: how many examples of each class are drawn from a dataset.
        bn: whether BatchNorm uses the batch's statistics ("train") or its running ones ("eval").
        steps: M >= 0, 3 in the program.
        lr: learning rate of the steps, 0.1 in the program; its README shows 0.5 [V].
        momentum: in [0, 1), 0 in the program; its README shows 0.9 [V].
        first_order: leave out the derivatives of the steps' gradients: s = |w * dL_M/dw_M|, the paper's approximation
            for large networks.
        new_data: cut the examples into at least M + 1 batches, so that no step sees the same ones again.

    Raises:
        ValueError: fewer than 0 steps, a learning rate that is not positive, a momentum outside [0, 1).
    """

    examples_per_class: int = 10
    bn: BatchNormMode = "train"
    steps: int = 3
    lr: float = 0.1
    momentum: float = 0.0
    first_order: bool = False
    new_data: bool = False
    zero_means = "unscored"

    def __post_init__(self) -> None:
        if self.steps < 0 or self.lr <= 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                "ProsPr needs steps >= 0, lr > 0 and momentum in [0, 1); "
                f"got steps={self.steps!r}, lr={self.lr!r}, momentum={self.momentum!r}"
            )

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in the unit of the loss."""
        # The fused attention kernels have no second derivative.
        with problem.mode(self.bn), sdpa_kernel(SDPBackend.MATH):
            gradients = problem.gradients(self._loss_after_steps(problem))
        return {name: (weight.detach() * gradients.pop(name)).abs_() for name, weight in problem.weights.items()}

    def _loss_after_steps(self, problem: Problem) -> Tensor:
        """L_M, a function of the weights w_0; of the steps nothing but its graph is held."""
        prunable = {id(weight) for weight in problem.weights.values()}
        others = {name: p for name, p in problem.model.named_parameters() if id(p) not in prunable}
        pruned = {layer.name for layer in problem.masks.layers() if layer.kept < layer.total}
        values: dict[str, Tensor] = {**problem.weights, **others}
        buffers: dict[str, Tensor] = {}
        batches = self._batches(problem)
        for step in range(self.steps):
            loss = problem.batch_loss(batches[step % len(batches)], parameters=values)
            gradients = list(
                torch.autograd.grad(
                    loss, list(values.values()), create_graph=not self.first_order, materialize_grads=True
                )
            )
            for name in reversed(list(values)):
                gradient = gradients.pop()
                if name in pruned:
                    gradient = gradient * problem.masks[name]
                if self.momentum:
                    gradient = self.momentum * buffers[name] + gradient if step else gradient
                    buffers[name] = gradient
                values[name] = values[name] - self.lr * gradient
        return problem.batch_loss(batches[self.steps % len(batches)], parameters=values)

    def _batches(self, problem: Problem) -> Sequence[Batch]:
        if not self.new_data:
            return problem.batches
        parts = math.ceil((self.steps + 1) / len(problem.batches))
        return [piece for batch in problem.batches for piece in problem.split(batch, parts)]
