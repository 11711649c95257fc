"""The report's tables for terminals: they fit the terminal's width by going on below, and cut no word short."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prunemark.reports import curves, theme, words
from prunemark.reports.trust import Remark, trust
from prunemark.stats import Finding, Judged
from prunemark.stats.conditions import conditions
from prunemark.stats.predicates import State
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.metrics import METRICS, Metric
from prunemark.terms.numbers import percent_number, pp

if TYPE_CHECKING:
    from pandas import DataFrame

RANGES = ("matching", "extreme", "all")
"""The ranges in which claims are judged, in the order of the tables."""

_GUTTER = 3
"""Blanks that rich puts between two columns."""

_STYLES: dict[State, str] = {"supported": "green", "contradicted": "red", "open": "yellow", "untested": "dim"}
_MARKS: dict[State, str] = {"supported": "✓", "contradicted": "✗", "open": "?", "untested": "·"}
_ASCII = str.maketrans({"±": "+-", "’": "'", "–": "-", "−": "-"})
_ASCII_MARKS: dict[State, str] = {"supported": "+", "contradicted": "x", "open": "?", "untested": "."}


def terminal_summary(judged: Judged, results: "DataFrame", remarks: Sequence[Remark] = ()) -> RenderableType:
    """Summary of a study for a terminal: the answer, how far to trust it, the claims, the ranges, the accuracies."""
    return Group(claims_table(judged, remarks), ranges_table(judged), results_table(results))


def claims_table(judged: Judged, remarks: Sequence[Remark] = ()) -> RenderableType:
    """The answer of a study for a terminal, then the claims, one per line, then each claim's numbers.

    A number is the difference in percentage points, left minus right, what it says about the claim, and its interval.
    Several networks or data sets follow each other.

    Args:
        judged: what the results say.
        remarks: how far to trust it, of a study with one network and data set; by default what `judged` tells.
    """
    parts: list[RenderableType] = []
    several = len(judged.subjects) > 1
    for subject in judged.subjects:
        reword = subject.standard.metric.reworded
        first, *more = subject.sentences(theme.display_name)
        named = f"{subject.network} on {subject.dataset}: {first}" if several else first
        parts += [_Words(named, "bold"), *map(_Words, more), Text()]
        known = remarks if remarks and not several else trust(subject)
        parts += [_Words(f"{one.about}: {reword(one.text)}", "dim") for one in known]
        claims = words.by_claim(subject.findings)
        parts.append(_claims_table(claims, reword))
        for claim, by_range in claims.items():
            findings = [finding for here in by_range.values() for finding in here]
            if any(finding.effect for finding in findings):
                title = Text(f"{claim}  {reword(findings[0].statement)}", style="bold")
                parts += [Text(), title, _Numbers(findings=findings)]
    return Group(*parts, Text(), _Legend(judged.subjects[0].standard.metric.reworded))


def results_table(results: "DataFrame") -> RenderableType:
    """Mean test accuracy in percent and its sample standard deviation, one line per method and ablation.

    Rewinding to further steps is left to the report's table, and said to be.

    Raises:
        ValueError: the table holds more than one study, network or data set.
    """
    cells = curves.points(results)
    shown = curves.without_further_steps(cells)
    further = len({point.series for point in cells}) - len({point.series for point in shown})
    sparsities, rows = curves.grid(shown)
    late = len(curves.steps(cells)) > 1
    labelled = [
        (
            Text(
                ", ".join(
                    filter(
                        None, [theme.display_name(row.series), _ablation(row.ablation), row.prune_at if late else ""]
                    )
                )
            ),
            {f"{percent_number(s)} %": Text(curves.accuracy_text(point)) for s, point in row.points.items()},
        )
        for row in rows
    ]
    dense = curves.dense(cells)
    heading = Text(f"{_metric(results).reworded('test accuracy (%)')}, mean ± standard deviation", style="bold")
    if dense is not None:
        heading.append(f"; dense network {curves.accuracy_text(dense)}", style="not bold")
    parts: list[RenderableType] = [
        heading,
        _Grid(columns=[f"{percent_number(s)} %" for s in sparsities], rows=labelled)
        if labelled
        else "Nothing was pruned: the study names no methods and no benchmarks, or none of them has finished.",
    ]
    if further:
        parts.append(
            Text(f"Rewinding to {further} further step{'s' if further > 1 else ''} is in the report.", style="dim")
        )
    return Group(*parts)


def ranges_table(judged: Judged) -> RenderableType:
    """The trivial, matching and extreme sparsities of each network and data set, for a terminal (E7)."""
    lines = [Text(f"{one.network} on {one.dataset}: {words.ranges_sentence(one.ranges)}") for one in judged.subjects]
    return Group(Text("Sparsity ranges", style="bold"), *lines)


def _ablation(name: str) -> str:
    return "" if name == UNMODIFIED else theme.display_name(name)


def _claims_table(claims: Mapping[str, Mapping[str, Sequence[Finding]]], reword: Callable[[str], str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("claim", overflow="fold", ratio=3)
    names = [name for name in RANGES if any(name in by_range for by_range in claims.values())]
    for name in names:
        table.add_column(name, overflow="fold", ratio=2)
    for claim, by_range in claims.items():
        if any(finding.effect for here in by_range.values() for finding in here):
            statement = next(iter(by_range.values()))[0].statement
            table.add_row(claim, reword(statement), *(_standing(by_range.get(name, ())) for name in names))
    untested = [claim for claim, by_range in claims.items() if not any(f.effect for x in by_range.values() for f in x)]
    if untested:
        table.caption = Text(f"Not tested here: {', '.join(untested)}.")
        table.caption_justify = "left"
    return table


def _standing(findings: Sequence[Finding]) -> Text:
    if not findings:
        return Text("-", style="dim")
    one = words.together(findings)
    if one is None:
        return Text(words.divided(findings))
    text = Text(words.state_words(one.state), style=_STYLES[one.state])
    tally = words.divided(findings)
    return text.append(f"\n{tally}", style="dim") if len(findings) > 1 else text


def _width(texts: Iterable[Text]) -> int:
    return max((cell_len(line) for text in texts for line in text.plain.split("\n")), default=1)


@dataclass(frozen=True)
class _Words:
    """Sentences, in the characters that the terminal can show."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text.translate(_ASCII) if options.ascii_only else self.text, style=self.style)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Labelled rows of short cells; columns that do not fit beside each other continue below."""

    columns: Sequence[str]
    rows: Sequence[tuple[Text, dict[str, Text]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, dash = options.max_width, "-" if options.ascii_only else "–"
        label_width = min(_width(label for label, _ in self.rows), max(width * 35 // 100, 16))
        cell_width = max(_width(cell for _, cells in self.rows for cell in cells.values()), *map(len, self.columns))
        fitting = max(1, (width - label_width) // (cell_width + _GUTTER))
        for start in range(0, len(self.columns), fitting):
            shown = self.columns[start : start + fitting]
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
            table.add_column("", overflow="fold", width=label_width)
            for column in shown:
                table.add_column(column, justify="right", no_wrap=True)
            for label, cells in self.rows:
                if any(column in cells for column in shown):
                    table.add_row(label, *(cells.get(column, Text(dash, style="dim")) for column in shown))
            yield Padding(table, (0, 0, 1 if start + fitting < len(self.columns) else 0, 0))


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    """A claim's findings: one row per method or benchmark, one column per range."""

    findings: Sequence[Finding]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII_MARKS if options.ascii_only else _MARKS
        columns = [name for name in RANGES if any(one.range == name for one in self.findings)]
        rows: dict[str, dict[str, Text]] = {}
        for one in self.findings:
            rows.setdefault(one.subject, {})[one.range] = _number(one, marks)
        yield _Grid(columns=columns, rows=[(Text(theme.display_name(name)), cells) for name, cells in rows.items()])


def _number(finding: Finding, marks: dict[State, str]) -> Text:
    mark = marks[finding.state]
    found = finding.effect
    if found is None or not found.replicates:
        return Text(f"- {mark}", style=_STYLES[finding.state])
    text = Text(f"{pp(found.difference)} {mark}", style=_STYLES[finding.state])
    if found.low == found.low:
        text.append(f"\n[{_short(found.low)}, {_short(found.high)}]", style="dim")
    return text


def _short(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 9.995 else f"{value:+.1f}"


def _metric(results: "DataFrame") -> Metric:
    """What one study is judged by."""
    return next((said.metric for said in conditions(results).values()), METRICS["accuracy"])


class _Legend:
    """Legend of the marks, in those that the terminal can show."""

    def __init__(self, reword: Callable[[str], str]) -> None:
        self._reword = reword

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII_MARKS if options.ascii_only else _MARKS
        yield from self._lines(marks)

    def _lines(self, marks: dict[State, str]) -> Iterator[Text]:
        what = self._reword("Differences of mean test accuracy in percentage points")
        yield Text(f"{what}, means over a range's sparsities, with intervals.", style="dim")
        yield Text(", ".join(f"{mark} {words.state_words(state)}" for state, mark in marks.items()), style="dim")
