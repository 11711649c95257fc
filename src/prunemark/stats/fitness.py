"""Fitness of a study to test the paper's claims: did its training get anywhere, and does the mark stand out?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunemark.stats.cells import Cell, benchmark_cell
from prunemark.stats.contrasts import Contrast, difference
from prunemark.stats.evidence import Evidence
from prunemark.stats.findings import STANDING, Finding
from prunemark.stats.sentences import MARK, conjoined, measured
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.numbers import percent, pp

MOST_OVERLAP = 0.5
"""Share of the way from chance to the very same mask up to which a final magnitude mask counts as trained."""
_LAST = 5
"""Training has levelled off if its last fifth gains no more than the margin over the fifth before."""


@dataclass(frozen=True, kw_only=True)
class DenseRun:
    """Course of one replicate's dense training.

    Attributes:
        replicate: its number.
        gain: what the last fifth of its epochs gained over the fifth before, see `last_gain`; NaN without a curve.
        overlaps: sparsity -> share of the final magnitude mask's kept weights that the initial magnitude mask keeps.
    """

    replicate: int
    gain: float = math.nan
    overlaps: Mapping[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Fitness:
    """Fitness of a study to test the claims; None where it is not known.

    Attributes:
        gain: what the last fifth of dense training gained over the fifth before it, in percentage points, mean over
            replicates; NaN without curves, or where the study is judged by another metric than accuracy.
        levelled: whether that is no more than the margin.
        overlaps: sparsity -> mean share of the final magnitude mask that is that of the initialisation; chance is the
            density.
        trained: whether the overlaps are, in the mean over sparsities, less than half way from chance to 1.
        above_random: magnitude after training minus random pruning, in each range.
        stands_out: whether the mark is above random pruning: False where that is contradicted in a range, or where
            both are at chance in all; None where it is open.
    """

    margin: float
    gain: float
    levelled: bool | None
    overlaps: Mapping[float, float]
    trained: bool | None
    above_random: tuple[Finding, ...]
    stands_out: bool | None

    @property
    def fit(self) -> bool:
        """True if nothing speaks against the study."""
        return False not in (self.levelled, self.trained, self.stands_out)

    @property
    def sentence(self) -> str:
        """Reason why the study cannot test the claims, and what would; empty if it is fit."""
        reasons: list[str] = []
        if self.levelled is False:
            reasons.append(
                f"dense training had not levelled off (accuracy rose by {pp(self.gain)} points in the last fifth)"
            )
        if self.trained is False:
            s = max(self.overlaps)
            reasons.append(
                f"training hardly left its initialisation ({100 * self.overlaps[s]:.0f} % of the {percent(s)} sparse "
                f"magnitude mask is that of the initial weights; chance is {100 * (1 - s):.0f} %)"
            )
        if self.stands_out is False:
            numbers = [f"{measured(f)} at {f.range} sparsities" for f in self.above_random if f.effect is not None]
            found = f": {', '.join(numbers)}" if numbers else ": both are at chance"
            reasons.append(f"{MARK} does not stand above random pruning{found}")
        if not reasons:
            return ""
        more = "more epochs or a stronger weight decay" if self.levelled is not False else "more epochs"
        return f"This study cannot test the paper's claims: {conjoined(reasons)}. What would help: {more}."


def fitness(evidence: Evidence, runs: Sequence[DenseRun], spans: Mapping[str, Sequence[float]]) -> Fitness:
    """Judge the dense runs of an experiment, and its mark against random pruning.

    Args:
        evidence: the experiment.
        runs: one per replicate whose curve or overlaps are known.
        spans: the ranges that claims are judged in, by name.
    """
    # Curves are of accuracy, in points: held against a margin in another unit, they would say nothing.
    of_accuracy = evidence.standard.metric.name == "accuracy"
    gains = [run.gain for run in runs if math.isfinite(run.gain) and of_accuracy]
    gain = math.fsum(gains) / len(gains) if gains else math.nan
    overlaps = _mean_overlaps(runs)
    away = [(overlap - (1 - s)) / s for s, overlap in overlaps.items() if s > 0]
    above = tuple(
        evidence.finding(STANDING, MAGNITUDE_AFTER_TRAINING, name, "beats", _against_random(evidence, sparsities))
        for name, sparsities in spans.items()
    )
    margin = evidence.standard.margin
    return Fitness(
        margin=margin,
        gain=gain,
        levelled=gain <= margin if gains else None,
        overlaps=overlaps,
        trained=math.fsum(away) / len(away) <= MOST_OVERLAP if away else None,
        above_random=above,
        stands_out=_stands_out(above),
    )


def last_gain(curve: Sequence[float]) -> float:
    """Mean of a curve's last fifth minus that of the fifth before; NaN with fewer than two points."""
    if len(curve) < 2:
        return math.nan
    width = max(1, len(curve) // _LAST)
    return math.fsum(curve[-width:]) / width - math.fsum(curve[-2 * width : -width]) / width


def _mean_overlaps(runs: Sequence[DenseRun]) -> dict[float, float]:
    found: dict[float, list[float]] = {}
    for run in runs:
        for sparsity, overlap in (run.overlaps or {}).items():
            found.setdefault(sparsity, []).append(overlap)
    return {sparsity: math.fsum(values) / len(values) for sparsity, values in sorted(found.items())}


def _against_random(evidence: Evidence, sparsities: Sequence[float]) -> dict[float, Contrast]:
    found: dict[float, Contrast] = {}
    for sparsity in sparsities:
        mark = benchmark_cell(MAGNITUDE_AFTER_TRAINING, sparsity)
        random = evidence.experiment.initial(Cell(method="random", sparsity=sparsity, prune_at="0ep"))
        if random is not None and mark in evidence.experiment.accuracies:
            found[sparsity] = difference(mark, random)
    return found


def _stands_out(above: Sequence[Finding]) -> bool | None:
    compared = [f for f in above if f.sparsities]
    if any(f.state == "contradicted" for f in compared):
        return False
    if compared and all(f.state == "untested" for f in compared):
        return False
    return True if compared and all(f.state in ("supported", "untested") for f in compared) else None
