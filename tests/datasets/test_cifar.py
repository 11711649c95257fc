import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from prunemark.datasets import DATASETS, cifar, dataset
from prunemark.datasets.cifar import CIFAR_10_LAYOUT, CIFAR_100_LAYOUT, Layout
from prunemark.datasets.in_memory import Dataset
from prunemark.datasets.sources import CIFAR_10, CIFAR_100
from tests.datasets.archives import (
    CIFAR_NAMES,
    archive_source,
    cifar_10_members,
    cifar_100_members,
    cifar_records,
    tar_gz,
)
from tests.datasets.conftest import FileServer
from tests.datasets.idx_files import write

KINDS = [
    ("cifar-10", cifar_10_members, CIFAR_10_LAYOUT, CIFAR_10),
    ("cifar-100", cifar_100_members, CIFAR_100_LAYOUT, CIFAR_100),
]
Members = Callable[[], dict[str, bytes]]


def load(folder: Path, members: dict[str, bytes], *, cut: int | None = None) -> Dataset:
    """A data set of these members, with the checksums of the archive that they make."""
    name, _, layout, source = KINDS[any("100" in member for member in members)]
    content = tar_gz(members)[:cut]
    file = source.files[0].name
    write(folder / name, {file: content})
    return cifar.load(archive_source(name, file, content), layout, data_dir=folder)


@pytest.mark.parametrize(("name", "members", "layout", "source"), KINDS)
def test_an_archive_becomes_a_data_set(tmp_path: Path, name: str, members: Members, layout: Layout, source) -> None:
    made = members()
    data = load(tmp_path, made)
    assert data.name == name
    assert data.class_names == CIFAR_NAMES
    assert data.input_shape == (3, 32, 32)
    record = layout.label_bytes + 3072
    train = np.frombuffer(b"".join(made[part] for part in layout.train), dtype=np.uint8).reshape(-1, record)
    test = np.frombuffer(made[layout.test], dtype=np.uint8).reshape(-1, record)
    pixels = train[:, layout.label_bytes :].reshape(-1, 3, 32, 32).astype(np.float64)
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    for split, records in ((data.train, train), (data.test, test)):
        assert split.targets.tolist() == records[:, layout.label_bytes - 1].tolist()
        images = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
        expected = (images - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(split.inputs[:].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_planes_are_red_green_blue_and_rows_run_from_the_top() -> None:
    plane = np.arange(1024, dtype=np.uint16) % 251
    record = np.concatenate([[1], plane, (plane + 1) % 256, (plane + 2) % 256]).astype(np.uint8)
    images, labels = cifar.parse(record.tobytes(), label_bytes=1, classes=2, origin="here")
    assert labels.tolist() == [1]
    assert images[0, :, 0, 5].tolist() == [5, 6, 7]
    assert images[0, :, 2, 1].tolist() == [65, 66, 67]


def test_no_pickle_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert len(load(tmp_path, cifar_10_members()).train) == 15
    python_version = {"cifar-10-batches-py/data_batch_1": pickle.dumps({"data": 0})}
    with pytest.raises(ValueError, match=r"cifar-10-batches-bin/batches\.meta\.txt.* missing in the archive"):
        load(tmp_path, python_version)


@pytest.mark.parametrize("kept", [-1, 100, 3073 + 3072])
def test_a_record_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    members = cifar_10_members()
    name = "cifar-10-batches-bin/data_batch_3.bin"
    members[name] = members[name][:kept]
    with pytest.raises(
        ValueError, match=rf"{name}: expected whole records of 3073 bytes, found {len(members[name])} bytes"
    ):
        load(tmp_path, members)


def test_records_of_the_other_data_set_are_refused(tmp_path: Path) -> None:
    members = cifar_100_members()
    members["cifar-100-binary/train.bin"] = cifar_records(0, [0, 1, 2])
    with pytest.raises(ValueError, match=r"train\.bin: expected whole records of 3074 bytes, found 9219 bytes"):
        load(tmp_path, members)


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"test_batch\.bin: expected whole records of 3073 bytes, found 0 bytes"):
        load(tmp_path, cifar_10_members() | {"cifar-10-batches-bin/test_batch.bin": b""})


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    members = cifar_10_members() | {"cifar-10-batches-bin/data_batch_2.bin": cifar_records(0, [0, 2, 3, 1])}
    with pytest.raises(ValueError, match=r"data_batch_2\.bin: expected labels 0 to 2, found 3 in record 2"):
        load(tmp_path, members)


def test_a_list_of_no_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batches\.meta\.txt names no class"):
        load(tmp_path, cifar_10_members() | {"cifar-10-batches-bin/batches.meta.txt": b"\n"})


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    members = cifar_10_members()
    del members["cifar-10-batches-bin/data_batch_4.bin"]
    with pytest.raises(ValueError, match=r"tar\.gz: cifar-10-batches-bin/data_batch_4\.bin missing in the archive"):
        load(tmp_path, members)


def test_a_truncated_archive_is_refused_whatever_its_checksum(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz: not a gzip-compressed tar archive, or a trunc"):
        load(tmp_path, cifar_10_members(), cut=-5000)


def test_a_path_that_climbs_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'the path "\.\./evil" climbs out of the archive'):
        load(tmp_path, {**cifar_10_members(), "../evil": b"evil"})
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(("name", "members", "layout", "source"), KINDS)
def test_another_archive_is_refused_with_both_checksums(
    tmp_path: Path, name: str, members: Members, layout: Layout, source
) -> None:
    file = source.files[0]
    path = write(tmp_path / name, {file.name: tar_gz(members())}) / file.name
    with pytest.raises(ValueError, match="wrong checksum") as caught:
        {"cifar-10": cifar.load_cifar_10, "cifar-100": cifar.load_cifar_100}[name](data_dir=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: wrong checksum: expected SHA-256 {file.sha256}, MD5 {file.md5}, found SHA-256 ")


def test_a_downloaded_archive_gives_the_same_data(tmp_path: Path, server: FileServer) -> None:
    content = tar_gz(cifar_10_members())
    server.files["cifar-10-binary.tar.gz"] = content
    server.drops["cifar-10-binary.tar.gz"] = [len(content) // 2]
    source = archive_source("cifar-10", "cifar-10-binary.tar.gz", content, server.url)
    there = cifar.load(source, CIFAR_10_LAYOUT)
    here = load(tmp_path, cifar_10_members())
    assert here.fingerprint == there.fingerprint
    assert torch.equal(here.train.inputs[:], there.train.inputs[:])
    assert server.requests == {"cifar-10-binary.tar.gz": 2}


def test_the_papers_normalisation_is_that_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cifar_10_members()
    content = tar_gz(made)
    source = archive_source("cifar-10", "cifar-10-binary.tar.gz", content)
    write(tmp_path / "cifar-10", {"cifar-10-binary.tar.gz": content})
    monkeypatch.setattr(cifar, "CIFAR_10", source)
    entry = dataclasses.replace(DATASETS["cifar-10"], classes=3, train_examples=15, test_examples=4)
    monkeypatch.setitem(DATASETS, "cifar-10", entry)
    own, paper = (dataset("cifar-10", data_dir=tmp_path, normalise=normalise) for normalise in ("own", "paper"))
    # transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) of pixels in 0 to 1.
    pixels = np.frombuffer(made["cifar-10-batches-bin/test_batch.bin"], dtype=np.uint8).reshape(-1, 3073)[:, 1:]
    constants = [np.array(values)[:, None, None] for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    expected = (pixels.reshape(-1, 3, 32, 32) / 255 - constants[0]) / constants[1]
    np.testing.assert_allclose(paper.test.inputs[:].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert own.fingerprint != paper.fingerprint
    assert (own.fingerprint, own.class_names) == (load(tmp_path / "again", made).fingerprint, paper.class_names)


@pytest.mark.parametrize(
    ("name", "normalise", "message"),
    [
        ("cifar-10", "imagenet", 'unknown normalise "imagenet"; known: own, paper'),
        ("digits", "paper", '^"paper" is for data that the paper normalises .*: cifar-10, tinyimagenet$'),
        ("hub:someone/something", "paper", "is normalised by its own mean and standard deviation"),
    ],
)
def test_a_normalisation_that_is_not_known_is_refused(name: str, normalise: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset(name, normalise=normalise)
