"""The sentences of a report: the answer in a paragraph, how a claim's questions came out, what charts leave out."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunemark.reports import curves, theme
from prunemark.reports.curves import Point
from prunemark.stats import Finding, Ranges, Subject
from prunemark.stats.claims import ALL
from prunemark.stats.predicates import State
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.metrics import Metric
from prunemark.terms.numbers import percent_number

if TYPE_CHECKING:
    from pandas import DataFrame

STATES: tuple[State, ...] = ("supported", "contradicted", "open", "untested")


def together(findings: Sequence[Finding]) -> Finding | None:
    """The finding about all methods or benchmarks among one claim's findings in one range, or the only one."""
    whole = [finding for finding in findings if finding.subject in ALL.values()]
    return whole[0] if whole else findings[0] if len(findings) == 1 else None


def standing(findings: Sequence[Finding]) -> str:
    """Standing of one claim in one range: its state, or the states of its questions: "2 supported, 1 open"."""
    one = together(findings)
    return one.state if one else divided(findings)


def divided(findings: Sequence[Finding]) -> str:
    """States of the questions about single methods or benchmarks: "3 supported, 1 open"; empty without any."""
    counts = Counter(finding.state for finding in findings if finding.subject not in ALL.values())
    return ", ".join(f"{counts[state]} {state_words(state)}" for state in STATES if counts[state])


def state_words(state: str) -> str:
    """A state as readers see it: "untested" is "not tested here"."""
    return "not tested here" if state == "untested" else state


def by_claim(findings: Sequence[Finding]) -> dict[str, dict[str, list[Finding]]]:
    """Findings by claim and range, in their order."""
    found: dict[str, dict[str, list[Finding]]] = {}
    for finding in findings:
        found.setdefault(finding.claim, {}).setdefault(finding.range, []).append(finding)
    return found


def answer(results: "DataFrame", subject: Subject) -> list[str]:
    """The report's first sentences: the paper's conclusion here, who misses the mark, accuracies at one sparsity.

    Args:
        results: of one study, network and data set.
        subject: what they say.
    """
    return [*subject.sentences(theme.display_name), *_at_one_sparsity(results, subject)]


def _at_one_sparsity(results: "DataFrame", subject: Subject) -> list[str]:
    found, metric = subject.ranges, subject.standard.metric
    cells = curves.points(results, subject.standard)
    shown = [point for point in curves.earliest(cells) if point.cell.ablation == UNMODIFIED]
    if not shown:
        return []
    sparsity = max(found.matching, default=max(point.cell.sparsity for point in shown))
    reason = (
        ", the highest at which magnitude pruning after training keeps up with the dense network and random pruning "
        "does not,"
        if found.matching
        else ", the highest of the study,"
    )
    here = {point.series: point for point in shown if point.cell.sparsity == sparsity}
    methods = [p for name, p in here.items() if not p.cell.benchmark and name != "random"]
    reached = [f"{theme.display_name(one.series)} {_accuracy(one, metric)}" for one in methods]
    references = theme.series_styles(name for name, p in here.items() if p.cell.benchmark or name == "random")
    reached += [f"{style.display_name} {_accuracy(here[name], metric)}" for name, style in references.items()]
    dense = curves.dense(cells)
    if dense is not None:
        reached.append(f"the dense network {_accuracy(dense, metric)}")
    sentence = f"At {percent_number(sparsity)} % sparsity{reason} mean test accuracies are: {', '.join(reached)}."
    return [metric.reworded(sentence)]


def _accuracy(point: Point, metric: Metric) -> str:
    return f"{point.mean:.1f} %" if metric.name == "accuracy" else f"{point.mean:.2f}"


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
    """Sentence on the runs that failed or diverged, and what became of them; empty if all are done."""
    statuses = Counter(str(status) for status in results["status"])
    sentences: list[str] = []
    if statuses["failed"]:
        verb = "is" if statuses["failed"] == 1 else "are"
        sentences.append(f"{statuses['failed']} of {len(results)} runs failed and {verb} left out.")
    lost = _without_number(results)
    if count := statuses["diverged"] - lost:
        ended = "the accuracy it" if count == 1 else "the accuracies they"
        sentences.append(f"{count} diverged and {'counts' if count == 1 else 'count'} with {ended} ended with.")
    if lost:
        them = "it has" if lost == 1 else "them has"
        sentences.append(f"{lost} diverged without a number, and no comparison with {them} a verdict.")
    return " ".join(sentences)


def _without_number(results: "DataFrame") -> int:
    """How many runs diverged and have no finite value of the metric, another than accuracy, that they are judged by."""
    if not {"metric", "metric_value"} <= set(results.columns):
        return 0
    judged = results[(results["status"] == "diverged") & results["metric"].notna() & (results["metric"] != "accuracy")]
    return sum(not math.isfinite(value) for value in judged["metric_value"].astype(float))
