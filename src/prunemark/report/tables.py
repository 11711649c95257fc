"""The report's tables for terminals: they fit the terminal's width by going on below, and cut no word short."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from prunemark.report import curves, theme, words
from prunemark.stats import Claim, Verdict, ranges
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.numbers import percent_number, pp

if TYPE_CHECKING:
    from pandas import DataFrame

_GUTTER = 3
"""Blanks that rich puts between two columns."""

_STATE_STYLES: dict[words.State, str] = {
    "holds": "bold green",
    "mixed": "bold yellow",
    "does not hold": "bold red",
    "not settled": "bold",
    "not tested": "dim",
}
_SUPPORT_STYLES: dict[words.Support, str] = {
    "supports": "green",
    "against": "red",
    "undecided": "yellow",
    "no verdict": "dim",
}
_MARKS: dict[words.Support, str] = {"supports": "✓", "against": "✗", "undecided": "?", "no verdict": "·"}
_ASCII_MARKS: dict[words.Support, str] = {"supports": "+", "against": "x", "undecided": "?", "no verdict": "."}


def verdict_table(verdicts: Sequence[Verdict], claims: Sequence[Claim]) -> RenderableType:
    """The verdicts for a terminal: first the claims, one a line, then each claim's cells by comparison and sparsity.

    A cell shows the difference in percentage points, left minus right, what it says about the claim, and the 90 %
    confidence interval. Several networks or data sets follow each other.

    Args:
        verdicts: of `prunemark.stats.verdicts`.
        claims: of `prunemark.stats.claims` about them.
    """
    if not claims:
        return Text("No verdicts: the study has no comparison that tests one of the paper's claims.")
    parts: list[RenderableType] = []
    for (network, dataset), group in groupby(claims, key=lambda one: (one.network, one.dataset)):
        mine = list(group)
        parts.append(_claims_table(mine, verdicts, f"{network} on {dataset}"))
        for claim in mine:
            cells = words.about(claim, verdicts)
            if cells:
                parts += [Text(), Text(f"{claim.claim}  {claim.statement}", style="bold"), _Cells(cells=cells)]
    return Group(*parts, Text(), _Legend())


def results_table(results: "DataFrame") -> RenderableType:
    """Mean test accuracy in percent and its sample standard deviation, a line a method and ablation, for a terminal.

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
                    filter(None, [theme.label(row.series), _ablation(row.ablation), row.prune_at if late else ""])
                )
            ),
            {f"{percent_number(s)} %": Text(curves.accuracy_text(point)) for s, point in row.points.items()},
        )
        for row in rows
    ]
    dense = curves.dense(cells)
    heading = Text("test accuracy (%), mean ± standard deviation", style="bold")
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


def ranges_table(results: "DataFrame", *, margin: float) -> RenderableType:
    """The trivial, matching and extreme sparsities of each network and data set, for a terminal (E7).

    Args:
        results: as `prunemark.results` returns them.
        margin: in percentage points, as for the verdicts.

    Raises:
        ValueError: the table is malformed, or the margin is not positive and finite.
    """
    lines = [
        Text(f"{found.network} on {found.dataset}: {words.ranges_sentence(found)}")
        for found in ranges(results, margin=margin)
    ]
    return Group(Text("Sparsity ranges", style="bold"), *lines)


def _ablation(name: str) -> str:
    return "" if name == UNMODIFIED else theme.label(name)


def _claims_table(claims: Sequence[Claim], verdicts: Sequence[Verdict], title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("claim", overflow="fold", ratio=3)
    table.add_column("here", no_wrap=True)
    table.add_column("cells", overflow="fold", ratio=2)
    for claim in claims:
        state = words.state(claim)
        table.add_row(
            claim.claim,
            claim.statement,
            Text(state, style=_STATE_STYLES[state]),
            words.tally(claim, words.about(claim, verdicts)),
        )
    return table


def _width(texts: Iterable[Text]) -> int:
    return max((cell_len(line) for text in texts for line in text.plain.split("\n")), default=1)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Labelled rows of short cells; columns that do not fit beside each other go on below."""

    columns: Sequence[str]
    rows: Sequence[tuple[Text, dict[str, Text]]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
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
                    table.add_row(label, *(cells.get(column, Text("–", style="dim")) for column in shown))
            yield Padding(table, (0, 0, 1 if start + fitting < len(self.columns) else 0, 0))


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """A claim's cells: a row a comparison, a column a sparsity."""

    cells: Sequence[Verdict]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII_MARKS if options.ascii_only else _MARKS
        sparsities = sorted({one.sparsity for one in self.cells if one.sparsity is not None})
        rows: dict[tuple[str, str], dict[str, Text]] = {}
        for one in self.cells:
            column = "" if one.sparsity is None else f"{percent_number(one.sparsity)} %"
            rows.setdefault((one.left, one.right), {})[column] = _cell(one, marks)
        columns = [f"{percent_number(sparsity)} %" for sparsity in sparsities]
        columns += [""] if any(one.sparsity is None for one in self.cells) else []
        yield _Grid(columns=columns, rows=[(_comparison(*names), cells) for names, cells in rows.items()])


def _comparison(left: str, right: str) -> Text:
    return Text.assemble(left, ("\nvs ", "dim"), (right, "dim"))


def _cell(verdict: Verdict, marks: dict[words.Support, str]) -> Text:
    support = words.support(verdict)
    found = f"{pp(verdict.difference)} {marks[support]}" if verdict.replicates else f"– {marks[support]}"
    text = Text(
        found if verdict.counted else f"({found})", style=_SUPPORT_STYLES[support] if verdict.counted else "dim"
    )
    if verdict.low == verdict.low:
        text.append(f"\n[{_short(verdict.low)}, {_short(verdict.high)}]", style="dim")
    return text


def _short(value: float) -> str:
    return f"{value:+.2f}" if abs(value) < 9.995 else f"{value:+.1f}"


class _Legend:
    """What the marks mean, in the marks that the terminal can show."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII_MARKS if options.ascii_only else _MARKS
        yield from self._lines(marks)

    def _lines(self, marks: dict[words.Support, str]) -> Iterator[Text]:
        yield Text(
            "Differences of mean test accuracy in percentage points, with 90 % confidence intervals.", style="dim"
        )
        named = ", ".join(f"{mark} {support}" for support, mark in marks.items())
        yield Text(f"{named}; in parentheses: outside the claim's scope, not counted.", style="dim")
