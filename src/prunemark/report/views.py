"""What the page's template shows of verdicts, claims and ranges: texts and positions, ready to be placed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prunemark.report import words
from prunemark.stats import Claim, Ranges, Verdict
from prunemark.terms.numbers import percent_number


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a confidence interval is drawn: horizontal positions in [0, 100]; zero lies at 50."""

    low: float
    high: float
    middle: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One verdict as the page shows it."""

    verdict: Verdict
    support: words.Support
    sparsity: str
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """One claim as the page shows it, with its cells."""

    claim: Claim
    state: words.State
    tally: str
    cells: Sequence[CellView]


@dataclass(frozen=True, kw_only=True)
class RangesView:
    """The ranges of one subject as the page's table shows them."""

    subject: str
    highest: str
    trivial: str
    matching: str
    extreme: str
    undecided: str


def ranges_view(subject: str, found: Ranges) -> RangesView:
    """The row of a subject in the table of ranges."""
    highest = found.highest_matching
    return RangesView(
        subject=subject,
        highest="none established" if highest is None else f"{percent_number(highest)} %",
        trivial=words.sparsity_span(found.trivial),
        matching=words.sparsity_span(found.matching),
        extreme=words.sparsity_span(found.extreme),
        undecided=words.sparsity_span(found.undecided),
    )


def claim_view(claim: Claim, verdicts: Sequence[Verdict]) -> ClaimView:
    """A claim and its verdicts, those that count first."""
    reach = max((abs(end) for one in verdicts for end in (one.low, one.high) if math.isfinite(end)), default=0.0)
    scale = max(reach, 2 * verdicts[0].margin) if verdicts else 1.0
    return ClaimView(
        claim=claim,
        state=words.state(claim),
        tally=words.tally(claim, verdicts),
        cells=[
            CellView(
                verdict=one,
                support=words.support(one),
                sparsity="" if one.sparsity is None else f"{percent_number(one.sparsity)} %",
                interval=_interval(one, scale),
            )
            for one in sorted(verdicts, key=lambda one: not one.counted)
        ],
    )


def _interval(verdict: Verdict, scale: float) -> Interval | None:
    if not all(math.isfinite(value) for value in (verdict.low, verdict.high, verdict.difference)):
        return None

    # Linear within the margin and logarithmic beyond, so that a margin of 0.5 and a loss of 50 points fit one drawing.
    def place(value: float) -> float:
        reach = math.log1p(abs(value) / verdict.margin) / math.log1p(scale / verdict.margin)
        return round(50 + 46 * math.copysign(reach, value), 2)

    return Interval(
        low=place(verdict.low),
        high=place(verdict.high),
        middle=place(verdict.difference),
        margin=round(place(verdict.margin) - 50, 2),
    )


def signed(value: float) -> str:
    """A difference with its sign and two decimals; a dash for none."""
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")
