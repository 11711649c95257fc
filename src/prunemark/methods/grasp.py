"""GraSP: gradient signal preservation (Wang et al. 2020, arXiv 2002.07376)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunemark.methods.base import BatchNormMode, Method, Problem
from prunemark.models.calling import Batch


@dataclass(frozen=True, kw_only=True)
class Grasp(Method):
    """Score each weight with how much the gradient's norm would fall without it, to first order.

    s = w * (H g), g = dL/dw and H = d2L/dw2 of the loss with logits divided by `temperature`, both over the
    same batch; several batches: the mean of the batches' scores, weighted by their size. The paper's own
    score is -w * (H g), of which it prunes the largest.

    Attributes:
        rounds: 1 in the paper; more give iterative GraSP, in which only surviving weights are ranked.
        examples_per_class: how many examples of each class are drawn from a dataset.
        bn: whether BatchNorm uses the batch's statistics ("train") or its running ones ("eval").
        temperature: T > 0, 200 in the authors' program.
        keep: which scores to keep: the "largest", the "smallest" (the opposite sign: `grasp:reversed`), or those of the
            largest "magnitude" (`graspabs`), both tried by Frankle et al. 2021.
        halves: as the authors' program (alecwangcq/GraSP) computes it: each batch is cut into two halves; g is the
            sum over all halves, and H g the sum of each half's H times that g (`grasp:halves`). With examples grouped
            by class, as the program draws them, a half holds half of the classes. The program also draws the weights
            of linear layers afresh before it scores; here they are the network's own.

        over: in several rounds, the weights that g and H g are taken over: the "survivors", or "all", pruned ones at 0
            included, as the study's own code has it (`grasp:open-lth`). After ten rounds 55 to 79 % of the kept weights
            differ, after one none.

    Raises:
        ValueError: a temperature that is not positive.
    """

    examples_per_class: int = 10
    bn: BatchNormMode = "train"
    temperature: float = 200.0
    keep: Literal["largest", "smallest", "magnitude"] = "largest"
    halves: bool = False
    over: Literal["survivors", "all"] = "survivors"
    keeps_model = True
    zero_means = "unscored"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"GraSP divides logits by a temperature > 0; got {self.temperature!r}")

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores of either sign, in units of the squared gradient."""
        # The fused attention kernels have no second derivative.
        with problem.mode(self.bn), sdpa_kernel(SDPBackend.MATH):
            products = self._of_halves(problem) if self.halves else self._of_batches(problem)
        # Each product is freed as its score is made.
        return {name: self._score(weight.detach(), products.pop(name)) for name, weight in problem.weights.items()}

    def _score(self, weight: Tensor, product: Tensor) -> Tensor:
        score = weight * product
        match self.keep:
            case "largest":
                return score
            case "smallest":
                return score.neg_()
            case "magnitude":
                return score.abs_()

    def _of_batches(self, problem: Problem) -> dict[str, Tensor]:
        """The size-weighted mean of each batch's H g."""
        total: dict[str, Tensor] = {}
        for batch, share in problem.weighted_batches():
            products = self._derivative_along(problem, self._gradient(problem, batch))
            _add_(total, products, share)
        return total

    def _of_halves(self, problem: Problem) -> dict[str, Tensor]:
        """The sum of each half's H times the sum of all halves' g."""
        halves = [half for batch in problem.batches for half in problem.split(batch, 2)]
        direction: dict[str, Tensor] = {}
        total: dict[str, Tensor] = {}
        for half in halves:
            _add_(direction, self._gradients(problem, problem.batch_loss(half, temperature=self.temperature)))
        for half in halves:
            _add_(total, self._derivative_along(problem, self._gradient(problem, half), direction))
        return total

    def _gradient(self, problem: Problem, batch: Batch) -> dict[str, Tensor]:
        loss = problem.batch_loss(batch, temperature=self.temperature)
        return self._gradients(problem, loss, create_graph=True)

    def _gradients(self, problem: Problem, value: Tensor, *, create_graph: bool = False) -> dict[str, Tensor]:
        return problem.gradients(value, create_graph=create_graph, masked=self.over == "survivors")

    def _derivative_along(
        self, problem: Problem, gradient: Mapping[str, Tensor], direction: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """H v for a gradient g that still has its graph, as the gradient of g . v; v is g itself if not given."""
        dots: Sequence[Tensor] = [((direction or gradient)[name].detach() * g).sum() for name, g in gradient.items()]
        return self._gradients(problem, torch.stack(dots).sum())


def _add_(total: dict[str, Tensor], terms: dict[str, Tensor], share: float = 1.0) -> None:
    """Add each term's share to the total and free the term."""
    for name in list(terms):
        total[name] = total.get(name, 0) + share * terms.pop(name)
