import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import datasets as library
from prunemark.datasets import dataset, entry_for, hub
from prunemark.datasets.fetching import fetch
from prunemark.datasets.lazy import PixelInputs
from prunemark.study.run import run
from tests.datasets.archives import picture

NAMES = ["cat", "dog"]
FEATURES = {"image": library.Image(), "label": library.ClassLabel(names=NAMES)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps what the library stores within the test, and the library away from the network and the terminal."""
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", True)
    library.disable_progress_bars()
    hub._load.cache_clear()
    yield
    hub._load.cache_clear()


def parquet(folder: Path, split: str, columns: dict[str, list[Any]], features: dict[str, Any] | None = None) -> None:
    """A parquet file as the hub keeps it: images encoded, labels as numbers, kinds of columns in the metadata."""
    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = library.Dataset.from_dict(columns, features=library.Features(features or FEATURES))
    rows.to_parquet(path)


def columns(seed: int, labels: list[int | None], *, grey: bool = False, size: int = 8) -> dict[str, list[Any]]:
    from PIL import Image

    pictures = [Image.fromarray(picture(seed + i, size, 6, grey=grey)) for i in range(len(labels))]
    return {"image": pictures, "label": labels}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A local copy of owner/name in the data folder."""
    folder = tmp_path / "data" / "owner" / "name"
    parquet(folder, "train", columns(0, [0, 1, 1, 0]))
    parquet(folder, "test", columns(50, [1, 0]))
    return folder


def load(copy: Path):
    return dataset("hub:owner/name", data_dir=copy.parents[1])


def test_a_local_copy_becomes_a_data_set(copy: Path) -> None:
    data = load(copy)
    assert (data.name, data.class_names, data.input_shape) == ("hub:owner/name", ("cat", "dog"), (3, 8, 6))
    assert data.train.targets.tolist() == [0, 1, 1, 0]
    assert data.test.targets.tolist() == [1, 0]
    train = np.stack([picture(i, 8, 6) for i in range(4)])
    for split, seeds in ((data.train, range(4)), (data.test, (50, 51))):
        assert isinstance(split.inputs, PixelInputs)
        np.testing.assert_array_equal(split.inputs.pixels.numpy(), np.stack([picture(i, 8, 6) for i in seeds]))
        expected = (split.inputs.pixels.numpy() - train.mean((0, 1, 2))) / train.std((0, 1, 2))
        np.testing.assert_allclose(split.inputs[:].permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_study_is_checked_against_the_data_in_its_data_dir(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRUNEMARK_DATA", raising=False)
    (tmp_path / "s.toml").write_text(
        'name = "s"\nnetwork = "lenet-300-100"\ndataset = "hub:owner/name"\nmethods = ["magnitude"]\n'
        "sparsities = [0.5]\nexamples_per_class = 2\nrecipe = { epochs = 1, batch_size = 4 }\n"
    )
    run(tmp_path / "s.toml", out=tmp_path / "out", data_dir=copy.parents[1], dry_run=True)
    assert "PRUNEMARK_DATA" not in os.environ
    monkeypatch.setenv("PRUNEMARK_DATA", str(tmp_path))
    run(tmp_path / "s.toml", out=tmp_path / "out", data_dir=copy.parents[1], dry_run=True)
    assert os.environ["PRUNEMARK_DATA"] == str(tmp_path)


def test_the_environment_variable_names_the_folder_too(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEMARK_DATA", str(copy.parents[1]))
    assert len(dataset("hub:owner/name").train) == 4


def test_planning_learns_shape_and_sizes(copy: Path) -> None:
    entry = entry_for("hub:owner/name", data_dir=copy.parents[1])
    assert entry.input_shape == (3, 8, 6)
    assert (entry.classes, entry.train_examples, entry.test_examples) == (2, 4, 2)


def test_it_is_read_once_in_a_process(copy: Path) -> None:
    assert load(copy) is load(copy)
    assert fetch("hub:owner/name", data_dir=copy.parents[1]) == []


def test_grey_images_have_one_channel(copy: Path) -> None:
    for split, labels in (("train", [0, 1, 1]), ("test", [0])):
        parquet(copy, split, columns(0, labels, grey=True))
    data = load(copy)
    assert data.input_shape == (1, 8, 6)
    assert torch.equal(data.test.inputs[:], data.train.inputs[:1])


def test_validation_serves_as_test(copy: Path) -> None:
    (copy / "data" / "test-00000-of-00001.parquet").rename(copy / "data" / "validation-00000-of-00001.parquet")
    assert len(load(copy).test) == 2


def test_of_several_labels_the_fine_one_is_taken(copy: Path) -> None:
    features = {
        "img": library.Image(),
        "coarse_label": library.ClassLabel(names=["a"]),
        "fine_label": library.ClassLabel(names=NAMES),
    }
    for split in ("train", "test"):
        made = columns(0, [1, 0])
        parquet(copy, split, {"img": made["image"], "fine_label": made["label"], "coarse_label": [0, 0]}, features)
    data = load(copy)
    assert data.class_names == ("cat", "dog")
    assert data.train.targets.tolist() == [1, 0]


def test_the_fingerprint_follows_the_content(copy: Path) -> None:
    before = load(copy).fingerprint
    parquet(copy, "test", columns(50, [0, 0]))
    hub._load.cache_clear()
    assert load(copy).fingerprint != before


@pytest.mark.parametrize(
    ("split", "made", "message"),
    [
        ("test", columns(0, [0, -1]), "split test, example 1: expected a label from 0 to 1, found -1"),
        ("train", columns(0, [0, None]), "split train, example 1: expected a label from 0 to 1, found None"),
        ("test", columns(0, [0], size=9), None),
        ("train", {"image": [None], "label": [0]}, "split train, example 0: there is no image"),
    ],
)
def test_examples_that_are_none_are_refused(
    copy: Path, split: str, made: dict[str, list[Any]], message: str | None
) -> None:
    parquet(copy, split, made)
    with pytest.raises(ValueError, match=message or "splits of .* differ in shape"):
        load(copy)


def test_images_of_several_sizes_are_refused(copy: Path) -> None:
    first, second = columns(0, [0, 1]), columns(5, [0], size=9)
    parquet(copy, "train", {name: first[name] + second[name] for name in first})
    with pytest.raises(ValueError, match=r"example 2: expected an image of shape \(8, 6, 3\), found \(9, 6, 3\)"):
        load(copy)


def test_a_missing_split_is_named(copy: Path) -> None:
    (copy / "data" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match="must have the splits train and test or validation or valid, but has train"):
        load(copy)


def test_other_columns_are_refused(copy: Path) -> None:
    features = {"image": library.Image(), "label": library.Value("int64")}
    for split in ("train", "test"):
        parquet(copy, split, columns(0, [0, 1]), features)
    with pytest.raises(ValueError, match="must have one column of images and one of class labels"):
        load(copy)


@pytest.mark.parametrize("name", ["", "name", "a/b/c", "/name", "owner/", "../name", "owner/.."])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf'a data set of the hub is "hub:OWNER/NAME", not "hub:{name}"'):
        dataset(f"hub:{name}", data_dir=tmp_path)


def test_what_cannot_be_had_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'^data set "hub:owner/none" could not be loaded: ') as caught:
        dataset("hub:owner/none", data_dir=tmp_path)
    assert "Put a copy of its files into DIR/owner/none and give DIR as data_dir or in PRUNEMARK_DATA" in str(
        caught.value
    )


@pytest.mark.parametrize("package", ["datasets", "PIL.Image"])
def test_without_the_extra_the_error_says_what_to_install(
    copy: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r'needs the packages datasets and Pillow: pip install "prunemark\[hub\]"'):
        load(copy)
