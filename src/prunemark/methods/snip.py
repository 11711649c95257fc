"""SNIP: single-shot network pruning based on connection sensitivity (Lee et al. 2019, arXiv 1810.02340)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunemark.methods.base import BatchNormMode, Method, Problem
from prunemark.models.calling import Batch


@dataclass(frozen=True, kw_only=True)
class Snip(Method):
    """Score each weight with how much the loss would change without it, to first order.

    s = |w * g|, g = dL/dw. Over several batches: the mean of the batches' |w * g|, weighted by their size.

    Deviations: the paper divides the scores by their sum, which changes no ranking.

    Attributes:
        rounds: 1 in the paper; more give iterative SNIP, in which only surviving weights are ranked (`iter-snip`: 60,
            as in the examples of naver/force; see `Force`).
        examples_per_class: how many examples of each class are drawn from a dataset.
        bn: whether BatchNorm uses the batch's statistics ("train") or its running ones ("eval").
    """

    examples_per_class: int = 10
    bn: BatchNormMode = "train"
    keeps_model = True
    zero_means = "unscored"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in the unit of the loss."""
        scores: dict[str, Tensor] = {}
        with problem.mode(self.bn):
            for batch, share in problem.weighted_batches():
                for name, sensitivity in _sensitivities(problem, batch):
                    part = sensitivity.mul_(share)
                    scores[name] = scores[name].add_(part) if name in scores else part
        return scores


@dataclass(frozen=True, kw_only=True)
class SnipMilAd(Method):
    """SNIP as the program mil-ad/snip computes it.

    What it changes: the scores are |w * g| of the first batch only, and of *other* weights, which it draws
    afresh (Xavier normal) before scoring, though the network is then trained from its own.

    Attributes:
        redraw: False scores the network's own weights. The other options are those of `Snip`.
    """

    examples_per_class: int = 10
    bn: BatchNormMode = "train"
    redraw: bool = True
    zero_means = "unscored"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores >= 0, in the unit of the loss."""
        if self.redraw:
            source = problem.generator("mil-ad")
            with torch.no_grad():
                for name, weight in problem.weights.items():
                    fresh = nn.init.xavier_normal_(torch.empty(weight.shape), generator=source)
                    weight.copy_(fresh * problem.masks[name].cpu())
        with problem.mode(self.bn):
            return dict(_sensitivities(problem, problem.batches[0]))


@dataclass(frozen=True, kw_only=True)
class SnipOfficial(Method):
    """SNIP as the authors' program namhoonlee/snip-public computes it.

    What it changes: one ordinary batch, whatever its classes, instead of a balanced sample; BatchNorm in its
    inference setting; scores divided by their sum.

    Attributes:
        rounds: 1 in the program.
        ordinary_batch: how many examples are drawn from a dataset (100); of given batches the first is used.
        bn: whether BatchNorm uses its running statistics ("eval", as the program) or the batch's ("train").

    Raises:
        ValueError: a batch without examples.
    """

    ordinary_batch: int = 100
    bn: BatchNormMode = "eval"
    zero_means = "unscored"

    def __post_init__(self) -> None:
        if self.ordinary_batch < 1:
            raise ValueError(f"ordinary_batch must be at least 1, not {self.ordinary_batch}")

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores in [0, 1] that add up to 1."""
        with problem.mode(self.bn):
            return _shares_(dict(_sensitivities(problem, problem.batches[0])))


@dataclass(frozen=True, kw_only=True)
class SnipSynapticFlow(Method):
    """SNIP as the program ganguli-lab/Synaptic-Flow computes it.

    What it changes: the gradients of all batches are added up before the absolute value is taken, the network is
    in eval mode, and in several rounds pruned weights keep scores, so that later rounds can revive them. Rounds before
    the last prune floor(sparsity * total) weights. (Of weights that tie at the threshold the program prunes all, and so
    may prune too many; here the count is exact in this variant too.)

    Attributes:
        rounds: 1 in the program's default.
        examples_per_class: how many examples of each class are drawn from a dataset.
        bn: the program's own switch; "eval" is its default.
    """

    examples_per_class: int = 10
    bn: BatchNormMode = "eval"
    revives = True
    keeps_ceiling = True
    zero_means = "unscored"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores in [0, 1] that add up to 1; of pruned weights too."""
        total: dict[str, Tensor] = {}
        with problem.mode(self.bn):
            for batch in problem.batches:
                gradients = problem.gradients(problem.batch_loss(batch), masked=False)
                for name in problem.weights:
                    total[name] = total.get(name, 0) + gradients.pop(name)
        return _shares_({name: total[name].mul_(initial).abs_() for name, initial in problem.initial.items()})


def _sensitivities(problem: Problem, batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """|w * g| of each layer, whose gradient is freed as it is made."""
    gradients = problem.gradients(problem.batch_loss(batch))
    for name, weight in problem.weights.items():
        yield name, (weight.detach() * gradients.pop(name)).abs_()


def _shares_(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each score's share of their sum, in its place; zeros where all of them are zero, as in a network cut through."""
    total = torch.stack([score.sum() for score in scores.values()]).sum()
    return {name: score.div_(total.clamp_min(torch.finfo(score.dtype).tiny)) for name, score in scores.items()}
