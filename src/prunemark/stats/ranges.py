"""The three ranges of sparsity: trivial, matching, extreme."""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from prunemark.stats.cells import DENSE, Cell, Experiment, benchmark_cell, experiments
from prunemark.stats.contrasts import difference, effect
from prunemark.stats.effects import Standard
from prunemark.stats.predicates import Predicate
from prunemark.stats.recognition import require_recognised
from prunemark.stats.records import Record
from prunemark.stats.rounding import steps_of_rounding
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.margins import DEFAULT_MARGIN

if TYPE_CHECKING:
    import pandas as pd

SparsityRange = Literal["trivial", "matching", "extreme", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Ranges(Record):
    """The sparsities of an experiment by range, each ascending.

    *trivial*: random pruning at initialisation keeps the dense network's accuracy, at this and every lower sparsity.
    *matching*: magnitude pruning after training keeps it, at this and every lower sparsity, and random pruning is shown
    to be worse at this one. *extreme*: magnitude after training is worse than dense, at this and every higher sparsity
    at which it was run. *undecided*: what is left, because a comparison is open, has fewer than 3 replicates or was not
    run.

    "Keeps" and "worse" are the predicates keeps and hurts on the paired difference from the dense network, supported.
    Each scan is a sequence of tests in an order fixed beforehand that ends at the first that fails, so that trivial
    and extreme err in at most 5 % of studies each, whatever the number of sparsities.

    `highest_matching` is the last sparsity at which magnitude after training keeps the accuracy without a gap from the
    lowest on, also where it is in the trivial range; None if there is none. `mark_was_run` says whether there is a
    run of magnitude after training at all.

    Reference: Maurer, Hothorn and Lehmacher (1995), Biometrie in der chemisch-pharmazeutischen Industrie 6:3, for
    tests in a fixed sequence.
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
        """The range of a sparsity of the experiment."""
        if sparsity in self.trivial:
            return "trivial"
        if sparsity in self.matching:
            return "matching"
        return "extreme" if sparsity in self.extreme else "undecided"


def ranges(results: "pd.DataFrame", *, margin: float = DEFAULT_MARGIN) -> list[Ranges]:
    """The sparsity ranges of every study, network and data set in a table of results; margin in percentage points.

    Raises:
        ValueError: the table is malformed or holds names that no comparison would find, or the margin is not positive
            and finite.
    """
    found = experiments(results)
    require_recognised(found)
    return [ranges_of(one, Standard(margin=margin, steps=steps_of_rounding(one))) for one in found]


def ranges_of(experiment: Experiment, standard: Standard) -> Ranges:
    """The sparsity ranges of one experiment."""
    accuracies = experiment.accuracies

    def shown(predicate: Predicate, cell: Cell | None) -> bool:
        if cell is None or cell not in accuracies or DENSE not in accuracies:
            return False
        found = effect(experiment, difference(cell, DENSE), standard)
        return found.state(predicate, margin=standard.margin) == "supported"

    def random(sparsity: float) -> Cell | None:
        return experiment.initial(Cell(method="random", sparsity=sparsity, prune_at="0ep"))

    def mark(sparsity: float) -> Cell:
        return benchmark_cell(MAGNITUDE_AFTER_TRAINING, sparsity)

    sparsities = experiment.sparsities
    marked = [s for s in sparsities if mark(s) in accuracies]
    trivial = tuple(takewhile(lambda s: shown("keeps", random(s)), sparsities))
    reached = tuple(takewhile(lambda s: shown("keeps", mark(s)), sparsities))
    worse = tuple(takewhile(lambda s: shown("hurts", mark(s)), reversed(marked)))
    matching = tuple(s for s in reached if s not in trivial and shown("hurts", random(s)))
    extreme = tuple(s for s in reversed(worse) if s not in trivial)
    return Ranges(
        study=experiment.study,
        network=experiment.network,
        dataset=experiment.dataset,
        margin=standard.margin,
        trivial=trivial,
        matching=matching,
        extreme=extreme,
        undecided=tuple(s for s in sparsities if s not in {*trivial, *matching, *extreme}),
        highest_matching=reached[-1] if reached else None,
        mark_was_run=bool(marked),
    )
