"""The command line: the composition root. Commands import what they need when they run, so `--help` is quick."""

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from prunemark.cli import data, models, names, studies
from prunemark.cli.exits import INTERRUPTED, WRONG_USAGE
from prunemark.version import __version__

app = typer.Typer(
    name="prunemark",
    help="Does a way of pruning a neural network early in training hit the mark?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(studies.run)
app.command("report")(studies.report)
app.command("export")(studies.export)
app.command("check")(studies.check)
app.command("prune")(models.prune)
app.command("inspect")(models.inspect)
app.command("list")(names.list_names)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line; exit with 0 when done, 1 when jobs failed, 2 for wrong usage or input."""
    try:
        app()
    except (ValueError, OSError) as error:
        for line in _sentences(error):
            print(f"error: {line}", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _sentences(error: Exception) -> Iterable[str]:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return [f"{error.filename}: {error.strerror}"]
    problems: Iterable[str] = getattr(error, "problems", ())
    return list(problems) or [str(error)]


def _version(value: bool) -> None:
    if value:
        print(f"prunemark {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
