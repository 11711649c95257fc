"""`list`: what is known by name."""

import json as json_format
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from prunemark.cli import completion
from prunemark.cli.console import make_console
from prunemark.registry import Entry
from prunemark.terms.numbers import by_sides, counted

if TYPE_CHECKING:
    from rich.table import Table

    from prunemark import plugins

E = TypeVar("E", bound=Entry)
Rows = Iterable[tuple[str, ...]]


def list_names(
    kind: Annotated[
        str,
        typer.Argument(help="methods, networks, datasets or studies.", metavar="KIND", autocompletion=completion.kinds),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print names with what is said of them as JSON.")] = False,
) -> None:
    """List what is known by name."""
    from prunemark.datasets import DATASETS
    from prunemark.methods import METHODS
    from prunemark.networks import NETWORKS
    from prunemark.registry import unknown

    kinds: dict[str, dict[str, Rows]] = {
        "methods": {"": _rows(METHODS, lambda e: f"{e.source}; {counted(e.rounds, 'round')}")},
        "networks": {"": _rows(NETWORKS, lambda e: e.source)},
        "datasets": {
            "": _rows(DATASETS, lambda e: f"{e.train_examples:,} + {e.test_examples:,} of {by_sides(e.input_shape)}")
        },
        "studies": _studies(),
    }
    if kind not in kinds:
        raise ValueError(unknown("kind", kind, kinds))
    if json:
        rows = [row for part in kinds[kind].values() for row in part]
        said = [dict(zip(("name", "summary", "facts"), row, strict=False)) for row in rows]
        print(json_format.dumps(said, indent=1, ensure_ascii=False))
        return
    console = make_console()
    with console.capture() as capture:
        for heading, rows in kinds[kind].items():
            if heading:
                console.print(f"\n{heading}", markup=False)
            console.print(_table(rows))
    # The table fills its lines with blanks.
    for line in capture.get().splitlines():
        print(line.rstrip())


def _rows(table: "plugins.Table[E]", about: Callable[[E], str]) -> Rows:
    """Name, summary and facts of each entry, with its package unless that is ours; or why it cannot be used."""
    for name in table:
        try:
            entry = table[name]
        except ValueError as error:
            yield name, str(error), table.origin(name)
        else:
            yield name, entry.summary, "; ".join(filter(None, [about(entry), str(entry.package or "")]))


def _studies() -> dict[str, Rows]:
    """The shipped studies under headings: those of their own, then the experiments and the settings of all others."""
    from prunemark.study.shipped import WHOLE, experiments, settings, single_studies, study_name

    questions, places = experiments(), settings()
    setting = next(iter(places))
    experiment = next(name for name in questions if name != WHOLE)
    named = f"{experiment} on {setting}: {study_name(experiment, setting)}; {WHOLE} on it: {setting}"
    return {
        "": single_studies().items(),
        f"Experiments ({named})": questions.items(),
        "Settings": places.items(),
    }


def _table(rows: Rows) -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table
