"""Weighted sums of accuracies: every number that a claim is judged by is one of these."""

import math
from collections.abc import Iterable, Mapping, Sequence

from prunemark.stats.cells import Cell, Experiment
from prunemark.stats.effects import Effect, Standard, measure

Contrast = Mapping[Cell, float]
"""Cell -> weight. Its value in a replicate is the weighted sum of the cells' accuracies there."""


def difference(left: Cell, right: Cell) -> Contrast:
    """left - right."""
    return {left: 1.0, right: -1.0}


def weighted(parts: Iterable[tuple[float, Contrast]]) -> Contrast:
    """The sum of contrasts, each times a factor."""
    total: dict[Cell, float] = {}
    for factor, part in parts:
        for cell, weight in part.items():
            total[cell] = total.get(cell, 0.0) + factor * weight
    return total


def mean(contrasts: Sequence[Contrast]) -> Contrast:
    """The mean of contrasts, taken within each replicate."""
    return weighted((1 / len(contrasts), one) for one in contrasts)


def effect(experiment: Experiment, contrast: Contrast, standard: Standard) -> Effect:
    """The mean of a contrast over the replicates that all of its cells have."""
    accuracies = [experiment.accuracies[cell] for cell in contrast]
    known = set[int]().union(*accuracies)
    common = known.intersection(*accuracies)
    values = {
        replicate: _sum([weight * experiment.accuracies[cell][replicate] for cell, weight in contrast.items()])
        for replicate in common
    }
    return measure(
        values, standard, squared_weights=_squared_weights(experiment, contrast), absent=len(known) - len(common)
    )


def _sum(terms: Sequence[float]) -> float:
    """The sum; NaN where a term is, and infinite where one is, whatever its sign: of both signs there is no sum."""
    if any(map(math.isinf, terms)):
        return math.nan if any(map(math.isnan, terms)) else math.inf
    return math.fsum(terms)


def vacuous(experiment: Experiment, contrast: Contrast) -> bool:
    """True if both sides are the very same trainings, so that there is nothing to see."""
    return _squared_weights(experiment, contrast) < 1e-12


def left_trainings(experiment: Experiment, contrast: Contrast) -> frozenset[tuple[str, ...]]:
    """The trainings on the left (of positive weight) by replicate, or the cells where trainings are not known."""
    left = [cell for cell, weight in contrast.items() if weight > 0]
    found: set[tuple[str, ...]] = set()
    for cell in left:
        trainings = experiment.trainings.get(cell)
        found.add(tuple(sorted(trainings.values())) if trainings else (repr(cell),))
    return frozenset(found)


def _squared_weights(experiment: Experiment, contrast: Contrast) -> float:
    """The sum of squared weights, where cells that share a training have one accuracy: the largest over replicates."""
    largest = 0.0
    replicates = set[int]().union(*(experiment.accuracies[cell] for cell in contrast))
    for replicate in replicates:
        weights: dict[object, float] = {}
        for cell, weight in contrast.items():
            training = experiment.trainings.get(cell, {}).get(replicate)
            identity: object = cell if training is None else training
            weights[identity] = weights.get(identity, 0.0) + weight
        largest = max(largest, math.fsum(weight**2 for weight in weights.values()))
    return largest
