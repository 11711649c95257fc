"""Questions to an experiment: a claim about one method or benchmark, with a contrast at each sparsity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunemark.stats.cells import Cell, Experiment
from prunemark.stats.claims import CLAIMS, Claim
from prunemark.stats.contrasts import Contrast, difference, mean
from prunemark.stats.predicates import Predicate


@dataclass(frozen=True, kw_only=True)
class Question:
    """One claim about one subject: sparsity -> contrast, left - right in percentage points."""

    claim: str
    subject: str
    predicate: Predicate
    contrasts: Mapping[float, Contrast]


def questions(
    experiment: Experiment, *, methods: Mapping[str, str] | None = None, steps_per_epoch: float | None = None
) -> list[Question]:
    """The questions that the experiment has both sides of, in the order of CLAIMS; C0 is put together from C3 and C6a.

    C7a is the least-squares slope of accuracy over log2(1 + step), times the distance from the first step to the
    last: the gain that the trend makes between them. C7b is the mean over the steps of a sparsity.

    Args:
        experiment: whose cells are compared.
        methods: label -> the method's name; a label missing in it is a name.
        steps_per_epoch: needed where one method is pruned both at epochs and at iterations.
    """
    found: list[Question] = []
    for name, claim in CLAIMS.items():
        if claim.kind == "conclusion":
            continue
        for subject, cells in _subjects(experiment, claim, methods or {}).items():
            contrasts = {
                sparsity: made
                for sparsity, here in _by_sparsity(cells).items()
                if (made := _contrast(experiment, claim, here, steps_per_epoch)) is not None
            }
            if contrasts:
                found.append(Question(claim=name, subject=subject, predicate=claim.predicate, contrasts=contrasts))
    return found


def _subjects(experiment: Experiment, claim: Claim, methods: Mapping[str, str]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in experiment.accuracies:
        if claim.left(cell, methods.get(cell.method, cell.method)):
            found.setdefault(cell.benchmark or cell.method, []).append(cell)
    return dict(sorted(found.items()))


def _by_sparsity(cells: Sequence[Cell]) -> dict[float, list[Cell]]:
    found: dict[float, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.sparsity):
        found.setdefault(cell.sparsity, []).append(cell)
    return found


def _contrast(
    experiment: Experiment, claim: Claim, cells: Sequence[Cell], steps_per_epoch: float | None
) -> Contrast | None:
    pairs: list[tuple[Cell, Cell]] = []
    for left in cells:
        right = claim.right(experiment, left)
        if right is not None and right in experiment.accuracies:
            pairs.append((left, right))
    if not pairs:
        return None
    if claim.kind == "trend":
        return _trend([pairs[0][1], *(left for left, _ in pairs)], steps_per_epoch)
    return mean([difference(left, right) for left, right in pairs])


def _trend(cells: Sequence[Cell], steps_per_epoch: float | None) -> Contrast | None:
    """The gain of the least-squares line over log2(1 + step) from the first step to the last."""
    steps = [cell.step for cell in cells]
    units = {step.unit for step in steps if step and step.count}
    if len(units) > 1 and steps_per_epoch is None:
        return None
    scale = {"ep": 1.0, "it": 1.0} if steps_per_epoch is None else {"ep": steps_per_epoch, "it": 1.0}
    at = [math.log2(1 + step.count * scale[step.unit]) if step else 0.0 for step in steps]
    middle = math.fsum(at) / len(at)
    spread = math.fsum((x - middle) ** 2 for x in at)
    reach = max(at) - min(at)
    return {cell: reach * (x - middle) / spread for cell, x in zip(cells, at, strict=True)}
