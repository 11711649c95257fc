"""The database file of a folder of results: made, opened, checked, and brought up to date. No torch."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from prunemark.study.lock import StoreError
from prunemark.study.store.rows import COLUMNS, names, seal

FILE = "study.sqlite"
VERSION = 2
_APPLICATION = 0x50524D4B  # "PRMK"
_LONGEST_VALUE = 2**28
_LONGEST_QUERY_S = 600.0
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, hash TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE studies (
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, run_at TEXT NOT NULL, hash TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('done', 'diverged', 'failed')),
    spec TEXT NOT NULL,
    inputs TEXT NOT NULL,
    result TEXT NOT NULL,
    error TEXT NOT NULL,
    seconds REAL NOT NULL,
    device TEXT NOT NULL,
    torch_version TEXT NOT NULL,
    code_version TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    digest TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0,
    hash TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE trials (
    study TEXT NOT NULL REFERENCES studies (name),
    position INTEGER NOT NULL,
    network TEXT NOT NULL,
    dataset TEXT NOT NULL,
    method TEXT NOT NULL,
    ablation TEXT NOT NULL,
    benchmark TEXT NOT NULL,
    prune_at TEXT NOT NULL,
    sparsity REAL NOT NULL,
    replicate INTEGER NOT NULL,
    job_key TEXT NOT NULL,
    hash TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (study, position)
) STRICT;
"""
# The last line of the journal that the database knows.
_JOURNAL = "CREATE TABLE journal (at INTEGER NOT NULL, hash TEXT NOT NULL, end INTEGER NOT NULL) STRICT;"
_JOURNAL_COLUMNS = {"at": "INTEGER", "hash": "TEXT", "end": "INTEGER"}


# What says something of the system, or of us, and not of the file.
_NO_DAMAGE = {
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS),
}


class DamagedError(StoreError):
    """A database that is damaged; a writer rebuilds it."""


class ForeignError(StoreError):
    """A database that holds what we never write: somebody else's, or damaged where its tables are described."""


def create(file: Path) -> None:
    """Make an empty database.

    Raises:
        StoreError: the folder cannot be written to.
    """
    # Made aside and moved into place: a database that exists is a whole one.
    unfinished = file.with_suffix(".new")
    try:
        unfinished.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(unfinished)) as connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.executescript(_TABLES + _JOURNAL)
        unfinished.replace(file)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot write to {file.parent}: {error}") from None


@contextlib.contextmanager
def opened(file: Path, *, writable: bool) -> Generator[sqlite3.Connection]:
    """A connection to a database that is one of ours, whole, and holds nothing but our tables.

    A folder comes from anywhere: no view or trigger of its database runs, no query runs for ever.

    Raises:
        DamagedError: it is damaged.
        ForeignError: it holds something else than our tables.
        StoreError: it cannot be used, or is not ours.
    """
    with contextlib.ExitStack() as stack:
        with explained(file):
            place = file if writable else _readable(file, stack)
            uri = f"{place.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)))
            connection.create_function("seal", -1, seal, deterministic=True)
            limit(connection)
            _require_ours(connection, file)
        with explained(file):
            yield connection


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables."""
    return connection.execute("PRAGMA user_version").fetchone()[0]


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of an earlier version up to date: every row gets its hash."""
    with connection as db:
        db.execute("BEGIN IMMEDIATE")
        for table in COLUMNS:
            if table == "jobs":
                db.execute("ALTER TABLE jobs ADD COLUMN digest TEXT NOT NULL DEFAULT ''")
                db.execute("ALTER TABLE jobs ADD COLUMN size INTEGER NOT NULL DEFAULT 0")
            db.execute(f"ALTER TABLE {table} ADD COLUMN hash TEXT NOT NULL DEFAULT ''")
            db.execute(f"UPDATE {table} SET hash = seal('{table}', {names(table)})")
        db.execute(_JOURNAL)
        db.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def explained(file: Path) -> Generator[None]:
    """Turn the errors of a database into a StoreError that says what can be done."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (error.sqlite_errorcode or 0) & 0xFF not in _NO_DAMAGE:
            raise damaged(file, error) from error
        reason = str(error)
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            reason = f"a query took more than {_LONGEST_QUERY_S:g} s; its content is not prunemark's"
        raise StoreError(f"{file} cannot be used: {reason}") from error


def damaged(file: Path, reason: object) -> DamagedError:
    """The error for a damaged database."""
    return DamagedError(
        f"{file} is damaged ({reason}); the next run in this folder rebuilds it, as does: prunemark verify "
        f"{file.parent} --repair"
    )


def _readable(file: Path, stack: contextlib.ExitStack) -> Path:
    """The file, or a copy: beside a log that was left behind, SQLite reads only where it may write."""
    log = file.with_name(f"{file.name}-wal")
    if not log.exists() or os.access(file.parent, os.W_OK):
        return file
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prunemark-")))
    for each in (file, log):
        shutil.copyfile(each, folder / each.name)
    return folder / file.name


def limit(connection: sqlite3.Connection) -> None:
    """Bound what the content of a database can make a connection do: values, attached files, functions, time."""
    began = time.monotonic()
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    ticks = [began, began]

    def too_long() -> bool:
        # Called only while a query runs: a pause is the end of one.
        now = time.monotonic()
        if now - ticks[1] > 5:
            ticks[0] = now
        ticks[1] = now
        return now - ticks[0] > _LONGEST_QUERY_S

    connection.set_progress_handler(too_long, 1_000_000)


def _require_ours(connection: sqlite3.Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    found = version(connection)
    if application != _APPLICATION:
        raise StoreError(f"{file} is a database, but not one of prunemark")
    if found > VERSION:
        raise StoreError(f"{file} was written by a newer prunemark (schema {found}, this one reads {VERSION})")
    content = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    expected = {table: _columns(table, found) for table in COLUMNS}
    if found > 1:
        expected["journal"] = _JOURNAL_COLUMNS
    foreign = [f"{kind} {name!r}" for kind, name, _ in content if kind != "table" or name not in expected]
    for table, columns in expected.items():
        rows = connection.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()
        if rows != [(name, kind, 0) for name, kind in columns.items()]:
            foreign.append(f"a table {table!r} of another form")
    if foreign:
        raise ForeignError(f"{file} holds what no prunemark writes, and is not read: {', '.join(foreign[:3])[:300]}")
    (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise damaged(file, health)


def _columns(table: str, found: int) -> dict[str, str]:
    columns = {name: kind for name, kind in COLUMNS[table].items() if found > 1 or name not in ("digest", "size")}
    return columns | ({"hash": "TEXT"} if found > 1 else {})
