"""Rows of the database: their columns, and the hash that each carries of itself. No torch."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, cast

from prunemark.study.job import Job, Outcome
from prunemark.study.plan import Trial

Row = tuple[Any, ...]

COLUMNS: dict[str, dict[str, str]] = {
    "facts": {"name": "TEXT", "value": "TEXT"},
    "studies": {"name": "TEXT", "spec": "TEXT", "run_at": "TEXT"},
    "jobs": {
        **dict.fromkeys(("key", "kind", "status", "spec", "inputs", "result", "error"), "TEXT"),
        "seconds": "REAL",
        **dict.fromkeys(("device", "torch_version", "code_version", "finished_at", "digest"), "TEXT"),
        "size": "INTEGER",
    },
    "trials": {
        "study": "TEXT",
        "position": "INTEGER",
        **dict.fromkeys(("network", "dataset", "method", "ablation", "benchmark", "prune_at"), "TEXT"),
        "sparsity": "REAL",
        "replicate": "INTEGER",
        "job_key": "TEXT",
    },
}
"""Table -> column -> type. `hash`, the seal of the row, follows."""


def names(table: str) -> str:
    """The columns of a table but its hash, for SQL."""
    return ", ".join(COLUMNS[table])


def seal(table: str, *values: Any) -> str:
    """SHA-256 (hex) of a row of a table: what its column `hash` holds.

    Over the lengths in bytes of its texts and then the texts, table first; numbers as Python writes them.

    Args:
        table: its name.
        values: those of its columns, in order; texts as such or in UTF-8.
    """
    parts = [value if type(value) is bytes else str(value).encode("utf-8", "surrogatepass") for value in values]
    parts.insert(0, table.encode())
    return hashlib.sha256(str(list(map(len, parts))).encode() + b"".join(parts)).hexdigest()


def sealed(table: str, row: Sequence[Any]) -> Row:
    """The row with its hash."""
    return (*row, seal(table, *row))


def job_row(job: Job, outcome: Outcome) -> Row:
    """The row of a job that has just finished.

    Raises:
        TypeError, ValueError: its result is no JSON.
    """
    return (
        job.key,
        job.kind,
        outcome.status,
        json.dumps(job.spec),
        json.dumps(job.inputs),
        json.dumps(_finite(outcome.result), allow_nan=False),
        storable(outcome.error),
        float(outcome.seconds),
        outcome.device,
        outcome.torch_version,
        outcome.code_version,
        now(),
        outcome.digest,
        outcome.size,
    )


def trial_rows(study: str, trials: Sequence[Trial]) -> list[Row]:
    """The rows of the trials of a study, in its order."""
    rows: list[Row] = []
    for position, trial in enumerate(trials):
        fields = {"position": position, **asdict(trial)}
        # As the database gives it back: every number of a REAL column is a float there.
        fields["sparsity"] = float(fields["sparsity"])
        rows.append(tuple(fields[name] for name in COLUMNS["trials"]))
    assert all(row[0] == study for row in rows)
    return rows


def now() -> str:
    """The time, in UTC as ISO 8601."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def storable(text: str) -> str:
    """The text with what UTF-8 has no bytes for, such as parts of a file name that is not UTF-8, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: Any) -> Any:
    """The value with null for every number that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
