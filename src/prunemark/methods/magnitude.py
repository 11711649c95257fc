"""Magnitude pruning (Han et al. 2015, arXiv 1506.02626)."""

from dataclasses import dataclass

from torch import Tensor

from prunemark.methods.base import Method, Problem


@dataclass(frozen=True, kw_only=True)
class Magnitude(Method):
    """Score each weight with its absolute value: s = |w|, compared over the whole network."""

    own_precision = True
    zero_means = "score"

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """|w|."""
        return {name: weight.detach().abs() for name, weight in problem.weights.items()}
