"""What was lost of a database is restored: from the journal, and from what can still be read. No torch."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunemark.study.store import database, journal
from prunemark.study.store.journal import Entry, Journal, Position
from prunemark.study.store.rows import COLUMNS, Row, names, seal, sealed

_BESIDE = ("-wal", "-shm")
_TYPES = {"TEXT": str, "REAL": float, "INTEGER": int}
# The columns by which a row replaces another one.
_KEYS = {"facts": ("name",), "studies": ("name",), "jobs": ("key",), "trials": ("study", "position")}
_WHEN = {"jobs": "finished_at", "studies": "run_at"}


@dataclass
class Content:
    """Rows, wherever they come from, with the newest of each; rows of another form than ours are left out."""

    rows: dict[str, dict[Row, Row]] = field(default_factory=lambda: {table: {} for table in COLUMNS})
    unreadable: int = 0

    def add(self, entry: Entry | None) -> None:
        """Take in an entry of a journal; it is newer than what was taken in before."""
        match entry:
            case {"trials": list(rows), "study": str(study)} if all(_fits("trials", row) for row in rows):
                known = self.rows["trials"]
                for position in [position for position in known if position[0] == study]:
                    del known[position]
                for row in rows:
                    known[row[0], row[1]] = tuple(row)
            case {"facts": row} | {"studies": row} | {"jobs": row} if _fits(table := next(iter(entry)), row):
                self.put(table, tuple(row))
            case _:
                self.unreadable += 1

    def put(self, table: str, row: Row) -> None:
        """Take in a row, unless a newer one is there."""
        key = tuple(row[list(COLUMNS[table]).index(name)] for name in _KEYS[table])
        known = self.rows[table].get(key)
        when = list(COLUMNS[table]).index(_WHEN[table]) if table in _WHEN else None
        if known is None or when is None or row[when] >= known[when]:
            self.rows[table][key] = row

    def write(self, connection: sqlite3.Connection) -> None:
        """Put the rows into a database, in place of what is there under their keys."""
        for table in COLUMNS:
            rows = (sealed(table, row) for row in self.rows[table].values())
            marks = ", ".join("?" * (len(COLUMNS[table]) + 1))
            connection.executemany(f"INSERT OR REPLACE INTO {table} ({names(table)}, hash) VALUES ({marks})", rows)


def restore_database(file: Path, *, salvage: bool = True) -> list[str]:
    """Make a database in place of one that is missing, empty or damaged, from the journal and what can be read.

    Args:
        file: the database.
        salvage: whether to read what can be read of a damaged one.

    Returns:
        What was found and done, a sentence each; nothing where the folder is new.

    Raises:
        StoreError: the folder cannot be written to.
    """
    there = file.exists() and file.stat().st_size > 0
    what = "is damaged" if there else "is empty" if file.exists() else "is missing"
    content = Content()
    if there and salvage:
        for table, row in _salvaged(file):
            content.put(table, row)
    for _, entry in journal.read(file.parent):
        content.add(entry)
    aside = file.with_suffix(".damaged")
    # A log that belongs to another database would be played back into the new one.
    for suffix in ("", *_BESIDE):
        old = file.with_name(file.name + suffix)
        if old.exists():
            old.replace(aside.with_name(aside.name + suffix))
    database.create(file)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        content.write(connection)
    count = len(content.rows["jobs"])
    if not there and not count:
        return [f"{file} {what}, and so is the journal"] if any(file.parent.glob("artifacts/*.safetensors")) else []
    kept = f"; the damaged one is {aside}" if there else ""
    return [f"{file} {what}: rebuilt with {count:,} jobs from {journal.FILE} and what could be read{kept}"]


def restore_rows(connection: sqlite3.Connection, folder: Path) -> list[str]:
    """Replace rows whose hash is not theirs by those of the journal; what it does not have is removed.

    Returns:
        What was found and done, a sentence each.
    """
    bad = {table: changed_rows(connection, table) for table in COLUMNS}
    if not any(bad.values()):
        return []
    content = Content()
    for _, entry in journal.read(folder):
        content.add(entry)
    said: list[str] = []
    with connection:
        for table, ids in bad.items():
            connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(each,) for each in ids])
        for table, ids in bad.items():
            if not ids:
                continue
            sound = set(connection.execute(f"SELECT {names(table)} FROM {table}"))
            missing = [row for row in content.rows[table].values() if row not in sound]
            restored = Content()
            for row in missing:
                restored.put(table, row)
            restored.write(connection)
            lost = len(ids) - len(missing)
            parts = [f"{len(missing):,} restored from {journal.FILE}"] if missing else []
            parts += [f"{lost:,} in no journal either, and computed again where needed"] if lost > 0 else []
            said.append(f"{len(ids):,} rows of {table} were not what was stored: {', '.join(parts)}")
    return said


def changed_rows(connection: sqlite3.Connection, table: str) -> list[int]:
    """Row ids of the rows of a table whose hash is not theirs."""
    found: list[int] = []
    # As bytes: one may have been changed into what is no UTF-8.
    connection.text_factory = bytes
    try:
        for rowid, *values, digest in connection.execute(f"SELECT rowid, {names(table)}, hash FROM {table}"):
            if digest != seal(table, *values).encode():
                found.append(rowid)
    finally:
        connection.text_factory = str
    return found


def reconcile(connection: sqlite3.Connection, log: Journal) -> list[str]:
    """Bring database and journal together, whichever of them is behind.

    Returns:
        What was found and done, a sentence each; nothing where they agree, or where there was no journal yet.
    """
    folder, known = log.path.parent, position(connection)
    # An empty journal knows nothing, whatever the database remembers of it.
    follows = 0 < known.end <= log.size and journal.ends_at(folder, known)
    if follows and known.end == log.size:
        return []
    content, last = Content(), known if follows else Position()
    for found, entry in journal.read(folder, since=known.end if follows else 0):
        content.add(entry)
        last = found
    with connection:
        late = _late(content, _all_rows(connection), newer=follows)
        for study in {row[0] for row in late.rows["trials"].values()}:
            connection.execute("DELETE FROM trials WHERE study = ?", (study,))
        late.write(connection)
        if not follows:
            last = _append_missing(connection, log, content) or last
        set_position(connection, Position(last.at, last.hash, log.size))
    count = sum(map(len, late.rows.values()))
    return [f"{count:,} rows that {database.FILE} had lost were restored from {journal.FILE}"] if count else []


def _late(content: Content, ours: dict[str, dict[Row, Row]], *, newer: bool) -> Content:
    """Rows of the journal that a database lacks or has in an earlier form; of a study, all trials or none.

    Args:
        content: the rows of the journal.
        ours: those of the database.
        newer: whether all in the journal is known to be newer, whatever the clocks said.
    """
    late = Content()
    for table in ("facts", "studies", "jobs"):
        for key, row in content.rows[table].items():
            mine = ours[table].get(key)
            if mine is None or (mine != row and (newer or _newer(table, row, mine))):
                late.put(table, row)
    trials: dict[str, dict[Row, Row]] = {}
    for key, row in content.rows["trials"].items():
        trials.setdefault(row[0], {})[key] = row
    for study, rows in trials.items():
        mine, theirs = ours["studies"].get((study,)), content.rows["studies"].get((study,))
        known = {key: row for key, row in ours["trials"].items() if key[0] == study}
        if known != rows and (
            newer or not known or mine is None or (theirs is not None and _newer("studies", theirs, mine))
        ):
            late.rows["trials"] |= rows
    return late


def position(connection: sqlite3.Connection) -> Position:
    """The last line of the journal that the database knows."""
    row = connection.execute("SELECT at, hash, end FROM journal").fetchone()
    return Position(*row) if row else Position()


def set_position(connection: sqlite3.Connection, last: Position) -> None:
    """Record the last line of the journal that the database knows."""
    connection.execute("DELETE FROM journal")
    connection.execute("INSERT INTO journal VALUES (?, ?, ?)", (last.at, last.hash, last.end))


def _append_missing(connection: sqlite3.Connection, log: Journal, content: Content) -> Position | None:
    last = None
    mine = _all_rows(connection)
    for table in ("facts", "studies", "jobs"):
        entries = [{table: list(row)} for key, row in mine[table].items() if content.rows[table].get(key) != row]
        for start in range(0, len(entries), 1000):
            last = log.append(*entries[start : start + 1000])
    studies: dict[str, list[Row]] = {}
    for row in mine["trials"].values():
        studies.setdefault(row[0], []).append(row)
    for study, rows in studies.items():
        if any(content.rows["trials"].get((row[0], row[1])) != row for row in rows):
            last = log.append({"trials": [list(row) for row in rows], "study": study})
    return last


def _all_rows(connection: sqlite3.Connection) -> dict[str, dict[Row, Row]]:
    found = Content()
    for table in COLUMNS:
        for row in connection.execute(f"SELECT {names(table)} FROM {table} ORDER BY rowid"):
            found.put(table, row)
    return found.rows


def _newer(table: str, row: Row, other: Row) -> bool:
    if table not in _WHEN:
        return True
    when = list(COLUMNS[table]).index(_WHEN[table])
    return row[when] >= other[when]


def _salvaged(file: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a damaged database that can be read and are whole: by their hash, or, of versions that had none, by
    their form.
    """
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as connection:
        database.limit(connection)
        sealed_rows = database.version(connection) > 1
        for table in COLUMNS:
            for row in _readable_rows(connection, table, sealed_rows=sealed_rows):
                yield table, row


def _readable_rows(connection: sqlite3.Connection, table: str, *, sealed_rows: bool) -> Iterator[Row]:
    columns = [name for name in COLUMNS[table] if sealed_rows or name not in ("digest", "size")]
    columns += ["hash"] if sealed_rows else []
    for direction in ("ASC", "DESC"):
        # Up to the damaged page from either end.
        with contextlib.suppress(sqlite3.Error):
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid {direction}"):
                if sealed_rows:
                    *values, digest = row
                    whole = digest == seal(table, *values)
                else:
                    values = [*row, "", 0] if table == "jobs" else list(row)
                    whole = table != "jobs" or _is_json(values[3:6])
                if whole and _fits(table, values):
                    yield tuple(values)


def _fits(table: str, row: Any) -> bool:
    kinds = COLUMNS[table].values()
    return (
        isinstance(row, list | tuple)
        and len(row) == len(kinds)
        and all(type(value) is _TYPES[kind] for value, kind in zip(row, kinds, strict=True))
        and (table != "jobs" or row[2] in ("done", "diverged", "failed"))
    )


def _is_json(texts: Iterable[Any]) -> bool:
    try:
        return all(isinstance(json.loads(text), dict) for text in texts)
    except (TypeError, ValueError, RecursionError):
        return False
