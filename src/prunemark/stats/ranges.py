"""The three ranges of sparsity: trivial, matching, extreme."""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from prunemark.stats.cells import DENSE, Cell, Experiment, benchmark_cell, experiments
from prunemark.stats.paired import Outcome, check_margin, compare
from prunemark.stats.records import Record
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.margins import DEFAULT_MARGIN

if TYPE_CHECKING:
    import pandas as pd

SparsityRange = Literal["trivial", "matching", "extreme", "undecided"]

_REACHED = frozenset[Outcome | None]({"equivalent", "preserved", "better"})


@dataclass(frozen=True, kw_only=True)
class Ranges(Record):
    """The sparsities of an experiment by range, each ascending.

    *trivial*: random pruning at initialisation still reaches the dense network's accuracy, at this and every
    lower sparsity. *matching*: beyond that, magnitude pruning after training does, at this and every lower
    sparsity. *extreme*: from the first sparsity on at which magnitude after training is worse than dense.
    *undecided*: what is left, because the comparison is inconclusive, has fewer than 3 replicates or was not
    run. "Reaches" means that the paired comparison with the dense network is equivalent, preserved or better.

    `highest_matching` is the last sparsity that magnitude after training reaches without a gap from the lowest on,
    also where it lies in the trivial range; None if there is none. `mark_was_run` says whether there is a run of
    magnitude after training at all.
    """

    study: str
    network: str
    dataset: str
    margin: float
    trivial: tuple[float, ...]
    matching: tuple[float, ...]
    extreme: tuple[float, ...]
    undecided: tuple[float, ...]
    highest_matching: float | None
    mark_was_run: bool = True

    def of(self, sparsity: float) -> SparsityRange:
        """The range in which a sparsity of the experiment lies."""
        if sparsity in self.trivial:
            return "trivial"
        if sparsity in self.matching:
            return "matching"
        return "extreme" if sparsity in self.extreme else "undecided"


def ranges(results: "pd.DataFrame", *, margin: float = DEFAULT_MARGIN) -> list[Ranges]:
    """The sparsity ranges of every study, network and data set in a table of results; margin in percentage points.

    Raises:
        ValueError: the table is malformed, or the margin is not positive and finite.
    """
    return [ranges_of(experiment, margin=margin) for experiment in experiments(results)]


def ranges_of(experiment: Experiment, *, margin: float) -> Ranges:
    """The sparsity ranges of one experiment."""
    check_margin(margin)
    accuracies = experiment.accuracies

    def against_dense(cell: Cell | None) -> Outcome | None:
        if cell is None or cell not in accuracies or DENSE not in accuracies:
            return None
        return compare(accuracies[cell], accuracies[DENSE], margin=margin).outcome

    sparsities = experiment.sparsities
    random = {
        s: against_dense(experiment.initial(Cell(method="random", sparsity=s, prune_at="0ep"))) for s in sparsities
    }
    trained = {s: against_dense(benchmark_cell(MAGNITUDE_AFTER_TRAINING, s)) for s in sparsities}
    trivial = tuple(takewhile(lambda s: random[s] in _REACHED, sparsities))
    reached = tuple(takewhile(lambda s: trained[s] in _REACHED, sparsities))
    first_worse = next((s for s in sparsities if trained[s] == "worse"), 1.0)
    matching = tuple(s for s in reached if s not in trivial)
    extreme = tuple(s for s in sparsities if s >= first_worse and s not in trivial)
    return Ranges(
        study=experiment.study,
        network=experiment.network,
        dataset=experiment.dataset,
        margin=margin,
        trivial=trivial,
        matching=matching,
        extreme=extreme,
        undecided=tuple(s for s in sparsities if s not in {*trivial, *matching, *extreme}),
        highest_matching=reached[-1] if reached else None,
        mark_was_run=any(benchmark_cell(MAGNITUDE_AFTER_TRAINING, s) in accuracies for s in sparsities),
    )
