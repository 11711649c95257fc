"""The finding of a study about one claim and one subject in one range of sparsities."""

import math
from dataclasses import dataclass
from typing import Any

from prunemark.stats.claims import CLAIMS
from prunemark.stats.effects import Effect
from prunemark.stats.predicates import Predicate, Size, State, size
from prunemark.stats.prospects import Prospect
from prunemark.stats.rows import CellRow, Row

C0_PARTS = {
    "C0a": "Shuffling within layers keeps the accuracy of the methods",
    "C0b": "Shuffling within layers hurts magnitude pruning after training",
    "C0c": "Shuffling within layers costs magnitude pruning after training more than it costs the methods",
}
"""The three numbers that C0 is made of."""
STANDING = "standing"
"""In place of a claim: whether the study's own mark stands above random pruning."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim, one subject, one range or sparsity: the state, the effect behind it, and what to say of it.

    Attributes:
        range: "matching" or "extreme", or "all" in an experiment that has neither; of a cell also "trivial" or
            "undecided".
        subject: a method, a benchmark, "all methods" or "all benchmarks".
        predicate: what the claim says of left - right.
        effect: the difference; None where nothing was measured.
        sparsities: those that the effect is the mean over.
        margin: in percentage points.
        members: for all methods or all benchmarks: the findings about each.
        because: why it is untested; empty otherwise.
        same_as: the subject whose trainings on the left are the same, so that this is no further evidence.
        prospect: what would settle it, where it is open.
    """

    study: str
    network: str
    dataset: str
    claim: str
    range: str
    subject: str
    predicate: Predicate
    state: State
    effect: Effect | None
    sparsities: tuple[float, ...]
    margin: float
    members: tuple["Finding", ...] = ()
    because: str = ""
    same_as: str = ""
    prospect: Prospect | None = None

    @property
    def statement(self) -> str:
        """The claim in words."""
        if self.claim == STANDING:
            return "Magnitude pruning after training beats random pruning"
        return C0_PARTS.get(self.claim) or CLAIMS[self.claim].statement

    @property
    def size(self) -> Size:
        """Size of the difference: shown to be beyond the margin, or within it."""
        return "unclear" if self.effect is None else size(self.effect.low, self.effect.high, margin=self.margin)

    @property
    def counts(self) -> bool:
        """True if it is one of the study's questions: about one subject, tested, by trainings of its own."""
        return not self.members and self.state != "untested" and not self.same_as and self.claim in CLAIMS

    def row(self) -> Row:
        """Its row of `judged.claims`."""
        return Row(**self._judgement(), sparsities=self.sparsities)

    def cell_row(self) -> CellRow:
        """Its row of `judged.cells`; it has one sparsity."""
        return CellRow(**self._judgement(), sparsity=self.sparsities[0])

    def _judgement(self) -> dict[str, Any]:
        found = self.effect
        return {
            "study": self.study,
            "network": self.network,
            "dataset": self.dataset,
            "claim": self.claim,
            "range": self.range,
            "subject": self.subject,
            "state": self.state,
            "difference": found.difference if found else math.nan,
            "low": found.low if found else math.nan,
            "high": found.high if found else math.nan,
            "replicates": found.replicates if found else 0,
        }
