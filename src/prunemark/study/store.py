"""`Store`: what has been computed, in a folder. SQLite for numbers, one safetensors file an artifact. No torch.

The driver of a study is the only writer; anybody may read meanwhile. Several studies may share a folder: jobs
they have in common are then run once. Running a study again under its name replaces its rows, never its jobs.
"""

import contextlib
import json
import math
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from prunemark.artifacts import artifact_place, exists
from prunemark.registry import unknown
from prunemark.study import queries
from prunemark.study.correctness import Right, unpack
from prunemark.study.job import CURVE, Job, Outcome, Status
from prunemark.study.lock import StoreError, writer_lock
from prunemark.study.plan import Plan
from prunemark.terms import columns

if TYPE_CHECKING:
    import pandas as pd


_FLOATS = ("sparsity", "density", "effective_density", "unscored", "test_accuracy", "test_loss", "train_seconds")

_FILE = "study.sqlite"
_APPLICATION = 0x50524D4B  # "PRMK"
_VERSION = 1
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE studies (name TEXT PRIMARY KEY, spec TEXT NOT NULL, run_at TEXT NOT NULL) STRICT;
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
    finished_at TEXT NOT NULL
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
    PRIMARY KEY (study, position)
) STRICT;
"""


class Store:
    """An open results folder; made by `Store.reading` or `Store.writing`."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection

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
        """True if the folder holds a store."""
        return (Path(folder) / _FILE).is_file()

    @classmethod
    @contextlib.contextmanager
    def reading(cls, folder: str | Path) -> Generator[Self]:
        """Open a folder to read from, also while it is being written.

        Raises:
            StoreError: there is no store in it, or one that cannot be read.
        """
        folder = Path(folder)
        file = folder / _FILE
        if not file.is_file():
            what = f"there is no {file}" if folder.is_dir() else "there is no such folder"
            raise StoreError(f"{folder} holds no results of prunemark: {what}")
        with cls._open(folder, f"{file.absolute().as_uri()}?mode=ro") as store:
            yield store

    @classmethod
    @contextlib.contextmanager
    def writing(cls, folder: str | Path) -> Generator[Self]:
        """Open a folder to write to, as its only writer; make it if there is none.

        Raises:
            StoreError: another process writes to it, it cannot be written to, or what is there cannot be read.
        """
        folder = Path(folder)
        with writer_lock(folder):
            file = folder / _FILE
            try:
                (folder / "artifacts").mkdir(exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot write to {folder}: {error.strerror}") from None
            if not file.exists() or not file.stat().st_size:
                _create(file)
            with cls._open(folder, f"{file.absolute().as_uri()}?mode=rw") as store:
                store._connection.execute("PRAGMA journal_mode = WAL")
                yield store
                # At rest the store is one plain file, which can be copied and read from anywhere.
                store._connection.execute("PRAGMA busy_timeout = 0")
                with contextlib.suppress(sqlite3.OperationalError):
                    store._connection.execute("PRAGMA journal_mode = DELETE")

    @classmethod
    @contextlib.contextmanager
    def _open(cls, folder: Path, uri: str) -> Generator[Self]:
        file = folder / _FILE
        with _damage(file):
            connection = sqlite3.connect(uri, uri=True, timeout=30)
        with contextlib.closing(connection):
            with _damage(file):
                (application,) = connection.execute("PRAGMA application_id").fetchone()
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if application != _APPLICATION:
                raise StoreError(f"{file} is a database, but not one of prunemark")
            if version > _VERSION:
                raise StoreError(
                    f"{file} was written by a newer prunemark (schema {version}, this one reads {_VERSION})"
                )
            if health != "ok":
                raise StoreError(f"{file} is damaged: {health}; move it away and run the study again")
            connection.execute("PRAGMA foreign_keys = ON")
            with _damage(file):
                yield cls(folder, connection)

    def begin(self, plan: Plan) -> None:
        """Record a study and its trials, in place of what was there under its name."""
        spec = plan.study.model_dump_json()
        rows = [{"position": position, **asdict(trial)} for position, trial in enumerate(plan.trials)]
        name = plan.study.name
        with self._connection as db:
            db.execute("DELETE FROM trials WHERE study = ?", (name,))
            db.execute(
                "INSERT INTO studies VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET spec = excluded.spec, run_at = excluded.run_at",
                (name, spec, _now()),
            )
            names, values = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
            db.executemany(f"INSERT INTO trials ({names}) VALUES ({values})", rows)

    def require_fact(self, name: str, value: str, problem: str) -> None:
        """Record a fact on which all jobs of the folder rest.

        Raises:
            StoreError: it was recorded with another value; `problem` says what that means.
        """
        with self._connection as db:
            db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
            (known,) = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        if known != value:
            raise StoreError(f"{problem}: {self.folder} was begun with {known}, now it is {value}; use another folder")

    def record(self, job: Job, outcome: Outcome) -> None:
        """Record what came of a job; what was there before, such as a failure, is replaced."""
        row = (
            job.key,
            job.kind,
            outcome.status,
            json.dumps(job.spec),
            json.dumps(job.inputs),
            json.dumps(_finite(outcome.result), allow_nan=False),
            outcome.error,
            outcome.seconds,
            outcome.device,
            outcome.torch_version,
            outcome.code_version,
            _now(),
        )
        with self._connection as db:
            db.execute(f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * len(row))})", row)

    def finished(self) -> dict[str, Status]:
        """Every recorded job: key -> status."""
        return dict(self._connection.execute("SELECT key, status FROM jobs"))

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """The failures among these jobs: key -> reason."""
        wanted = set(keys)
        rows = self._connection.execute("SELECT key, error FROM jobs WHERE status = 'failed'")
        return {key: error for key, error in rows if key in wanted}

    def artifact(self, key: str) -> Path:
        """Path of the artifact of a job, whether it exists or not."""
        return artifact_place(self.artifacts, key)

    def has_artifact(self, key: str) -> bool:
        """True if the artifact of a job is there."""
        return exists(self.artifact(key))

    def remove_unfinished(self) -> None:
        """Remove what workers were writing when they were killed."""
        for path in self.artifacts.glob(".*"):
            path.unlink(missing_ok=True)

    def studies(self) -> dict[str, dict[str, Any]]:
        """The studies of the folder, the latest run last: name -> its fields."""
        rows = self._connection.execute("SELECT name, spec FROM studies ORDER BY run_at, rowid")
        return {name: json.loads(spec) for name, spec in rows}

    def details(self, job_key: str) -> dict[str, Any]:
        """Everything recorded of a job: key, kind, status, spec, inputs, result, error, seconds, versions.

        `result` holds exact counts per layer, certificates and the curve of training, by kind of job.

        Raises:
            ValueError: there is no such job.
        """
        cursor = self._connection.execute("SELECT * FROM jobs WHERE key = ?", (job_key,))
        row = cursor.fetchone()
        if row is None:
            raise ValueError(f"{self.folder} holds no job {job_key}")
        fields = dict(zip((column[0] for column in cursor.description), row, strict=True))
        return fields | {name: json.loads(fields[name]) for name in ("spec", "inputs", "result")}

    def prunable(self, study: str) -> tuple[int, int] | None:
        """Numbers of prunable weights and of all parameters of the study's network; None where no mask says."""
        return self._connection.execute(queries.PRUNABLE, {"study": study}).fetchone()

    def results(self, study: str | None = None) -> "pd.DataFrame":
        """The trials whose jobs have finished, as a table with `columns.TRIAL`.

        Args:
            study: only this one's; None = all studies of the folder.

        Raises:
            ValueError: there is no such study in the folder.
        """
        import pandas as pd

        self._require(study)
        cursor = self._connection.execute(queries.RESULTS, {"study": study})
        table = pd.DataFrame(cursor.fetchall(), columns=[each[0] for each in cursor.description])
        numbers = dict.fromkeys(_FLOATS, "float64")
        return table.astype({**numbers, "replicate": "int64"}).reindex(columns=list(columns.TRIAL))

    def curves(self, study: str | None = None) -> "pd.DataFrame":
        """The learning curves of the trials whose jobs have finished, with `columns.CURVE`: one row per epoch.

        The dense network's curve is put together from its stretches. Trainings that were stored without a curve, by
        studies that turned it off or by earlier versions, have no rows.

        Args:
            study: only this one's; None = all studies of the folder.

        Raises:
            ValueError: there is no such study in the folder.
        """
        import pandas as pd

        self._require(study)
        dense = {key: (start, curve) for key, start, curve in self._connection.execute(queries.DENSE_CURVES)}
        rows: list[tuple[Any, ...]] = []
        for *trial, key, curve in self._connection.execute(queries.CURVES, {"study": study}):
            stretches, before = [curve], dense.get(key, (None, None))[0]
            while before is not None:
                before, curve = dense.get(before, (None, None))
                stretches.append(curve)
            for stretch in reversed(stretches):
                measures: dict[str, list[Any]] = json.loads(stretch or "{}")
                numbers = zip(*(measures.get(name, ()) for name in CURVE), strict=True)
                rows += [(*trial, epoch, step, *measured, key) for step, epoch, *measured in numbers]
        numbers = dict.fromkeys(("sparsity", "train_loss", "test_loss", "test_accuracy"), "float64")
        whole = dict.fromkeys(("replicate", "epoch", "step"), "int64")
        return pd.DataFrame(rows, columns=list(columns.CURVE)).astype({**numbers, **whole})

    def correct(self, study: str | None = None) -> "list[Right | None]":
        """Test images that each trial of `results` got right, in its order; None where that was not stored."""
        self._require(study)
        rows = self._connection.execute(queries.CORRECT, {"study": study})
        return [unpack(text) if text else None for (text,) in rows]

    def overlaps(self, study: str) -> dict[int, dict[float, float]]:
        """Share of the final magnitude mask that is that of the initial weights: replicate -> sparsity -> share."""
        found: dict[int, dict[float, float]] = {}
        for replicate, sparsity, overlap in self._connection.execute(queries.OVERLAPS, {"study": study}):
            found.setdefault(replicate, {})[sparsity] = overlap
        return found

    def facts(self) -> dict[str, str]:
        """Facts on which all jobs of the folder rest, such as fingerprints of data: name -> value."""
        return dict(self._connection.execute("SELECT name, value FROM facts ORDER BY rowid"))

    def dates(self, study: str) -> tuple[str, str] | None:
        """Ends of the first and the last of a study's trainings, in UTC as ISO 8601; None if none has ended."""
        cursor = self._connection.execute(queries.DATES, {"study": study})
        first, last = cursor.fetchone()
        return None if first is None else (first, last)

    def packages(self, study: str) -> list[tuple[str, str, str]]:
        """What of a study other packages added: (its name, the package's, the package's version)."""
        return list(self._connection.execute(queries.PACKAGES, {"study": study}))

    def planned(self, study: str) -> int:
        """Number of trials of the study, finished or not."""
        (count,) = self._connection.execute("SELECT count(*) FROM trials WHERE study = ?", (study,)).fetchone()
        return count

    def replicates(self, study: str) -> int:
        """Number of the study's replicates that have begun."""
        query = "SELECT coalesce(max(replicate) + 1, 0) FROM trials WHERE study = ?"
        (count,) = self._connection.execute(query, (study,)).fetchone()
        return count

    def trainings(self, study: str) -> int:
        """Number of trainings in its replicates: those of subnetworks, and one of the dense network in each."""
        (count,) = self._connection.execute(queries.TRAININGS, {"study": study}).fetchone()
        return count

    def test_images(self, study: str) -> int | None:
        """Number of test images that its runs were evaluated on; None where that was not stored."""
        bits = next((text for (text,) in self._connection.execute(queries.CORRECT, {"study": study}) if text), None)
        return None if bits is None else len(unpack(bits))

    def _require(self, study: str | None) -> None:
        if study is not None and study not in (known := self.studies()):
            raise ValueError(unknown("study", study, known))

    def layers(self, study: str) -> "pd.DataFrame":
        """Kept weights of each finished trial's mask, layer by layer in the network's order, with `columns.LAYER`.

        `kept` and `total` count weights, `effective` those on a path from input to output, `units` the layer's units
        and `dead_units` those on no such path (None where paths could not be followed, and in results of 0.1);
        `units_by_kept_inputs` maps a number of kept inputs to how many of the units have it. Trials without a mask,
        as the dense network is, have no rows.
        """
        import pandas as pd

        rows: list[tuple[Any, ...]] = []
        for *trial, layers in self._connection.execute(queries.LAYERS, {"study": study}):
            for layer in json.loads(layers):
                units = {int(inputs): count for inputs, count in layer["units_by_kept_inputs"].items()}
                counts = (layer["name"], layer["kept"], layer["total"], units)
                rows.append((*trial, *counts, layer.get("effective"), layer.get("dead_units"), sum(units.values())))
        return pd.DataFrame(rows, columns=list(columns.LAYER))


def _create(file: Path) -> None:
    # Made aside and moved into place: a database that exists is a whole one.
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(unfinished)) as connection:
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.executescript(_TABLES)
        unfinished.replace(file)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot write to {file.parent}: {error}") from None


@contextlib.contextmanager
def _damage(file: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(f"{file} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{file} is damaged ({error}); move it away and run the study again") from error


def _finite(value: Any) -> Any:
    """The value with null for every number that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
