"""The command line: the composition root. Commands import what they need when they run, so `--help` is quick."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunemark.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from prunemark.study.progress import Event, Progress
    from prunemark.study.run import RunSummary

app = typer.Typer(
    name="prunemark",
    help="Does a way of pruning a neural network early in training hit the mark?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DONE, FAILED_JOBS, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


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


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study.", metavar="STUDY.toml|NAME")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for results and report; by default prunemark-NAME.", metavar="DIR")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Jobs at the same time; by default one a core.", min=1)] = None,
    executor: Annotated[str, typer.Option(help="Where jobs run.")] = "local",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data sets lie.", envvar="PRUNEMARK_DATA", metavar="DIR")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the study, print its plan and expected time.")
    ] = False,
) -> None:
    """Run what is missing of a study, then judge it and write its report."""
    from prunemark.study.run import run as run_study
    from prunemark.study.spec import Study

    checked = Study.load(study)
    folder = out or Path(f"prunemark-{checked.name}")
    with _ProgressBar() as progress:
        summary = run_study(
            checked,
            out=folder,
            workers=workers,
            executor=executor,
            device=device,
            data_dir=data_dir,
            progress=progress,
            dry_run=dry_run,
        )
    if dry_run:
        return
    console = _console()
    _tell(console, summary, folder)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    _judge(console, folder, checked.name, folder / "report.html")
    if summary.failed:
        raise typer.Exit(FAILED_JOBS)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder of results.", metavar="DIR")],
    out: Annotated[Path | None, typer.Option(help="The page to write; by default DIR/report.html.")] = None,
    study: Annotated[
        str | None, typer.Option(help="Which study, if the folder holds several; by default the last.")
    ] = None,
) -> None:
    """Judge the results in a folder, print the verdicts and write the report; also while a study runs."""
    _judge(_console(), folder, study, out or folder / "report.html")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A folder of results.", metavar="DIR")],
    format: Annotated[str, typer.Option(help="csv, parquet or json.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default DIR/results.FORMAT.")] = None,
    study: Annotated[str | None, typer.Option(help="Only this study of the folder.")] = None,
) -> None:
    """Write the results in a folder as a table: one row a trial."""
    from prunemark.study.store import export as export_results

    print(export_results(folder, format=format, to=out, study=study))  # pyright: ignore[reportArgumentType]


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(help="methods, networks, datasets or studies.", metavar="KIND")],
) -> None:
    """List what is known by name."""
    from rich.table import Table

    from prunemark.datasets import DATASETS
    from prunemark.methods import METHODS
    from prunemark.networks import NETWORKS
    from prunemark.registry import unknown
    from prunemark.study.spec import studies

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
    _console().print(table)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    # A file or pipe has no width; 80 columns would wrap tables that are then read elsewhere.
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def _tell(console: "Console", summary: "RunSummary", folder: Path) -> None:
    from rich.markup import escape

    from prunemark.study.progress import duration

    for key, reason in summary.failures:
        console.print(f"[red]failed[/red] {key[:12]}: {escape(reason)}")
    if summary.interrupted:
        console.print(f"stopped; {summary.left:,} jobs are left. Run the same command again to go on.")
        return
    words = [f"{summary.done:,} jobs done in {duration(summary.seconds)}"]
    if summary.skipped:
        words.append(f"{summary.skipped:,} were there already")
    if summary.failed:
        words.append(f"{summary.failed:,} failed: run again to retry them")
    console.print(f"{', '.join(words)}; results are in {escape(str(folder))}")


def _judge(console: "Console", folder: Path, study: str | None, page: Path) -> None:
    from prunemark.registry import unknown
    from prunemark.report import results_table, verdict_table, write_report
    from prunemark.stats import claims, verdicts
    from prunemark.study.store import Store

    with Store.reading(folder) as store:
        specs = store.studies()
        if study is not None and study not in specs:
            raise ValueError(unknown("study", study, specs))
        if not specs:
            raise ValueError(f"{folder} holds no study yet")
        name = study or list(specs)[-1]
        table = store.results(name)
    if table.empty:
        raise ValueError(f"no trial of {name} in {folder} has finished yet")
    judged = verdicts(table, margin=specs[name]["margin"])
    summary = claims(judged)
    path = write_report(table, judged, summary, study_name=name, facts=_facts(specs[name], table), out=page)
    console.print(results_table(table))
    console.print(verdict_table(judged, summary))
    console.print(f"report: {path}", soft_wrap=True)


def _facts(spec: dict[str, Any], table: Any) -> dict[str, str]:
    """What a reader needs to know to trust or repeat the numbers."""
    import platform

    seconds = table.drop_duplicates("job_key")["train_seconds"].sum()
    return {
        "Network": spec["network"],
        "Data set": spec["dataset"],
        "Replicates": str(spec["replicates"]),
        "Margin": f"{spec['margin']:g} percentage points",
        "Recipe overrides": ", ".join(f"{key} = {value}" for key, value in spec["recipe"].items()) or "none",
        "Training time": f"{seconds / 3600:.2f} core hours",
        "Device": ", ".join(sorted(set(table["device"].dropna()))),
        "Machine of this report": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "Versions": "; ".join(
            f"prunemark {code}, torch {torch}"
            for code, torch in table[["code_version", "torch_version"]].drop_duplicates().itertuples(index=False)
        ),
    }


class _ProgressBar:
    """A bar with the time left on terminals, a line a tenth of the way elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console = _console(stderr=True)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs, {task.fields[left]} left"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: Any = None
        self.tenths = 0

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _tell(self, event: "Event") -> None:
        from prunemark.study.progress import Planned, duration

        if isinstance(event, Planned):
            self.console.print(event.describe(), markup=False)
            if event.jobs:
                self.task = self.bar.add_task("", total=event.jobs, left=duration(event.seconds))
            return
        left = duration(event.seconds_left)
        if event.status == "failed":
            self.console.print(
                f"failed {event.kind} {event.key[:12]}: {event.error.partition(chr(10))[0]}", markup=False
            )
        if self.task is not None:
            self.bar.update(self.task, completed=event.jobs_done, left=left)
        tenths = 10 * event.jobs_done // event.jobs_total
        if not self.console.is_terminal and tenths > self.tenths:
            self.tenths = tenths
            self.console.print(f"{event.jobs_done:,} of {event.jobs_total:,} jobs done, {left} left", markup=False)
