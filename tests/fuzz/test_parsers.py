"""Everything that reads a file, fed with harmed ones: it says what is wrong in a sentence, or gives what was written.

`make test` tries a few of each; `make soak` many, and PRUNEMARK_FUZZ=N that many times more.
"""

import contextlib
import os
import sqlite3
import struct
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prunemark as pm
from prunemark.artifacts import digest_of
from prunemark.datasets import cifar, idx
from prunemark.datasets.archives import read_tar_gz, zip_tree
from prunemark.study.correctness import unpack
from prunemark.study.job import Outcome
from prunemark.study.jobs import _load_scores, _save_scores  # pyright: ignore[reportPrivateUsage]
from prunemark.study.lock import StoreError
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.shipped import toml_fields
from prunemark.study.spec import Study
from prunemark.study.store import DamagedRowsWarning, Store
from prunemark.study.store.rows import COLUMNS, names
from prunemark.training import Checkpoint

FEW, MANY = 8, 2000 * int(os.environ.get("PRUNEMARK_FUZZ", "1"))
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
few = settings(max_examples=FEW, deadline=None, suppress_health_check=FIXTURES, derandomize=True)
many = settings(max_examples=MANY, deadline=None, suppress_health_check=FIXTURES)

harms = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "zero", "copy"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)
Harms = list[tuple[str, float, int]]


def harmed(content: bytes, harms: Harms) -> bytes:
    """Content with some bytes changed, cut, doubled or added."""
    data = bytearray(content)
    for kind, where, value in harms:
        # Headers are where lengths stand: half of all harms go there.
        at = int(where * 2 * min(len(data), 400)) if where < 0.5 else int((where - 0.5) * 2 * len(data))
        if not data:
            break
        at = min(at, len(data) - 1)
        match kind:
            case "flip":
                data[at] ^= 1 << (value % 8)
            case "set":
                data[at] = value
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = bytes([value] * (1 + value % 9))
            case "zero":
                data[at : at + value] = bytes(len(data[at : at + value]))
            case _:
                data[at:at] = data[: value + 1]
    return bytes(data)


WEIGHTS = {"a": torch.arange(6.0).reshape(3, 2), "b": torch.zeros(4)}
MASKS = pm.Masks({"a": WEIGHTS["a"] > 2, "b": torch.ones(4, dtype=torch.bool)}, provenance={"seed": 3})
ARTIFACTS: dict[str, tuple[Callable[[Path], Any], Callable[..., Any]]] = {
    "masks": (MASKS.save, pm.Masks.load),
    "checkpoint": (Checkpoint(step=3, model=WEIGHTS, momentum={}).save, Checkpoint.load),
    "scores": (lambda place: _save_scores(WEIGHTS, place), _load_scores),
}
STUDY = """
name = "mine"
network = "lenet-300-100"
dataset = "digits"
methods = ["snip", { name = "grasp", rounds = 2, label = "mine", options = { examples_per_class = 3 } }]
benchmarks = ["lottery-rewinding:2ep"]
ablations = ["shuffle", "invert"]
sparsities = { levels = [1, 5] }
replicates = { min = 3, max = 20, until = "claims" }
prune_at = ["0ep", "10it"]
margin = 0.5
[recipe]
epochs = 4
rewind_to = "3it"
"""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("9" * 400 + "it"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def a_study(changes: dict[str, Any]) -> None:
    fields = tomllib.loads(STUDY)
    for name, value in changes.items():
        part, _, inner = name.partition(".")
        if inner:
            whole = fields[part] if isinstance(fields[part], dict) else {}
            fields[part] = {**whole, inner: value}
        else:
            fields[part] = value
    with contextlib.suppress(StudyError):
        Study(**fields)


def a_study_text(harm: Harms, folder: Path) -> None:
    path = folder / "study.toml"
    path.write_bytes(harmed(STUDY.encode(), harm))
    with contextlib.suppress(StudyError):
        Study(**toml_fields(path, "study.toml"))


def an_artifact(kind: str, harm: Harms, folder: Path) -> None:
    write, read = ARTIFACTS[kind]
    place = folder / "a.safetensors"
    write(place)
    whole, digest = place.read_bytes(), digest_of(place)
    place.write_bytes(harmed(whole, harm))
    with contextlib.suppress(ValueError):
        read(place)
    if place.read_bytes() != whole:
        with pytest.raises(ValueError, match="is not the"):
            read(place, digest=digest)


def an_idx(harm: Harms) -> None:
    content = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))
    with contextlib.suppress(ValueError):
        found = idx.parse(harmed(content, harm), axes=3, origin="x")
        assert found.size <= len(content) * 300
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes([1, 0])
    with contextlib.suppress(ValueError):
        idx.parse_labelled_images(content, harmed(labels, harm), classes=2, origins=("x", "y"))


def a_cifar(harm: Harms) -> None:
    content = bytes(3073 * 2)
    with contextlib.suppress(ValueError):
        images, labels = cifar.parse(harmed(content, harm), label_bytes=1, classes=10, origin="x")
        assert len(images) == len(labels)
        assert labels.max() < 10


def an_archive(harm: Harms, folder: Path) -> None:
    import io
    import tarfile
    import zipfile

    tar, archive = folder / "a.tar.gz", folder / "a.zip"
    with tarfile.open(tar, "w:gz") as file:
        about = tarfile.TarInfo("x/y")
        about.size = 300
        file.addfile(about, io.BytesIO(bytes(300)))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x/y", bytes(range(256)) * 3)
    for path in (tar, archive):
        path.write_bytes(harmed(path.read_bytes(), harm))
    with contextlib.suppress(ValueError):
        read_tar_gz(tar, ["x/y"])
    with contextlib.suppress(ValueError), zip_tree(archive) as tree:
        for name in tree.names:
            tree.read(name)


def right_images(text: str) -> None:
    with contextlib.suppress(ValueError):
        unpack(text)


Rows = dict[str, set[tuple[Any, ...]]]


def rows_of(folder: Path) -> Rows:
    with contextlib.closing(sqlite3.connect(folder / "study.sqlite")) as connection:
        return {table: set(connection.execute(f"SELECT {names(table)} FROM {table}")) for table in COLUMNS}


def filled(folder: Path) -> dict[str, bytes]:
    """The files of a folder of results."""
    job_plan = plan(
        Study(**{**tomllib.loads(STUDY), "replicates": 1, "benchmarks": [], "ablations": [], "prune_at": ["0ep"]})
    )
    with Store.writing(folder) as store:
        store.begin(job_plan)
        for i, job in enumerate(job_plan.jobs):
            store.record(job, Outcome(status="done", result={"test_accuracy": i / 100, "density": 0.5}, error="x" * i))
    return {name: (folder / name).read_bytes() for name in ("study.sqlite", "journal.jsonl")}


def a_store(harm: Harms, which: str, folder: Path, whole: dict[str, bytes], before: Rows) -> None:
    """Readers give what was stored or less, and say so; writers put back all that one of the two files has."""
    for name, content in whole.items():
        (folder / name).write_bytes(harmed(content, harm) if name == which else content)
    for name in ("study.damaged", "study.sqlite-wal"):
        (folder / name).unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedRowsWarning)
        with contextlib.suppress(StoreError), Store.reading(folder) as store:
            table = store.results()
            trials = {row[:10] for row in before["trials"]}
            assert len(table) <= len(trials)
            accuracies = {round(i / 100, 6) for i in range(1000)}
            assert set(table["test_accuracy"].round(6).dropna()) <= accuracies
    refusal = ""
    try:
        with Store.writing(folder):
            pass
    except StoreError as error:
        refusal = str(error)
    if refusal:
        # A database that says it is another program's, or a later version's, is left alone.
        assert any(text in refusal for text in ("not one of prunemark", "newer prunemark")), refusal
    else:
        assert rows_of(folder) == before


FIELDS = st.sampled_from([*tomllib.loads(STUDY), "recipe.epochs", "recipe.rewind_to"])


@few
@given(st.dictionaries(FIELDS, values, min_size=1, max_size=3))
def test_study_fields(changes: dict[str, Any]) -> None:
    a_study(changes)


@few
@given(harms)
def test_study_texts(tmp_path: Path, harm: Harms) -> None:
    a_study_text(harm, tmp_path)


@pytest.mark.parametrize("kind", ARTIFACTS)
@few
@given(harms)
def test_artifacts(tmp_path: Path, kind: str, harm: Harms) -> None:
    an_artifact(kind, harm, tmp_path)


@few
@given(harms)
def test_files_of_data_sets(tmp_path: Path, harm: Harms) -> None:
    an_idx(harm)
    a_cifar(harm)
    an_archive(harm, tmp_path)


@few
@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,30}:[A-Za-z0-9+/=]*"))
def test_bits_of_images(text: str) -> None:
    right_images(text)


@pytest.mark.parametrize("which", ["study.sqlite", "journal.jsonl"])
def test_stores(tmp_path: Path, which: str) -> None:
    whole = filled(tmp_path)
    before = rows_of(tmp_path)

    @few
    @given(harms)
    def each(harm: Harms) -> None:
        a_store(harm, which, tmp_path, whole, before)

    each()


@pytest.mark.soak
def test_all_of_it_many_times(tmp_path: Path) -> None:
    whole = filled(tmp_path / "store")
    before = rows_of(tmp_path / "store")

    @many
    @given(st.dictionaries(FIELDS, values, min_size=1, max_size=4), harms, st.text(max_size=60))
    def each(changes: dict[str, Any], harm: Harms, text: str) -> None:
        a_study(changes)
        a_study_text(harm, tmp_path)
        for kind in ARTIFACTS:
            an_artifact(kind, harm, tmp_path)
        an_idx(harm)
        a_cifar(harm)
        an_archive(harm, tmp_path)
        right_images(text)
        for which in whole:
            a_store(harm, which, tmp_path / "store", whole, before)

    each()
