"""What the numbers say: effects with intervals, looks, sparsity ranges, the paper's claims, power. No torch."""

from prunemark.stats.cells import experiments
from prunemark.stats.effects import Effect, Standard, measure
from prunemark.stats.findings import Finding
from prunemark.stats.judging import Judged, Subject, judge
from prunemark.stats.looks import Looks
from prunemark.stats.paired import Comparison, Outcome, compare
from prunemark.stats.power import equivalence_power, replicates_needed
from prunemark.stats.prospects import Prospect, prospect
from prunemark.stats.ranges import Ranges, ranges
from prunemark.stats.tallies import Claim, claims, verdicts
from prunemark.stats.verdict import Verdict

__all__ = [
    "Claim",
    "Comparison",
    "Effect",
    "Finding",
    "Judged",
    "Looks",
    "Outcome",
    "Prospect",
    "Ranges",
    "Standard",
    "Subject",
    "Verdict",
    "claims",
    "compare",
    "equivalence_power",
    "experiments",
    "judge",
    "measure",
    "prospect",
    "ranges",
    "replicates_needed",
    "verdicts",
]
