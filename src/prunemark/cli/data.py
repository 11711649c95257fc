"""`data fetch` and `data verify`: the files of data sets."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunemark.cli import completion
from prunemark.cli.console import make_console
from prunemark.cli.exits import FAILED_JOBS

if TYPE_CHECKING:
    from prunemark.datasets.fetching import FileReport

app = typer.Typer(help="Fetch and verify data sets.", no_args_is_help=True, rich_markup_mode=None)

_SHIPPED = "part of the package: nothing to fetch"

Name = Annotated[str, typer.Argument(help="A data set's name.", metavar="NAME", autocompletion=completion.datasets)]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data sets.", envvar="PRUNEMARK_DATA", metavar="DIR")]


@app.command(short_help="Download a data set's files; resumes partial downloads.")
def fetch(name: Name, data_dir: DataDir = None) -> None:
    """Download the missing files of a data set, resume partial downloads, and verify all of it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from prunemark.datasets import split_scheme
    from prunemark.datasets.fetching import fetch as fetch_files

    console = make_console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, object] = {}
    with bar:

        def progress(file: str, here: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
                if not console.is_terminal:
                    console.print(f"downloading {file}", markup=False)
            bar.update(tasks[file], completed=here, total=total)  # pyright: ignore[reportArgumentType]

        reports = fetch_files(name, data_dir=data_dir, progress=progress)
    _tell(reports, nothing=f"{name} is here" if split_scheme(name)[0] else _SHIPPED)


@app.command(short_help="Say which files are there, missing or damaged.")
def verify(name: Name, data_dir: DataDir = None) -> None:
    """Say which files of a data set are there, missing or damaged; exit with 1 unless all are there."""
    from prunemark.datasets.fetching import verify as verify_files

    reports = verify_files(name, data_dir=data_dir)
    _tell(reports, nothing=_SHIPPED)
    if any(report.state != "present" for report in reports):
        raise typer.Exit(FAILED_JOBS)


def _tell(reports: "Iterable[FileReport]", *, nothing: str) -> None:
    lines = [_line(report) for report in reports]
    for line in lines or [nothing]:
        make_console().print(line, markup=False, soft_wrap=True)


def _line(report: "FileReport") -> str:
    if report.state in ("damaged", "incomplete"):
        return f"{report.state}  {report.name}  expected {report.expected}, found {report.found} in {report.path}"
    return f"{report.state:<8} {report.name}{f'  {report.path}' if report.path else ''}"
