"""`run`, `report`, `export` and `check`: studies on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunemark.cli import completion
from prunemark.cli.console import ProgressBar, make_console
from prunemark.cli.exits import FAILED_JOBS, INTERRUPTED
from prunemark.terms.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from prunemark.study.judging import JudgedStudy
    from prunemark.study.run import RunSummary

Workers = Annotated[int | None, typer.Option(help="Jobs at the same time; by default one a core.", min=1)]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data sets.", envvar="PRUNEMARK_DATA", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print the headline and the judged claims as JSON.")]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print nothing of the plan and the progress; what fails is said.")
]
CheckTimeout = Annotated[
    float | None,
    typer.Option(help="Seconds that code of yours may take when it is checked; by default 300.", min=1, metavar="S"),
]
JobTimeout = Annotated[
    float | None, typer.Option(help="Seconds that a job may take; by default there is no limit.", min=0, metavar="S")
]
JobMemory = Annotated[
    float | None, typer.Option(help="GiB that a worker's process may take; by default what there is.", min=0)
]
CheckpointMinutes = Annotated[
    float, typer.Option(help="Minutes after which a job writes down how far it is, to be resumed there.", min=0)
]
Device = Annotated[str, typer.Option(help="cpu, cuda (all GPUs), cuda:1 (one of them), mps or auto.")]
WorkersPerDevice = Annotated[int | None, typer.Option(help="How many jobs share a GPU; by default 1.", min=1)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change a field of the study: recipe.epochs=5. May be given several times.", metavar="FIELD=VALUE"
    ),
]
Engine = Annotated[
    str, typer.Option(help="What takes the steps of training: dense, sparse, or auto, which is sparse where it pays.")
]

Track = Annotated[
    str | None,
    typer.Option(
        help="Send curves and results there, too: tensorboard, mlflow or wandb.",
        metavar="NAME[:TARGET]",
        autocompletion=completion.trackers,
    ),
]


def run(
    study: Annotated[
        str,
        typer.Argument(
            help="A study file, or the name of a shipped study.",
            metavar="STUDY.toml|NAME",
            autocompletion=completion.studies,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for results and report; by default prunemark-NAME.", metavar="DIR")
    ] = None,
    set: Set = None,
    workers: Workers = None,
    executor: Annotated[str, typer.Option(help="Where jobs run: local, or ray (a Ray cluster).")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", metavar="ADDRESS")
    ] = None,
    cpus_per_job: Annotated[float | None, typer.Option(help="Cores of the cluster for each job.", min=0)] = None,
    gpus_per_job: Annotated[
        float | None, typer.Option(help="GPUs of the cluster for each job, also a fraction of one.", min=0)
    ] = None,
    device: Device = "auto",
    workers_per_device: WorkersPerDevice = None,
    engine: Engine = "dense",
    data_dir: DataDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the study, print its plan and expected time.")
    ] = False,
    check_timeout: CheckTimeout = None,
    job_timeout: JobTimeout = None,
    job_memory: JobMemory = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    track: Track = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run what is missing of a study, then judge it and write its report."""
    from prunemark.datasets.files import data_folder
    from prunemark.study.changes import parse_changes
    from prunemark.study.run import run as run_study
    from prunemark.study.spec import Study

    with data_folder(data_dir):
        checked = Study.load(study, set=parse_changes(set or ()))
    folder = out or Path(f"prunemark-{checked.name}")
    for code in checked.own_code:
        # Before it is: a study comes from anywhere, and a label may be any name.
        make_console(stderr=True).print(f"runs code: {printable(code)}", markup=False, soft_wrap=True)
    with ProgressBar(quiet=quiet) as progress:
        summary = run_study(
            checked,
            out=folder,
            workers=workers,
            executor=executor,
            address=address,
            cpus_per_job=cpus_per_job,
            gpus_per_job=gpus_per_job,
            device=device,
            workers_per_device=workers_per_device,
            engine=engine,
            data_dir=data_dir,
            progress=progress,
            dry_run=dry_run,
            check_timeout_s=check_timeout,
            job_timeout_s=job_timeout,
            job_memory_gib=job_memory,
            checkpoint_minutes=checkpoint_minutes,
            track=track,
        )
    if dry_run:
        return
    console = make_console()
    _tell(make_console(stderr=True), summary, folder, quiet=quiet)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    show(console, folder, checked.name, folder / "report.html", json=json)
    if summary.failed:
        raise typer.Exit(FAILED_JOBS)


def report(
    folder: Annotated[Path, typer.Argument(help="A folder of results.", metavar="DIR")],
    out: Annotated[Path | None, typer.Option(help="The page to write; by default DIR/report.html.")] = None,
    study: Annotated[
        str | None, typer.Option(help="Which study, if the folder holds several; by default the last.")
    ] = None,
    json: Json = False,
) -> None:
    """Judge the results in a folder, print the verdicts and write the report; also while a study runs."""
    show(make_console(), folder, study, out or folder / "report.html", json=json)


def export(
    folder: Annotated[Path, typer.Argument(help="A folder of results.", metavar="DIR")],
    what: Annotated[
        str, typer.Option(help="trials (one row per trial), curves (per trial and epoch), claims, cells or layers.")
    ] = "trials",
    format: Annotated[str, typer.Option(help="csv, parquet, json or latex.")] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="The file to write; by default DIR/results.FORMAT, DIR/claims.FORMAT and so on.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Only this study of the folder.")] = None,
) -> None:
    """Write the results in a folder as a table."""
    from prunemark.study.exports import export as export_results

    print(export_results(folder, what=what, format=format, to=out, study=study))  # pyright: ignore[reportArgumentType]


def check(
    method: Annotated[str, typer.Argument(help="Your scoring function.", metavar="FILE.py:METHOD")],
    study: Annotated[
        str, typer.Option(help="Whose battery to run: a shipped study, or a file.", autocompletion=completion.studies)
    ] = "check",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for results and report; by default prunemark-check-METHOD.", metavar="DIR"),
    ] = None,
    set: Set = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "dense",
    data_dir: DataDir = None,
    check_timeout: CheckTimeout = None,
    job_timeout: JobTimeout = None,
    job_memory: JobMemory = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    against: Annotated[
        str | None,
        typer.Option(
            help="Methods to compare it with, such as snip,grasp,synflow.",
            metavar="NAMES",
            autocompletion=completion.several_methods,
        ),
    ] = None,
    sparsities: Annotated[
        str | None, typer.Option(help="Pruned fractions, such as 0.9,0.98, in place of the study's.", metavar="S,...")
    ] = None,
    replicates: Annotated[
        int | None, typer.Option(help="Sets of seeds, in place of the study's; fewer than 3 give no verdict.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Write the answers as a table, too: csv, latex, json or parquet.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Put a scoring function of yours through the paper's battery, and say whether its decisions matter."""
    from prunemark.cli.battery import battery, tell_answers
    from prunemark.datasets.files import data_folder
    from prunemark.study.changes import parse_changes
    from prunemark.study.judging import judge_study
    from prunemark.study.run import run as run_study

    with data_folder(data_dir):
        checked, label, rivals = battery(
            method, study, against, sparsities, replicates, format, changes=parse_changes(set or ())
        )
    folder = out or Path(f"prunemark-{checked.name}")
    with ProgressBar(quiet=quiet) as progress:
        summary = run_study(
            checked,
            out=folder,
            workers=workers,
            device=device,
            engine=engine,
            data_dir=data_dir,
            progress=progress,
            check_timeout_s=check_timeout,
            job_timeout_s=job_timeout,
            job_memory_gib=job_memory,
            checkpoint_minutes=checkpoint_minutes,
        )
    console = make_console()
    _tell(make_console(stderr=True), summary, folder, quiet=quiet)
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    judged = judge_study(folder, study=checked.name)
    if not json:
        _print_summary(console, judged)
    tell_answers(console, judged, folder, label, rivals, format, json=json)
    drawn = _draw(console, judged, folder / "report.html", quiet=json)
    if summary.failed or not drawn:
        raise typer.Exit(FAILED_JOBS)


def _tell(console: "Console", summary: "RunSummary", folder: Path, *, quiet: bool = False) -> None:
    from rich.markup import escape

    from prunemark.study.progress import duration

    for key, reason in summary.failures:
        console.print(f"[red]failed[/red] {key[:12]}: {escape(reason)}")
    if summary.interrupted:
        left = f"{summary.left:,} jobs are left" if summary.left else "all jobs up to the next look are done"
        console.print(f"stopped; {left}. Run the same command again to resume.")
        return
    if quiet:
        return
    words = [f"{summary.done:,} jobs done in {duration(summary.seconds)}"]
    if summary.skipped:
        words.append(f"{summary.skipped:,} were there already")
    if summary.failed:
        words.append(f"{summary.failed:,} failed: run again to retry them")
    console.print(f"{', '.join(words)}; results are in {escape(str(folder))}")


def show(console: "Console", folder: Path, study: str | None, page: Path, *, json: bool = False) -> None:
    """Print what the results of a study say, and write its report.

    Args:
        console: where to print.
        folder: of the results.
        study: which of the folder's; None = the last that was run.
        page: the report's path.
        json: print what they say as JSON instead, see `prunemark.study.judging.as_json`.

    Raises:
        ValueError: there is no such study, or none of its trials has finished.
        OSError: the folder holds no results.
        typer.Exit: the report could not be written; what the results say is printed all the same.
    """
    from prunemark.study.judging import as_json, judge_study

    judged = judge_study(folder, study=study)
    if json:
        path = _written(judged, page)
        print(as_json(judged, page=path))
        drawn = path is not None
    else:
        _print_summary(console, judged)
        drawn = _draw(console, judged, page)
    if not drawn:
        raise typer.Exit(FAILED_JOBS)


def _print_summary(console: "Console", judged: "JudgedStudy") -> None:
    from prunemark.reports.tables import terminal_summary
    from prunemark.reports.trust import trust

    remarks = trust(judged.subjects[0], finished=len(judged.results), planned=judged.planned, shares=judged.shares)
    console.print(terminal_summary(judged, judged.results, remarks))


def _draw(console: "Console", judged: "JudgedStudy", page: Path, *, quiet: bool = False) -> bool:
    """Write the report and say where it is; False if that failed, which is said."""
    # Drawing may end the process, and hides nothing of what was said before.
    console.file.flush()
    path = _written(judged, page)
    if path and not quiet:
        console.print(f"report: {path}", soft_wrap=True)
    return path is not None


def _written(judged: "JudgedStudy", page: Path) -> Path | None:
    """The report, written; None where that failed, which is said."""
    from prunemark.study.reporting import write

    try:
        return write(judged, page)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        make_console(stderr=True).print(
            f"the report could not be written: {printable(reason)}; the results are stored, and "
            f"prunemark report draws them again",
            markup=False,
            soft_wrap=True,
        )
        return None
