"""Views of claims and ranges for the page's template: texts and positions, ready to be placed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunemark.reports import theme, words
from prunemark.stats import Finding, Ranges, Subject
from prunemark.terms.numbers import counted, percent_number


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Horizontal positions of a confidence interval, in [0, 100]; a difference of zero is at 50."""

    low: float
    high: float
    middle: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """One finding as the page shows it."""

    finding: Finding
    subject: str
    sparsities: str
    interval: Interval | None
    outlook: str


@dataclass(frozen=True, kw_only=True)
class ClaimView:
    """One claim as the page shows it: how it came out in each range, its questions, and each sparsity by itself."""

    claim: str
    statement: str
    standings: Sequence[tuple[str, str, str]]
    findings: Sequence[FindingView]
    cells: Sequence[FindingView]


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


def claim_views(subject: Subject) -> list[ClaimView]:
    """All claims, in their order."""
    cells = words.by_claim(subject.cells)
    return [
        _claim_view(claim, by_range, [cell for here in cells.get(claim, {}).values() for cell in here])
        for claim, by_range in words.by_claim(subject.findings).items()
    ]


def _claim_view(claim: str, by_range: Mapping[str, Sequence[Finding]], cells: Sequence[Finding]) -> ClaimView:
    findings = [finding for here in by_range.values() for finding in here]
    ends = [end for f in (*findings, *cells) if f.effect for end in (f.effect.low, f.effect.high)]
    reach = max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
    scale = max(reach, 2 * findings[0].margin)
    return ClaimView(
        claim=claim,
        statement=findings[0].statement,
        standings=[(name, words.standing(here), words.divided(here)) for name, here in by_range.items()],
        findings=[_finding_view(finding, scale) for finding in findings],
        cells=[_finding_view(cell, scale) for cell in sorted(cells, key=lambda one: (one.subject, one.sparsities))],
    )


def _finding_view(finding: Finding, scale: float) -> FindingView:
    outlook = finding.because
    if finding.prospect:
        more = counted(finding.prospect.replicates, "more replicate")
        outlook = f"{more}: settled with a chance of {100 * finding.prospect.chance:.0f} %"
    if finding.same_as:
        outlook = f"the trainings of {theme.display_name(finding.same_as)}, counted once"
    return FindingView(
        finding=finding,
        subject=theme.display_name(finding.subject),
        sparsities=words.sparsity_span(finding.sparsities),
        interval=_interval(finding, scale),
        outlook=outlook,
    )


def _interval(finding: Finding, scale: float) -> Interval | None:
    found, margin = finding.effect, finding.margin
    if found is None or not math.isfinite(found.low):
        return None

    # Linear within the margin and logarithmic beyond, so that a margin of 0.5 and a loss of 50 points fit one drawing.
    def place(value: float) -> float:
        reach = math.log1p(abs(value) / margin) / math.log1p(scale / margin)
        return round(50 + 46 * math.copysign(reach, value), 2)

    return Interval(
        low=place(found.low),
        high=place(found.high),
        middle=place(found.difference),
        margin=round(place(margin) - 50, 2),
    )


def signed(value: float) -> str:
    """A difference with its sign and two decimals; a dash for none."""
    return "–" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")
