"""`verify` and `clean`: folders of results on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from prunemark.cli.console import make_console
from prunemark.cli.exits import FAILED_JOBS
from prunemark.terms.numbers import counted

Folder = Annotated[Path, typer.Argument(help="A folder of results.", metavar="DIR")]


def verify(
    folder: Folder,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Restore rows from the journal, and remove damaged artifacts: the next run computes them again.",
        ),
    ] = False,
) -> None:
    """Verify every row and every artifact of a folder against its hash; exit with 1 if something is damaged."""
    from prunemark.study.store.verify import verify as verify_folder

    console = make_console()
    found = verify_folder(folder, repair=repair)
    for problem in found.problems:
        console.print(problem, markup=False, soft_wrap=True)
    for done in found.repaired:
        console.print(f"repaired: {done}", markup=False, soft_wrap=True)
    words = [
        f"{'found before the repair: ' if repair and found.problems else ''}{counted(found.rows, 'row')}, "
        f"{counted(found.lines, 'line')} of the journal and {counted(found.artifacts, 'artifact')} in order",
        counted(len(found.problems), "problem")
        if found.problems
        else f"all {'that can be verified' if found.unknown else 'of it'} is what was stored",
    ]
    if found.unknown:
        recorded = "is recorded now" if repair else "--repair records"
        whose = f"{counted(found.unknown, 'artifact')} of an earlier version without a digest"
        words.append(f"{whose}, which {recorded} from the files as they are: what changed before is not found")
    if found.strays:
        words.append(f"{counted(found.strays, 'artifact')} of no recorded job, which prunemark clean removes")
    console.print("; ".join(words), soft_wrap=True)
    if found.problems and repair:
        console.print("run the study again: what was lost and is needed is computed then", soft_wrap=True)
    elif found.problems:
        raise typer.Exit(FAILED_JOBS)


def clean(
    folder: Folder,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also what finished trials rest on; a study that is extended computes it again."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove checkpoints, scores and masks that no trial of the folder rests on; results stay."""
    from prunemark.study.store.clean import clean as clean_folder

    done = clean_folder(folder, everything=everything, dry_run=dry_run)
    verb = "would be removed" if dry_run else "removed"
    make_console().print(f"{done.files:,} files {verb}, {done.size / 1e6:,.1f} MB; {done.kept:,} artifacts are left")
