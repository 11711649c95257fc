import hashlib
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from prunemark.datasets import DATASETS, dataset, fashion_mnist_small, mnist


def test_the_shipped_arrays_are_the_source() -> None:
    (images, labels), (test_images, test_labels) = fashion_mnist_small.read()
    assert images.shape == test_images.shape == (10_000, 1, 28, 28)
    assert labels.shape == test_labels.shape == (10_000,)
    assert images.dtype == labels.dtype == test_images.dtype == test_labels.dtype == np.uint8
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (images, labels, test_images, test_labels))).hexdigest()
    assert digest == "0618be79746aea5e0342b5bcd5f42103f5e0224361310176e039b1775a16f8f9"


def test_each_class_is_a_tenth_of_both_splits() -> None:
    data, entry = dataset("fashion-mnist-small"), DATASETS["fashion-mnist-small"]
    assert data.name == "fashion-mnist-small"
    assert data.input_shape == entry.input_shape
    assert (len(data.train), len(data.test)) == (entry.train_examples, entry.test_examples)
    assert data.train.targets.bincount().tolist() == [1000] * 10
    assert data.test.targets.bincount().tolist() == [1000] * 10
    assert data.class_names[9] == "ankle boot"
    assert data.fingerprint == "f50a0e0495c016d8f7c5d7e830f6e3b0d1e2f0c346d276ee34dbffa5587699ea"


def test_the_training_images_are_normalised_by_their_own_mean_and_deviation() -> None:
    inputs = dataset("fashion-mnist-small").train.inputs
    assert isinstance(inputs, torch.Tensor)
    assert float(inputs.double().mean()) == pytest.approx(0, abs=1e-6)
    assert float(inputs.double().std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_it_is_no_other_data_set_by_a_folder_of_data(tmp_path: Path) -> None:
    assert dataset("fashion-mnist-small", data_dir=tmp_path).fingerprint == dataset("fashion-mnist-small").fingerprint


def test_the_archive_stays_below_ten_megabytes() -> None:
    archive = resources.files("prunemark.datasets").joinpath("fashion_mnist_small.npz").read_bytes()
    assert len(archive) < 10_000_000


def test_licence_and_source_ship_beside_the_data() -> None:
    text = resources.files("prunemark.datasets").joinpath("fashion_mnist_small.LICENSE.txt").read_text(encoding="utf-8")
    for needed in ("MIT License", "Copyright (c) 2017 Zalando SE", "Xiao", "first 1,000 images of each class"):
        assert needed in text


@pytest.mark.soak
def test_the_archive_can_be_rebuilt_from_debians_files(tmp_path: Path) -> None:
    out = tmp_path / "again.npz"
    tool = Path(__file__).parents[2] / "tools" / "make_fashion_mnist_small.py"
    subprocess.run([sys.executable, tool, "--out", out], check=True, capture_output=True)
    (images, labels), (test_images, test_labels) = fashion_mnist_small.read()
    with np.load(out, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["train_images"], images[:, 0])
        np.testing.assert_array_equal(arrays["train_labels"], labels)
        np.testing.assert_array_equal(arrays["test_images"], test_images[:, 0])
        np.testing.assert_array_equal(arrays["test_labels"], test_labels)
    # The test split is the source's own, and no training image was made up.
    (source_images, source_labels), test = mnist.read_fashion_mnist()
    np.testing.assert_array_equal(test[0], test_images)
    np.testing.assert_array_equal(test[1], test_labels)
    for label in range(10):
        np.testing.assert_array_equal(source_images[source_labels == label][:1000], images[labels == label])
