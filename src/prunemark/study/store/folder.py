"""`Store`: an open folder of results. No torch."""

import contextlib
import errno
import json
import os
import sqlite3
import warnings
from collections.abc import Generator, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from prunemark.artifacts import artifact_key, artifact_place, size_of
from prunemark.parts import is_part
from prunemark.registry import unknown
from prunemark.study.correctness import Right, unpack
from prunemark.study.job import Job, Outcome, Status
from prunemark.study.lock import StoreError, require_no_link, writer_lock
from prunemark.study.plan import Plan
from prunemark.study.store import database, journal, queries, tables
from prunemark.study.store.journal import Journal
from prunemark.study.store.rebuild import changed_rows, reconcile, restore_database, restore_rows, set_position
from prunemark.study.store.rows import COLUMNS, job_row, names, now, sealed, trial_rows
from prunemark.study.store.specs import study_fields
from prunemark.terms.ablations import ABLATIONS

if TYPE_CHECKING:
    import pandas as pd

_OWN_FILES = (
    *(database.FILE, f"{database.FILE}-wal", f"{database.FILE}-shm", f"{database.FILE}-journal"),
    *(journal.FILE, "workers.log", "artifacts", "study.new", "study.damaged"),
)


def open_log(path: Path) -> BinaryIO:
    """A log to be written at its end, made if there is none; a link is not followed.

    Raises:
        OSError: it cannot be written to, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab")


class DamagedRowsWarning(UserWarning):
    """Rows of a folder of results are not what was stored; they are left out."""


class Store:
    """An open results folder; made by `Store.reading` or `Store.writing`.

    Attributes:
        folder: its path.
        notes: what was found damaged and what was done about it, a sentence each.
        connection: to the database, for this package alone.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, log: Journal | None = None) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.connection = connection
        self._journal = log

    @property
    def artifacts(self) -> Path:
        """Folder of the workers' checkpoints, scores and masks."""
        return self.folder / "artifacts"

    @property
    def log(self) -> Path:
        """File that takes what the workers print."""
        return self.folder / "workers.log"

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        """True if the folder holds a store, damaged or not."""
        # Not Path.is_file, which fails where a name is too long.
        return any(os.path.isfile(Path(folder) / name) for name in (database.FILE, journal.FILE))  # noqa: PTH113

    @classmethod
    @contextlib.contextmanager
    def reading(cls, folder: str | Path) -> Generator[Self]:
        """Open a folder to read from, also while it is being written.

        Raises:
            StoreError: there is no store in it, or one that cannot be read.
        """
        folder = Path(folder)
        file = folder / database.FILE
        if not cls.is_in(folder):
            what = f"there is no {file}" if os.path.isdir(folder) else "there is no such folder"  # noqa: PTH112
            raise StoreError(f"{folder} holds no results of prunemark: {what}")
        if not file.is_file():
            raise database.damaged(file, "it is missing")
        if not file.stat().st_size:
            raise database.damaged(file, "it is empty")
        with database.opened(file, writable=False) as connection:
            yield cls(folder, connection)

    @classmethod
    @contextlib.contextmanager
    def writing(cls, folder: str | Path) -> Generator[Self]:
        """Open a folder to write to, as its only writer; make it if there is none.

        What is damaged is restored, see `prunemark.study.store.rebuild`, and what cannot be is no longer there;
        `notes` says so.

        Raises:
            StoreError: another process writes to it, it cannot be written to, what is there is not prunemark's, or
                files of it are links.
        """
        folder = Path(folder)
        with writer_lock(folder), contextlib.ExitStack() as stack:
            file = folder / database.FILE
            for name in _OWN_FILES:
                require_no_link(folder / name)
            try:
                (folder / "artifacts").mkdir(exist_ok=True)
                notes = _whole_database(file)
                log = stack.enter_context(Journal(folder))
            except StoreError:
                raise
            except OSError as error:
                raise StoreError(f"cannot write to {folder}: {error.strerror}") from None
            connection = stack.enter_context(database.opened(file, writable=True))
            connection.execute("PRAGMA journal_mode = WAL")
            # What a power failure takes from the end of its log comes back from the journal, which is written first.
            connection.execute("PRAGMA synchronous = NORMAL")
            if database.version(connection) < database.VERSION:
                database.upgrade(connection)
            notes += restore_rows(connection, folder)
            notes += reconcile(connection, log)
            connection.execute("PRAGMA foreign_keys = ON")
            store = cls(folder, connection, log)
            store.notes = notes
            store.remove_unfinished()
            yield store
            # At rest the store is one plain file, which can be copied and read from anywhere.
            connection.execute("PRAGMA busy_timeout = 0")
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = DELETE")

    def note(self, text: str) -> None:
        """Add to `notes`, and to the log."""
        self.notes.append(text)
        with open_log(self.log) as log:
            log.write(f"{text}\n".encode(errors="backslashreplace"))

    def begin(self, plan: Plan) -> None:
        """Record a study and its trials, in place of what was there under its name."""
        name = plan.study.name
        # After all others also where a clock was set back meanwhile: the study that was run last is the last.
        (latest,) = self.connection.execute("SELECT max(run_at) FROM studies").fetchone()
        study = (name, plan.study.model_dump_json(), max(now(), f"{latest}+" if latest else ""))
        rows = trial_rows(name, plan.trials)
        query = f"SELECT {names('trials')} FROM trials WHERE study = ? ORDER BY position"
        same = self.connection.execute(query, (name,)).fetchall() == rows
        entries: list[journal.Entry] = [{"studies": list(study)}]
        if not same:
            entries.append({"trials": [list(row) for row in rows], "study": name})
        with self._recorded(*entries) as db:
            if not same:
                db.execute("DELETE FROM trials WHERE study = ?", (name,))
            db.execute(
                "INSERT INTO studies VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET spec = excluded.spec, run_at = excluded.run_at, hash = excluded.hash",
                sealed("studies", study),
            )
            if not same:
                marks = ", ".join("?" * (len(COLUMNS["trials"]) + 1))
                db.executemany(f"INSERT INTO trials VALUES ({marks})", (sealed("trials", row) for row in rows))

    def require_fact(self, name: str, value: str, problem: str) -> None:
        """Record a fact on which all jobs of the folder rest.

        Raises:
            StoreError: it was recorded with another value; `problem` says what that means.
        """
        known = self.facts().get(name)
        if known is None:
            with self._recorded({"facts": [name, value]}) as db:
                db.execute("INSERT INTO facts VALUES (?, ?, ?)", sealed("facts", (name, value)))
        elif known != value:
            raise StoreError(f"{problem}: {self.folder} was begun with {known}, now it is {value}; use another folder")

    def record(self, job: Job, outcome: Outcome) -> None:
        """Record what came of a job; what was there before, such as a failure, is replaced.

        Raises:
            TypeError, ValueError: its result is no JSON.
        """
        row = job_row(job, outcome)
        columns, marks = f"{names('jobs')}, hash", ", ".join("?" * (len(row) + 1))
        with self._recorded({"jobs": list(row)}) as db:
            db.execute(f"INSERT OR REPLACE INTO jobs ({columns}) VALUES ({marks})", sealed("jobs", row))

    @contextlib.contextmanager
    def _recorded(self, *entries: journal.Entry) -> Generator[sqlite3.Connection]:
        """Write entries of the journal, then change the database to match."""
        assert self._journal is not None
        try:
            last = self._journal.append(*entries)
        except StoreError:
            raise
        except OSError as error:
            full = "; free space and run again" if error.errno == errno.ENOSPC else ""
            failure = StoreError(f"{self._journal.path} cannot be written to: {error.strerror}{full}")
            failure.errno = error.errno
            raise failure from error
        with self.connection as db:
            yield db
            set_position(db, last)

    def finished(self) -> dict[str, Status]:
        """Every recorded job: key -> status."""
        return dict(self.connection.execute("SELECT key, status FROM jobs"))

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """The failures among these jobs: key -> reason."""
        wanted = set(keys)
        rows = self.connection.execute("SELECT key, error FROM jobs WHERE status = 'failed'")
        return {key: error for key, error in rows if key in wanted}

    def artifact(self, key: str) -> Path:
        """Path of the artifact of a job, whether it exists or not."""
        return artifact_place(self.artifacts, key)

    def has_artifact(self, key: str) -> bool:
        """True if the artifact of a job is there, at the size that it was written with.

        Its content is verified when it is read, against `digests`.
        """
        size = size_of(self.artifact(key))
        row = self.connection.execute("SELECT digest, size FROM jobs WHERE key = ?", (key,)).fetchone()
        return size is not None and (row is None or not row[0] or row[1] == size)

    def digests(self, keys: Iterable[str]) -> dict[str, str]:
        """SHA-256 (hex) that the artifacts of jobs were written with, where it was recorded: key -> digest."""
        query = "SELECT key, digest FROM jobs WHERE digest != '' AND key = ?"
        return dict(row for key in keys for row in self.connection.execute(query, (key,)))

    def record_digest(self, key: str, digest: str, size: int) -> None:
        """Record what the artifact of a job that has none recorded is from now on known by."""
        row = self.connection.execute(f"SELECT {names('jobs')} FROM jobs WHERE key = ?", (key,)).fetchone()
        row = (*row[:-2], digest, size)
        with self._recorded({"jobs": list(row)}) as db:
            values = (digest, size, sealed("jobs", row)[-1], key)
            db.execute("UPDATE jobs SET digest = ?, size = ?, hash = ? WHERE key = ?", values)

    def discard_artifact(self, key: str) -> None:
        """Remove the artifact of a job, because it is not the one that was written."""
        self.artifact(key).unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what workers were writing when they were killed, and checkpoints within jobs that have finished.

        Files of artifacts begin with the key of a job: `KEY.safetensors` is its artifact, `KEY.part*` a state within
        it, and `.NAME.*` a file under way.
        """
        paths = [path for path in self.artifacts.iterdir() if not path.is_dir() or path.is_symlink()]
        unfinished = [path for path in paths if path.name.startswith(".")]
        parts = [path for path in paths if is_part(path)]
        status = self.finished() if parts else {}
        unfinished += [path for path in parts if status.get(artifact_key(path), "failed") != "failed"]
        for path in unfinished:
            path.unlink(missing_ok=True)

    def studies(self) -> dict[str, dict[str, Any]]:
        """The studies of the folder, the latest run last: name -> its fields."""
        rows = self._sound.execute("SELECT name, spec FROM studies ORDER BY run_at, rowid")
        return {name: study_fields(name, spec) for name, spec in rows}

    def details(self, job_key: str) -> dict[str, Any]:
        """Everything recorded of a job: key, kind, status, spec, inputs, result, error, seconds, versions.

        `result` holds exact counts per layer, certificates and the curve of training, by kind of job.

        Raises:
            ValueError: there is no such job.
        """
        cursor = self.connection.execute("SELECT * FROM jobs WHERE key = ?", (job_key,))
        row = cursor.fetchone()
        if row is None:
            raise ValueError(f"{self.folder} holds no job {job_key}")
        fields = dict(zip((column[0] for column in cursor.description), row, strict=True))
        return fields | {name: json.loads(fields[name]) for name in ("spec", "inputs", "result")}

    def prunable(self, study: str) -> tuple[int, int] | None:
        """Numbers of prunable weights and of all parameters of the study's network; None where no mask says."""
        return self._sound.execute(queries.PRUNABLE, {"study": study}).fetchone()

    def results(self, study: str | None = None) -> "pd.DataFrame":
        """The trials whose jobs have finished, as a table with `columns.TRIAL`.

        Args:
            study: only this one's; None = all studies of the folder.

        Raises:
            ValueError: there is no such study in the folder.
        """
        self._require(study)
        return tables.results(self._sound, study)

    def curves(self, study: str | None = None, *, ablations: Iterable[str] = tuple(ABLATIONS)) -> "pd.DataFrame":
        """The learning curves of the trials whose jobs have finished, with `columns.CURVE`: one row per epoch.

        The dense network's curve is put together from its stretches. Trainings that were stored without a curve, by
        studies that turned it off or by earlier versions, have no rows.

        Args:
            study: only this one's; None = all studies of the folder.
            ablations: only theirs.

        Raises:
            ValueError: there is no such study in the folder.
        """
        self._require(study)
        return tables.curves(self._sound, study, ablations)

    def accuracies(self, study: str | None = None) -> dict[tuple[str, str], list[float]]:
        """Test accuracy after each epoch of the trials that stored curves: (study, job's key) -> values."""
        self._require(study)
        return tables.accuracies(self._sound, study)

    def correct(self, study: str | None = None) -> "list[Right | None]":
        """Test images that each trial of `results` got right, in its order; None where that was not stored."""
        self._require(study)
        rows = self._sound.execute(queries.CORRECT, {"study": study})
        return [unpack(text) if text else None for (text,) in rows]

    def overlaps(self, study: str) -> dict[int, dict[float, float]]:
        """Share of the final magnitude mask that is that of the initial weights: replicate -> sparsity -> share."""
        found: dict[int, dict[float, float]] = {}
        for replicate, sparsity, overlap in self._sound.execute(queries.OVERLAPS, {"study": study}):
            found.setdefault(replicate, {})[sparsity] = overlap
        return found

    def facts(self) -> dict[str, str]:
        """Facts on which all jobs of the folder rest, such as fingerprints of data: name -> value."""
        return dict(self.connection.execute("SELECT name, value FROM facts ORDER BY rowid"))

    def dates(self, study: str) -> tuple[str, str] | None:
        """Ends of the first and the last of a study's trainings, in UTC as ISO 8601; None if none has ended."""
        cursor = self._sound.execute(queries.DATES, {"study": study})
        first, last = cursor.fetchone()
        return None if first is None else (first, last)

    def packages(self, study: str) -> list[tuple[str, str, str]]:
        """What of a study other packages added: (its name, the package's, the package's version)."""
        return list(self.connection.execute(queries.PACKAGES, {"study": study}))

    def planned(self, study: str) -> int:
        """Number of trials of the study, finished or not."""
        (count,) = self.connection.execute("SELECT count(*) FROM trials WHERE study = ?", (study,)).fetchone()
        return count

    def replicates(self, study: str) -> int:
        """Number of the study's replicates that have begun."""
        query = "SELECT coalesce(max(replicate) + 1, 0) FROM trials WHERE study = ?"
        (count,) = self.connection.execute(query, (study,)).fetchone()
        return count

    def trainings(self, study: str) -> int:
        """Number of trainings in its replicates: those of subnetworks, and one of the dense network in each."""
        (count,) = self._sound.execute(queries.TRAININGS, {"study": study}).fetchone()
        return count

    def test_images(self, study: str) -> int | None:
        """Number of test images that its runs were evaluated on; None where that was not stored."""
        bits = next((text for (text,) in self._sound.execute(queries.CORRECT, {"study": study}) if text), None)
        return None if bits is None else len(unpack(bits))

    def _require(self, study: str | None) -> None:
        if study is not None and study not in (known := self.studies()):
            raise ValueError(unknown("study", study, known))

    def layers(self, study: str, *, ablations: Iterable[str] = tuple(ABLATIONS)) -> "pd.DataFrame":
        """Kept weights of each finished trial's mask, layer by layer in the network's order, with `columns.LAYER`.

        `kept` and `total` count weights, `effective` those on a path from input to output, `units` the layer's units
        and `dead_units` those on no such path (None where paths could not be followed, and in results of 0.1);
        `units_by_kept_inputs` maps a number of kept inputs to how many of the units have it. Trials without a mask,
        as the dense network is, have no rows.
        """
        return tables.layers(self._sound, study, ablations)

    @property
    def has_hashes(self) -> bool:
        """True if rows carry hashes; a folder of version 0.1 gets them when it is next written to."""
        return database.version(self.connection) >= database.VERSION

    def count(self, table: str) -> int:
        """Number of rows of a table."""
        return self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    @cached_property
    def _sound(self) -> sqlite3.Connection:
        """The connection, with only rows in sight that are what was stored."""
        # A writer has put that right when it opened the folder; earlier versions stored no hashes.
        if self._journal is not None or not self.has_hashes:
            return self.connection
        hidden = {table: changed_rows(self.connection, table) for table in COLUMNS}
        for table, rows in hidden.items():
            if rows:
                listed = ", ".join(map(str, rows))
                rest = f"SELECT rowid AS rowid, * FROM main.{table} WHERE rowid NOT IN ({listed})"
                self.connection.execute(f"CREATE TEMP VIEW {table} AS {rest}")
        if count := sum(map(len, hidden.values())):
            note = (
                f"{count:,} rows of {self.folder / database.FILE} are not what was stored, and are left out; "
                f"prunemark verify {self.folder} --repair restores what can be restored"
            )
            self.notes.append(note)
            warnings.warn(note, DamagedRowsWarning, stacklevel=3)
        return self.connection


def _whole_database(file: Path) -> list[str]:
    """See to it that there is a database that can be opened; what was found and done."""
    try:
        if file.exists() and file.stat().st_size:
            with database.opened(file, writable=True):
                return []
    except database.DamagedError:
        return restore_database(file)
    except database.ForeignError:
        # Nothing of it is read, or run, but the journal may have it all.
        if not any(entry for _, entry in journal.read(file.parent)):
            raise
        return restore_database(file, salvage=False)
    return restore_database(file)
