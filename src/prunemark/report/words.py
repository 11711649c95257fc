"""The sentences of a report: what a claim's verdict is called, the answer in a paragraph, what charts leave out."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prunemark.report import curves, theme
from prunemark.report.curves import Point
from prunemark.stats import Claim, Ranges, Verdict, ranges
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.margins import DEFAULT_MARGIN
from prunemark.terms.numbers import percent_number

if TYPE_CHECKING:
    from pandas import DataFrame

State = Literal["holds", "mixed", "does not hold", "not settled", "not tested"]
Support = Literal["supports", "against", "undecided", "no verdict"]

_STATE_WORDS: dict[State, tuple[str, str]] = {
    "holds": ("holds in every cell", "hold in every cell"),
    "mixed": ("holds in some cells but not in others", "hold in some cells but not in others"),
    "does not hold": ("does not hold", "do not hold"),
    "not settled": ("is not settled", "are not settled"),
    "not tested": ("was not tested", "were not tested"),
}


def state(claim: Claim) -> State:
    """What to call a claim's summary; "mixed" does not hold as a whole but does in some of its cells."""
    if claim.cells == 0:
        return "not tested"
    if claim.holds is None:
        return "not settled"
    if claim.holds:
        return "holds"
    return "mixed" if claim.supporting else "does not hold"


def support(verdict: Verdict) -> Support:
    """What one cell says about its claim."""
    if verdict.outcome == "no verdict":
        return "no verdict"
    if verdict.holds is None:
        return "undecided"
    return "supports" if verdict.holds else "against"


def tally(claim: Claim, verdicts: Sequence[Verdict]) -> str:
    """How a claim's cells are divided: "10 of 15 cells support it, 3 against, 2 undecided".

    Args:
        claim: the claim.
        verdicts: those of this claim, study, network and data set.
    """
    if claim.cells == 0:
        return "the study has no such comparison"
    parts = [f"{claim.supporting} of {claim.cells} cell{'' if claim.cells == 1 else 's'} support it"]
    if claim.against:
        parts.append(f"{claim.against} against")
    if claim.undecided:
        parts.append(f"{claim.undecided} undecided")
    scope = "" if any(verdict.counted for verdict in verdicts) else "none in its scope; outside it, "
    return scope + ", ".join(parts)


def about(claim: Claim, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of this claim, study, network and data set."""
    key = (claim.study, claim.network, claim.dataset, claim.claim)
    return [one for one in verdicts if (one.study, one.network, one.dataset, one.claim) == key]


def answer(results: "DataFrame", claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> str:
    """The report's first paragraph: which claims hold, and accuracies at the sparsity that matters most.

    Args:
        results: of one study, network and data set.
        claims: about it.
        verdicts: about it.
    """
    groups: dict[State, list[str]] = {
        name: [one.claim for one in claims if state(one) == name] for name in _STATE_WORDS
    }
    found = [f"{_and(ids)} {_STATE_WORDS[name][0 if len(ids) == 1 else 1]}" for name, ids in groups.items() if ids]
    if any(claim.cells for claim in claims):
        first = f"Of the paper’s {len(claims)} claims, {'; '.join(found)}."
    else:
        first = "This study has no comparison that tests one of the paper’s claims."
    return " ".join([first, *_at_one_sparsity(results, verdicts[0].margin if verdicts else DEFAULT_MARGIN)])


def _and(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]}"


def _at_one_sparsity(results: "DataFrame", margin: float) -> list[str]:
    cells = curves.points(results)
    shown = [point for point in curves.earliest(cells) if point.cell.ablation == UNMODIFIED]
    if not shown:
        return []
    matching = [sparsity for found in ranges(results, margin=margin) for sparsity in found.matching]
    sparsity = max(matching, default=max(point.cell.sparsity for point in shown))
    reason = (
        ", the highest at which magnitude pruning after training keeps up with the dense network and random pruning "
        "does not,"
        if matching
        else ", the highest of the study,"
    )
    here = {point.series: point for point in shown if point.cell.sparsity == sparsity}
    methods = [p for name, p in here.items() if not p.cell.benchmark and name != "random"]
    reached = [
        f"{theme.label(best.series)} (the best method {curves.step_words(best.cell.prune_at)}) {_accuracy(best)}"
        for best in sorted(methods, key=lambda p: -p.mean)[:1]
    ]
    references = theme.series_styles(name for name, p in here.items() if p.cell.benchmark or name == "random")
    reached += [f"{style.label} {_accuracy(here[name])}" for name, style in references.items()]
    dense = curves.dense(cells)
    if dense is not None:
        reached.append(f"the dense network {_accuracy(dense)}")
    return [f"At {percent_number(sparsity)} % sparsity{reason} mean test accuracies are: {', '.join(reached)}."]


def _accuracy(point: Point) -> str:
    return f"{point.mean:.1f} %"


def sparsity_span(sparsities: Sequence[float]) -> str:
    """Ascending sparsities in words: "48.8 %", "48.8 to 91.4 %", "–" for none."""
    if not sparsities:
        return "–"
    ends = list(dict.fromkeys(percent_number(sparsity) for sparsity in (sparsities[0], sparsities[-1])))
    return f"{' to '.join(ends)} %"


def ranges_sentence(found: Ranges) -> str:
    """The ranges of sparsity in a sentence or two, with the highest matching one (E7)."""
    parts = [
        f"{kind} at {sparsity_span(inside)}"
        for kind, inside in (
            ("trivial", found.trivial),
            ("matching", found.matching),
            ("extreme", found.extreme),
            ("undecided", found.undecided),
        )
        if inside
    ]
    if not parts:
        return "No sparsity was run."
    highest = found.highest_matching
    if not found.mark_was_run:
        last = "Magnitude pruning after training was not run, so that no sparsity is known to be matching."
    elif highest is None:
        last = "Magnitude pruning after training is not shown to match the dense network at any of them."
    else:
        last = f"Highest matching sparsity: {percent_number(highest)} %."
    return f"Of the sparsities run: {', '.join(parts)}. {last}"


def missing(results: "DataFrame") -> str:
    """Which runs failed or diverged and what became of them; empty where all are done."""
    statuses = Counter(str(status) for status in results["status"])
    sentences: list[str] = []
    if statuses["failed"]:
        verb = "is" if statuses["failed"] == 1 else "are"
        sentences.append(f"{statuses['failed']} of {len(results)} runs failed and {verb} left out.")
    if statuses["diverged"]:
        count = statuses["diverged"]
        ended = "the accuracy it" if count == 1 else "the accuracies they"
        sentences.append(f"{count} diverged and {'counts' if count == 1 else 'count'} with {ended} ended with.")
    return " ".join(sentences)
