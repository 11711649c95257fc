"""Artifacts that nothing needs any more. No torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from prunemark.artifacts import artifact_key
from prunemark.parts import is_part
from prunemark.study.lock import StoreError
from prunemark.study.store import database
from prunemark.study.store.folder import Store


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What was removed from a folder, or would be.

    Attributes:
        files: how many files.
        size: their bytes.
        kept: how many artifacts are left.
    """

    files: int
    size: int
    kept: int


def clean(folder: str | Path, *, everything: bool = False, dry_run: bool = False) -> Cleaning:
    """Remove artifacts (checkpoints, scores, masks) that nothing needs any more. No result is removed.

    Those go that no trial of the folder's studies rests on: of studies that were changed since, of jobs that were not
    recorded, and what runs that were killed left behind. How far unfinished jobs are stays: the next run resumes them.

    Args:
        folder: of results.
        everything: also those on which finished trials alone rest. A study that is extended later, by a sparsity or a
            method, computes them again.
        dry_run: remove nothing.

    Raises:
        StoreError: the folder holds no results, or another process writes to it.
    """
    folder = Path(folder)
    if not Store.is_in(folder):
        raise StoreError(f"{folder} holds no results of prunemark: there is no {folder / database.FILE}")
    with Store.writing(folder) as store:
        needed, resumable = _needed(store, everything=everything)
        paths = [path for path in store.artifacts.iterdir() if path.is_file() or path.is_symlink()]
        gone = [path for path in paths if artifact_key(path) not in (resumable if is_part(path) else needed)]
        size = sum(path.lstat().st_size for path in gone)
        if not dry_run:
            for path in gone:
                path.unlink(missing_ok=True)
        return Cleaning(files=len(gone), size=size, kept=len(paths) - len(gone))


def _needed(store: Store, *, everything: bool) -> tuple[set[str], set[str]]:
    """Keys of the jobs on whose artifacts trials rest, with `everything` those that have not finished; and of the jobs
    that may be resumed.
    """
    done = {key for key, status in store.finished().items() if status != "failed"}
    inputs = {key: json.loads(text).values() for key, text in store.connection.execute("SELECT key, inputs FROM jobs")}
    wanted = {key for (key,) in store.connection.execute("SELECT DISTINCT job_key FROM trials")}
    unfinished, begun = wanted - done, set[str]()
    if unfinished - inputs.keys():
        # What a job that was never recorded needs is known to its plan alone.
        wanted |= inputs.keys()
        begun = {artifact_key(path) for path in store.artifacts.glob("*.part")}
    elif everything:
        wanted = unfinished
    found: set[str] = set()
    stack = list(wanted)
    while stack:
        key = stack.pop()
        if key not in found:
            found.add(key)
            stack += inputs.get(key, ())
    return found - unfinished, found | begun
