"""Random pruning: the baseline that every method has to beat."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prunemark.methods.base import Method, Problem


@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Score each weight with an independent uniform random number: s ~ U(0, 1)."""

    own_precision = True
    zero_means = "score"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Draw the scores from the seed's generator, in float64 so that ties do not occur."""
        source = problem.generator("random")
        scores: dict[str, Tensor] = {}
        for name, weight in problem.weights.items():
            scores[name] = torch.rand(weight.shape, generator=source, dtype=torch.float64).to(weight.device)
            weight.data = scores[name]  # frees the weights, which do not matter here
        return scores
