"""SNIP and GraSP with their choice undone in part: which weights of a unit, or which units, is what they know?

Each function permutes a method's scores at random within every group of a layer, so that global selection keeps as many
weights in each group as the method does, but others: groups are the weights into an output unit (`..._within_outputs`),
the weights out of an input unit (`..._within_inputs`), or the weights of one kernel (`..._within_kernels`, which keeps
the counts of both).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from prunemark.methods import Grasp, Problem, Snip

Scores = dict[str, Tensor]


def snip_within_outputs(problem: Problem) -> Scores:
    return _permuted(problem, Snip(), lambda scores: scores.flatten(1))


def snip_within_inputs(problem: Problem) -> Scores:
    return _permuted(problem, Snip(), lambda scores: scores.transpose(0, 1).flatten(1))


def snip_within_kernels(problem: Problem) -> Scores:
    return _permuted(
        problem,
        Snip(),
        lambda scores: scores.flatten(2).flatten(0, 1) if scores.ndim > 2 else scores.flatten(0)[:, None],
    )


def grasp_within_outputs(problem: Problem) -> Scores:
    return _permuted(problem, Grasp(), lambda scores: scores.flatten(1))


def grasp_within_inputs(problem: Problem) -> Scores:
    return _permuted(problem, Grasp(), lambda scores: scores.transpose(0, 1).flatten(1))


def grasp_within_kernels(problem: Problem) -> Scores:
    return _permuted(
        problem,
        Grasp(),
        lambda scores: scores.flatten(2).flatten(0, 1) if scores.ndim > 2 else scores.flatten(0)[:, None],
    )


def _permuted(problem: Problem, method: Callable[[Problem], Scores], groups: Callable[[Tensor], Tensor]) -> Scores:
    """The method's scores, permuted within the rows that `groups` makes of a layer's tensor."""
    result: Scores = {}
    for name, scores in method(problem).items():
        places = groups(torch.arange(scores.numel()).view(scores.shape))
        order = torch.rand(places.shape, generator=problem.generator(f"units {name}")).argsort(dim=1)
        permuted = torch.empty_like(scores).view(-1)
        permuted[places] = scores.reshape(-1)[places.gather(1, order)]
        result[name] = permuted.view(scores.shape)
    return result
