"""One method against others of the same study: paired differences, as in claims, but of no claim of the paper."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prunemark.stats.cells import Cell, experiments
from prunemark.stats.conditions import Conditions, conditions
from prunemark.stats.contrasts import Contrast, difference
from prunemark.stats.evidence import Evidence
from prunemark.stats.findings import Finding
from prunemark.stats.judging import Subject
from prunemark.terms.ablations import UNMODIFIED

if TYPE_CHECKING:
    import pandas as pd

RIVAL = "rival"
"""In place of a claim: one method against another."""


def rivals(results: "pd.DataFrame", subject: Subject, method: str, others: Sequence[str]) -> list[Finding]:
    """Method minus each other one, pruned at the same step, by the mean over a range's sparsities and its interval.

    Each is judged by itself, as "beats": what is written about one of many comparisons errs as often as each of them.
    Cells with both sides at chance count in nothing, as in claims.

    Args:
        results: what `subject` was judged by.
        subject: gives ranges, margin and looks.
        method: label of the method.
        others: labels of those that it is compared with.

    Returns:
        Findings with the other one as `subject`, in the order of ranges and then of `others`.
    """
    key = (subject.study, subject.network, subject.dataset)
    (experiment,) = (one for one in experiments(results) if (one.study, one.network, one.dataset) == key)
    classes = conditions(results).get(key, Conditions()).classes
    evidence = Evidence(
        experiment=experiment,
        ranges=subject.ranges,
        standard=subject.standard,
        chance=None if classes is None else 100 / classes,
    )
    found: list[Finding] = []
    for range_ in subject.conclusions:
        for other in others:
            contrasts = _contrasts(evidence, range_, method, other)
            if contrasts:
                found.append(evidence.finding(RIVAL, other, range_, "beats", contrasts))
    return found


def _contrasts(evidence: Evidence, range_: str, method: str, other: str) -> dict[float, Contrast]:
    cells = evidence.experiment.accuracies
    here: dict[float, Contrast] = {}
    inside = _inside(evidence, range_)
    for cell in cells:
        if _is_of(cell, method) and cell.sparsity in inside:
            rival = replace(cell, method=other)
            if rival in cells:
                here[cell.sparsity] = difference(cell, rival)
    return here


def _is_of(cell: Cell, method: str) -> bool:
    plain = not cell.benchmark and cell.ablation == UNMODIFIED
    return plain and cell.method == method and cell.sparsity > 0 and cell.initial


def _inside(evidence: Evidence, range_: str) -> set[float]:
    """The sparsities of a range; of all, those that are not trivial, if there are any."""
    kinds = {s: evidence.ranges.of(s) for s in evidence.experiment.sparsities}
    if range_ != "all":
        return {s for s, kind in kinds.items() if kind == range_}
    return {s for s, kind in kinds.items() if kind != "trivial"} or set(kinds)
