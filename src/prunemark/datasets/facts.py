"""What a study has to know of a data set that is not of DATASETS: it is read for that, a user's code apart."""

import functools
import json
import subprocess
import sys
import warnings
from pathlib import Path

from prunemark.datasets import DatasetEntry, OverlapWarning, dataset, entry_of, facts_text, form_of
from prunemark.own_code import OwnCode, short_name

LIMIT_S = 600
"""Seconds within which a user's function has to return its data."""


def facts_of(name: str, data_dir: str | Path | None) -> DatasetEntry:
    """The line of the data set of that name, which is read here, once as long as its files are as they are.

    Raises:
        ValueError: as `prunemark.dataset`.
    """
    return _facts_of(name, data_dir, _stamp(name) if form_of(name) else ())


@functools.lru_cache(maxsize=4)
def _facts_of(name: str, data_dir: str | Path | None, stamp: tuple[int, ...]) -> DatasetEntry:
    with warnings.catch_warnings():
        # Their number is in the line.
        warnings.simplefilter("ignore", OverlapWarning)
        data = dataset(name, data_dir=data_dir)
    dtype = getattr(data.train.inputs, "dtype", None)
    return DatasetEntry(
        target="",
        summary=name,
        source=name,
        input_shape=tuple(data.input_shape),
        classes=data.classes,
        train_examples=len(data.train),
        test_examples=len(data.test),
        task=data.task,
        tokens=dtype is not None and not dtype.is_floating_point,
        fingerprint=data.fingerprint,
        overlap=data.overlap,
    )


def _stamp(name: str) -> tuple[int, ...]:
    """Number, bytes and latest change of the files of a data set."""
    path = Path(name.partition(".txt:")[0] + ".txt" if ".txt:" in name else name)
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    found = [file.stat() for file in files if file.is_file()]
    return len(found), sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)


def facts_of_code(name: str) -> DatasetEntry:
    """The line of "FILE.py:data", whose code runs in another process, once per content of the file.

    Raises:
        ValueError: it fails, ends its process or does not return in time.
    """
    return _facts_of_code(name, OwnCode.find(name).digest)


@functools.lru_cache(maxsize=8)
def _facts_of_code(name: str, digest: str) -> DatasetEntry:
    command = [sys.executable, "-m", "prunemark.datasets.facts", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{short_name(name)} has not returned after {LIMIT_S} s") from None
    try:
        answer = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        raise ValueError(f"{short_name(name)} ended the program with exit code {done.returncode}") from None
    if "error" in answer:
        raise ValueError(answer["error"])
    return entry_of(name, answer["facts"])


def main() -> None:
    """Print the facts of the data set that the first argument names, or what is wrong with it, as JSON."""
    try:
        answer = {"facts": facts_text(facts_of(sys.argv[1], None))}
    except ValueError as error:
        answer = {"error": str(error)}
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main()
