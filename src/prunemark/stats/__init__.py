"""What the numbers say: paired comparisons, equivalence, the paper's claims, sparsity ranges, power. No torch."""

from prunemark.stats.claims import Claim, claims, verdicts
from prunemark.stats.paired import Comparison, Outcome, compare
from prunemark.stats.power import equivalence_power, replicates_needed
from prunemark.stats.ranges import Ranges, ranges
from prunemark.stats.verdict import Verdict

__all__ = [
    "Claim",
    "Comparison",
    "Outcome",
    "Ranges",
    "Verdict",
    "claims",
    "compare",
    "equivalence_power",
    "ranges",
    "replicates_needed",
    "verdicts",
]
