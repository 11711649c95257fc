"""A verdict: one comparison of two cells, what it establishes, and whether that supports the claim it is part of."""

from dataclasses import dataclass
from typing import Literal

from prunemark.stats.cells import Cell, Experiment
from prunemark.stats.paired import (
    FEWEST_REPLICATES,
    MOST_FURTHER_REPLICATES,
    Comparison,
    Outcome,
    compare,
    further_replicates,
)
from prunemark.stats.ranges import SparsityRange
from prunemark.stats.records import Record
from prunemark.terms.ablations import ABLATIONS
from prunemark.terms.numbers import counted, percent, pp

Expectation = Literal["better", "worse", "kept"]

_SUPPORTS: dict[Expectation, frozenset[Outcome]] = {
    "better": frozenset({"better"}),
    "worse": frozenset({"worse"}),
    "kept": frozenset({"equivalent", "preserved", "better"}),
}
# "preserved" leaves open whether left is better; that it is not worse by the margin is established.
_UNDECIDED: dict[Expectation, frozenset[Outcome]] = {
    "better": frozenset({"inconclusive", "preserved"}),
    "worse": frozenset({"inconclusive"}),
    "kept": frozenset({"inconclusive"}),
}


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """One paired comparison, left - right, in percentage points.

    `claim` is "C1" to "C7". `expectation` is what the claim says of left: "better", "worse", or "kept" (not
    worse by the margin). `holds` says whether the outcome supports the claim in this cell: None where that is
    still open or there is no verdict. `counted` says whether the cell enters the claim's intersection-union
    summary. `method`, `benchmark`, `ablation`, `prune_at` and `sparsity` describe left; `sparsity_range` is where
    that sparsity lies: "trivial", "matching", "extreme" or "undecided". `low` and `high` bound the 90 %
    confidence interval (NaN with fewer than 3 replicates); `dropped` counts replicates without a result on
    one side. Where `holds` is None, `further_replicates` is the least number that would settle this cell if
    mean and spread stayed as they are; None where that is beyond 10,000 or there is no verdict.
    """

    study: str
    network: str
    dataset: str
    claim: str
    statement: str
    left: str
    right: str
    method: str
    benchmark: str
    ablation: str
    prune_at: str
    sparsity: float | None
    sparsity_range: str
    replicates: int
    dropped: int
    margin: float
    difference: float
    low: float
    high: float
    outcome: Outcome
    expectation: Expectation
    holds: bool | None
    counted: bool
    further_replicates: int | None


def label(cell: Cell, *, name_start: bool = False) -> str:
    """How a cell reads: "snip", "snip pruned at 10ep", "lottery-rewinding, shuffled within layers"."""
    text = cell.benchmark or cell.method
    if not cell.benchmark and cell.initial:
        text += " pruned at initialisation" if name_start else ""
    elif not cell.benchmark and cell.prune_at:
        text += f" pruned at {cell.prune_at}"
    return text + ABLATIONS[cell.ablation].phrase


def _finding(result: Comparison, *, open_: bool, further: int | None) -> str:
    words = [f"{pp(result.difference)} pp"] if result.replicates else []
    if result.replicates >= FEWEST_REPLICATES:
        words.append(f"[{pp(result.low)}, {pp(result.high)}]")
    words += ["-", result.outcome] if words else [result.outcome]
    text = " ".join(words)
    if result.outcome == "no verdict":
        text += f": {counted(result.replicates, 'replicate')} of the {FEWEST_REPLICATES} it takes"
    elif open_ and further is None:
        text += f", and {MOST_FURTHER_REPLICATES:,} further replicates would not settle it"
    elif open_:
        text += f", {counted(further or 0, 'further replicate')} would settle it"
    if result.dropped:
        text += f" ({counted(result.dropped, 'replicate')} left out: no result on one side)"
    return text


def verdict(
    experiment: Experiment,
    left: Cell,
    right: Cell,
    *,
    claim: str,
    expectation: Expectation,
    counted: bool,
    sparsity_range: SparsityRange,
    margin: float,
) -> Verdict:
    """Compare two cells of an experiment, in favour of an expectation about the left one."""
    result = compare(experiment.accuracies[left], experiment.accuracies[right], margin=margin)
    decided = result.outcome != "no verdict" and result.outcome not in _UNDECIDED[expectation]
    holds = result.outcome in _SUPPORTS[expectation] if decided else None
    further = None if decided else further_replicates(result, undecided=_UNDECIDED[expectation])
    over_time = not left.benchmark and not right.benchmark and left.prune_at != right.prune_at
    names = label(left), label(right, name_start=over_time)
    comma = "," if "," in names[0] else ""
    finding = _finding(result, open_=not decided, further=further)
    return Verdict(
        study=experiment.study,
        network=experiment.network,
        dataset=experiment.dataset,
        claim=claim,
        statement=f"{names[0]}{comma} vs {names[1]} at {percent(left.sparsity)} sparsity: {finding}",
        left=names[0],
        right=names[1],
        method=left.method,
        benchmark=left.benchmark,
        ablation=left.ablation,
        prune_at=left.prune_at,
        sparsity=left.sparsity,
        sparsity_range=sparsity_range,
        replicates=result.replicates,
        dropped=result.dropped,
        margin=margin,
        difference=result.difference,
        low=result.low,
        high=result.high,
        outcome=result.outcome,
        expectation=expectation,
        holds=holds,
        counted=counted,
        further_replicates=further,
    )
