"""Statistics: effects with intervals, looks, sparsity ranges, the paper's claims, power. No torch."""

from prunemark.stats.cells import experiments
from prunemark.stats.effects import Effect, Standard, measure
from prunemark.stats.findings import Finding
from prunemark.stats.judging import Judged, Subject, judge
from prunemark.stats.power import equivalence_power, replicates_needed
from prunemark.stats.prospects import Prospect, prospect
from prunemark.stats.ranges import Ranges, ranges
from prunemark.terms.looks import Looks

__all__ = [
    "Effect",
    "Finding",
    "Judged",
    "Looks",
    "Prospect",
    "Ranges",
    "Standard",
    "Subject",
    "equivalence_power",
    "experiments",
    "judge",
    "measure",
    "prospect",
    "ranges",
    "replicates_needed",
]
