import gzip
import hashlib
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from prunemark.datasets import dataset, digits


def test_the_shipped_arrays_are_the_source() -> None:
    images, labels = digits.read()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    # The source's first line: 0,0,5,13,9,1,0,0, ... ,0 is a zero.
    assert images[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert labels[:10].tolist() == list(range(10))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_the_split_is_pinned() -> None:
    data = dataset("digits")
    assert data.input_shape == (1, 8, 8)
    assert data.class_names == tuple("0123456789")
    assert data.train.targets.bincount().tolist() == [128, 131, 128, 132, 131, 131, 131, 129, 126, 130]
    assert data.test.targets.bincount().tolist() == [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]
    assert data.fingerprint == "88037cb78b7c4a630bc169f6bb2840c9825af878e1753f5f8f112c82a86dda6b"


def test_no_image_is_in_both_splits() -> None:
    data = dataset("digits")
    both = torch.cat([data.train.inputs, data.test.inputs]).flatten(1)
    assert len(both) == len(both.unique(dim=0)) == 1797


def test_every_loader_accepts_a_data_dir(tmp_path: Path) -> None:
    assert dataset("digits", data_dir=tmp_path).fingerprint == dataset("digits").fingerprint


def test_the_places_of_a_stratified_split_by_hand() -> None:
    # Five places of 6 + 3 + 3: quotas 2.5, 1.25, 1.25 -> 2, 1, 1 and the place left over to the largest remainder.
    labels = np.array([0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2], dtype=np.uint8)
    chosen = digits.test_members(labels, 5)
    assert np.bincount(labels[chosen]).tolist() == [3, 1, 1]
    # Of two equal remainders (3 of 3 + 3: 1.5, 1.5) the smaller class has the place.
    labels = np.array([0, 0, 0, 1, 1, 1], dtype=np.uint8)
    assert np.bincount(labels[digits.test_members(labels, 3)]).tolist() == [2, 1]


@pytest.mark.parametrize("examples", [1, 250, 1797])
def test_the_split_has_exactly_the_asked_examples_near_their_share(examples: int) -> None:
    _, labels = digits.read()
    chosen = digits.test_members(labels, examples)
    assert chosen.sum() == examples
    shares = examples * np.bincount(labels) / len(labels)
    assert np.abs(np.bincount(labels[chosen], minlength=10) - shares).max() < 1


def test_licence_and_source_ship_beside_the_data() -> None:
    text = resources.files("prunemark.datasets").joinpath("digits.LICENSE.txt").read_text(encoding="utf-8")
    for needed in ("Alpaydin", "Kaynak", "UCI Machine Learning Repository", "CC BY 4.0", "BSD 3-Clause"):
        assert needed in text


def test_the_archive_can_be_rebuilt_from_a_wheel(tmp_path: Path) -> None:
    images, labels = digits.read()
    lines = [
        ",".join(str(value) for value in (*image.flatten(), label)) for image, label in zip(images, labels, strict=True)
    ]
    wheel, out = tmp_path / "some.whl", tmp_path / "digits.npz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sklearn/datasets/data/digits.csv.gz", gzip.compress("\n".join(lines).encode()))
    tool = Path(__file__).parents[2] / "tools" / "make_digits.py"
    subprocess.run([sys.executable, tool, wheel, "--out", out], check=True, capture_output=True)
    with np.load(out, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["images"], images[:, 0])
        np.testing.assert_array_equal(arrays["labels"], labels)
