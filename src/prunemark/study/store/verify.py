"""Verification of a folder of results: every row against its hash, every artifact against its digest. No torch."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from prunemark.artifacts import artifact_key, digest_of, has_its_length, size_of
from prunemark.study.lock import StoreError
from prunemark.study.store import database, journal
from prunemark.study.store.folder import Store
from prunemark.study.store.rebuild import changed_rows
from prunemark.study.store.rows import COLUMNS


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at in a folder, and what is wrong with it.

    Attributes:
        rows: how many rows were verified.
        artifacts: how many artifacts were.
        lines: how many lines of the journal were.
        unknown: how many artifacts cannot be verified but for their length, because a version that recorded no digest
            wrote them.
        strays: how many artifacts are of no job that was recorded: a kill leaves such, and `clean` removes them.
        problems: what is damaged, a sentence each.
        repaired: what was done about it, a sentence each.
    """

    rows: int
    artifacts: int
    lines: int
    unknown: int = 0
    strays: int = 0
    problems: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()


def verify(folder: str | Path, *, repair: bool = False) -> Verification:
    """Verify a folder of results, which takes reading all of it.

    Args:
        folder: of results.
        repair: restore the database and its rows from the journal as far as possible, and remove every artifact that
            is damaged, so that the next run computes what it needs of them again. The digests of artifacts that have
            none are recorded as they are now: what changed in them before is not found by that.

    Returns:
        What was found; with `repair` as it was before.

    Raises:
        StoreError: the folder holds no results, or, with `repair`, cannot be written to.
    """
    folder = Path(folder)
    if not Store.is_in(folder):
        raise StoreError(f"{folder} holds no results of prunemark: there is no {folder / database.FILE}")
    found = _look(folder)
    if not repair:
        return found
    with Store.writing(folder) as store:
        repaired = list(store.notes)
        for key, size, digest in _recorded(store):
            if problem := _artifact_problem(store.artifact(key), size, digest):
                if store.artifact(key).exists():
                    store.discard_artifact(key)
                    repaired.append(f"{store.artifact(key)} was removed: {problem}")
            elif not digest and (there := size_of(store.artifact(key))) is not None:
                store.record_digest(key, digest_of(store.artifact(key)), there)
    return replace(found, repaired=tuple(repaired))


def _look(folder: Path) -> Verification:
    problems: list[str] = []
    rows = artifacts = unknown = strays = 0
    try:
        with Store.reading(folder) as store:
            for table, count, bad in _tables(store):
                rows += count
                problems += [f"{folder / database.FILE}: row {each} of {table} is not what was stored" for each in bad]
            known: set[str] = set()
            for key, size, digest in _recorded(store):
                known.add(key)
                if problem := _artifact_problem(store.artifact(key), size, digest):
                    problems.append(problem)
                elif digest:
                    artifacts += 1
                elif size_of(store.artifact(key)) is not None:
                    unknown += 1
            strays = sum(1 for _ in _strays(store.artifacts, known))
    except StoreError as error:
        problems.append(str(error))
    lines = list(_lines(folder))
    problems += [f"{folder / journal.FILE}: line {number:,} is damaged" for number, whole in lines if not whole]
    return Verification(
        rows=rows, artifacts=artifacts, lines=len(lines), unknown=unknown, strays=strays, problems=tuple(problems)
    )


def _tables(store: Store) -> Iterator[tuple[str, int, list[int]]]:
    if not store.has_hashes:
        return
    for table in COLUMNS:
        yield table, store.count(table), changed_rows(store.connection, table)


def _recorded(store: Store) -> list[tuple[str, int, str]]:
    """Key, size and digest of each finished job; 0 and "" where none were recorded."""
    columns = "key, size, digest" if store.has_hashes else "key, 0, ''"
    return store.connection.execute(f"SELECT {columns} FROM jobs WHERE status != 'failed'").fetchall()


def _artifact_problem(path: Path, size: int, digest: str) -> str:
    there = size_of(path)
    if not digest:
        return "" if there is None or has_its_length(path) else f"{path} is no whole artifact"
    if there is None:
        return f"{path} is missing"
    if there != size:
        return f"{path} has {there:,} bytes, and {size:,} were written"
    return "" if digest_of(path) == digest else f"{path} is not the file that was written: its SHA-256 is another"


def _strays(folder: Path, known: set[str]) -> Iterator[Path]:
    """Artifacts of jobs that were not recorded, as a kill leaves them between the two."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.safetensors"):
            if artifact_key(path) not in known:
                yield path


def _lines(folder: Path) -> Iterator[tuple[int, bool]]:
    for number, (_, entry) in enumerate(journal.read(folder), 1):
        yield number, entry is not None
