"""Tables of the trials of a folder: results, learning curves, layers. No torch."""

import contextlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prunemark.study.job import CURVE
from prunemark.study.lock import StoreError
from prunemark.study.store import queries
from prunemark.terms import columns
from prunemark.terms.ablations import ABLATIONS
from prunemark.terms.text import one_line

if TYPE_CHECKING:
    import pandas as pd

_FLOATS = (
    "sparsity",
    "density",
    "effective_density",
    "unscored",
    "test_accuracy",
    "test_loss",
    "train_seconds",
    "metric_value",
)


def results(connection: sqlite3.Connection, study: str | None) -> "pd.DataFrame":
    """The trials whose jobs have finished, with `columns.TRIAL`."""
    import pandas as pd

    with sensible():
        seconds = _dense_seconds(connection)
        cursor = connection.execute(queries.RESULTS, {"study": study})
        table = pd.DataFrame(cursor.fetchall(), columns=[each[0] for each in cursor.description])
        table["train_seconds"] = [
            seconds.get(key, own) if kind == "dense" and status != "failed" else own
            for key, kind, status, own in zip(
                *(table[name] for name in ("job_key", "kind", "status", "train_seconds")), strict=True
            )
        ]
        numbers = dict.fromkeys(_FLOATS, "float64")
        table = table.astype({**numbers, "replicate": "int64"}).reindex(columns=list(columns.TRIAL))
        return _readable(table)


def curves(
    connection: sqlite3.Connection, study: str | None, ablations: Iterable[str] = tuple(ABLATIONS)
) -> "pd.DataFrame":
    """The learning curves of the trials whose jobs have finished, with `columns.CURVE`: one row per epoch."""
    import pandas as pd

    with sensible():
        rows: list[tuple[Any, ...]] = []
        for trial, key, stretches in _stretches(connection, study, ablations):
            for measures in stretches:
                numbers = zip(*(measures.get(name, ()) for name in CURVE), strict=True)
                rows += [(*trial, epoch, step, *measured, key) for step, epoch, *measured in numbers]
        numbers = dict.fromkeys(("sparsity", "train_loss", "test_loss", "test_accuracy"), "float64")
        whole = dict.fromkeys(("replicate", "epoch", "step"), "int64")
        return _readable(pd.DataFrame(rows, columns=list(columns.CURVE)).astype({**numbers, **whole}))


def accuracies(connection: sqlite3.Connection, study: str | None) -> dict[tuple[str, str], list[float]]:
    """Test accuracy after each epoch of the trials whose jobs stored curves: (study, job's key) -> values.

    Trainings of a task without accuracy, such as regression, are left out: their curves hold null in its place.
    """
    with sensible():
        found: dict[tuple[str, str], list[float]] = {}
        for trial, key, stretches in _stretches(connection, study, tuple(ABLATIONS)):
            values = [each for stretch in stretches for each in stretch.get("test_accuracy", ())]
            if values and None not in values:
                found[str(trial[0]), key] = [float(each) for each in values]
        return found


def _stretches(
    connection: sqlite3.Connection, study: str | None, ablations: Iterable[str]
) -> Iterator[tuple[list[Any], str, list[dict[str, list[Any]]]]]:
    """Columns of each trial, its job's key and the parts of its curve: more than one where training was cut up."""
    dense = {key: (start, curve) for key, start, curve in connection.execute(queries.DENSE_CURVES)}
    asked = {"study": study, "ablations": json.dumps(list(ablations))}
    for *trial, key, curve in connection.execute(queries.CURVES, asked):
        parts, before, seen = [curve], dense.get(key, (None, None))[0], {key}
        while before is not None and before not in seen:
            seen.add(before)
            before, curve = dense.get(before, (None, None))
            parts.append(curve)
        yield trial, key, [json.loads(part or "{}") for part in reversed(parts)]


def layers(connection: sqlite3.Connection, study: str, ablations: Iterable[str] = tuple(ABLATIONS)) -> "pd.DataFrame":
    """Kept weights of each finished trial's mask, layer by layer in the network's order, with `columns.LAYER`."""
    import pandas as pd

    with sensible():
        # By column, and each text and mapping once: a large study has millions of rows.
        table: dict[str, list[Any]] = {name: [] for name in columns.LAYER}
        add = [values.append for values in table.values()]
        once: dict[Any, Any] = {}
        asked = {"study": study, "ablations": json.dumps(list(ablations))}
        for *trial, found in connection.execute(queries.LAYERS, asked):
            about = [once.setdefault(value, value) for value in trial]
            for layer in json.loads(found):
                counts = tuple(layer["units_by_kept_inputs"].items())
                units = once.setdefault(counts, counts)
                if units is counts:
                    once[counts] = units = {int(inputs): count for inputs, count in counts}
                name = once.setdefault(layer["name"], layer["name"])
                wiring = (layer.get("effective"), layer.get("dead_units"), sum(units.values()))
                row = (*about, name, layer["kept"], layer["total"], units, *wiring)
                for append, value in zip(add, row, strict=True):
                    append(value)
        return _readable(pd.DataFrame(table))


@contextlib.contextmanager
def sensible() -> Generator[None]:
    """Turn what goes wrong while the content of a database is made sense of into a StoreError."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreError(f"the results hold what no prunemark wrote: {one_line(str(error))}") from error


def _dense_seconds(connection: sqlite3.Connection) -> dict[str, float]:
    """Seconds of the dense trainings: of a stretch, with all those before it, where the one after starts."""
    stretches: dict[str | None, tuple[str | None, float]] = {
        key: (start, float(own)) for key, start, own in connection.execute(queries.DENSE_SECONDS)
    }
    seconds: dict[str | None, float] = {}
    key: str | None
    for key in stretches:
        chain: dict[str | None, None] = {}
        while key is not None and key in stretches and key not in seconds and key not in chain:
            chain[key] = None
            key = stretches[key][0]
        before = seconds.get(key, 0.0)
        for each in reversed(chain):
            before += stretches[each][1]
            seconds[each] = before
    return {str(key): value for key, value in seconds.items()}


def _readable(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with texts that fit a line: a folder comes from anywhere."""
    for name in table.columns:
        if table[name].dtype == object or str(table[name].dtype) in ("str", "string"):
            texts = {text for text in table[name] if isinstance(text, str)}
            changed = {text: clean for text in texts if (clean := one_line(text)) != text}
            if changed:
                table[name] = [changed.get(each, each) if isinstance(each, str) else each for each in table[name]]
    return table
