"""`list`: what is known by name."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from prunemark.cli.console import make_console
from prunemark.terms.numbers import by_sides

if TYPE_CHECKING:
    from rich.table import Table

Rows = Iterable[tuple[str, ...]]


def list_names(
    kind: Annotated[str, typer.Argument(help="methods, networks, datasets or studies.", metavar="KIND")],
) -> None:
    """List what is known by name."""
    from prunemark.datasets import DATASETS
    from prunemark.methods import METHODS
    from prunemark.networks import NETWORKS
    from prunemark.registry import unknown

    kinds: dict[str, dict[str, Rows]] = {
        "methods": {
            "": [
                (name, e.summary, f"{e.source}; {e.rounds} round{'s' if e.rounds > 1 else ''}")
                for name, e in METHODS.items()
            ]
        },
        "networks": {"": [(name, e.summary, e.source) for name, e in NETWORKS.items()]},
        "datasets": {
            "": [
                (name, e.summary, f"{e.train_examples:,} + {e.test_examples:,} of {by_sides(e.input_shape)}")
                for name, e in DATASETS.items()
            ]
        },
        "studies": _studies(),
    }
    if kind not in kinds:
        raise ValueError(unknown("kind", kind, kinds))
    console = make_console()
    with console.capture() as capture:
        for heading, rows in kinds[kind].items():
            if heading:
                console.print(f"\n{heading}", markup=False)
            console.print(_table(rows))
    # The table fills its lines with blanks.
    for line in capture.get().splitlines():
        print(line.rstrip())


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
