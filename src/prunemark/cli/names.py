"""`list`: what is known by name."""

from typing import Annotated

import typer

from prunemark.cli.console import make_console


def list_names(
    kind: Annotated[str, typer.Argument(help="methods, networks, datasets or studies.", metavar="KIND")],
) -> None:
    """List what is known by name."""
    from rich.table import Table

    from prunemark.datasets import DATASETS
    from prunemark.methods import METHODS
    from prunemark.networks import NETWORKS
    from prunemark.registry import unknown
    from prunemark.study.files import studies

    kinds: dict[str, list[tuple[str, str, str]]] = {
        "methods": [
            (name, e.summary, f"{e.source}; {e.rounds} round{'s' if e.rounds > 1 else ''}")
            for name, e in METHODS.items()
        ],
        "networks": [(name, e.summary, e.source) for name, e in NETWORKS.items()],
        "datasets": [
            (name, e.summary, f"{e.train_examples:,} + {e.test_examples:,} of {'x'.join(map(str, e.input_shape))}")
            for name, e in DATASETS.items()
        ],
        "studies": [(name, description, "") for name, description in studies().items()],
    }
    if kind not in kinds:
        raise ValueError(unknown("kind", kind, kinds))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    table.add_column(style="dim")
    for row in kinds[kind]:
        table.add_row(*row)
    console = make_console()
    with console.capture() as capture:
        console.print(table)
    # The table fills its lines with blanks.
    for line in capture.get().splitlines():
        print(line.rstrip())
