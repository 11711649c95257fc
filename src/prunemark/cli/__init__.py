"""The command line: the composition root. Commands import what they need when they run, so `--help` is quick."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from prunemark.cli import bench, data, folders, models, names, studies
from prunemark.cli.exits import INTERRUPTED, WRONG_USAGE
from prunemark.cli.signals import taken_as_ctrl_c
from prunemark.terms.text import printable
from prunemark.version import __version__

app = typer.Typer(
    name="prunemark",
    help="Does a way of pruning a neural network early in training hit the mark?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run", short_help="Run a study, judge it and write its report.")(studies.run)
app.command("report", short_help="Judge what is there and write the report.")(studies.report)
app.command("export", short_help="Write the results as a table.")(studies.export)
app.command("verify", short_help="Verify everything that is stored in a folder.")(folders.verify)
app.command("clean", short_help="Remove what no result needs any more.")(folders.clean)
app.command("check", short_help="Put a scoring function of yours through a battery.")(studies.check)
app.command("prune", short_help="Prune a network and write its masks.")(models.prune)
app.command("inspect", short_help="Say what masks are and what they do.")(models.inspect)
app.command("list")(names.list_names)
app.command("bench", short_help="Measure how fast training and scoring are here.")(bench.bench)
app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line.

    It exits with 0 when done, 1 when jobs failed, 2 for wrong usage or input, 130 after Ctrl-C, and as shells count it,
    with 143 or 129, after SIGTERM or SIGHUP.
    """
    with taken_as_ctrl_c() as stopped:
        try:
            app()
        except (ValueError, OSError) as error:
            for line in _sentences(error):
                _say(f"error: {printable(line)}")
            sys.exit(128 + stopped[0] if stopped else WRONG_USAGE)
        except SystemExit as exit_:
            # typer turns Ctrl-C into this exit code and says nothing; a run that was stopped has said what is left.
            if exit_.code == INTERRUPTED and _came_from_keyboard(exit_):
                _say("interrupted")
            if exit_.code == INTERRUPTED and stopped:
                sys.exit(128 + stopped[0])
            raise


def _say(line: str) -> None:
    # To nobody, where the terminal has been closed.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _came_from_keyboard(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


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
