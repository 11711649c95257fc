"""The optical handwritten digits of the UCI repository, 1,797 images of 8x8, shipped in the package."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemark.datasets.in_memory import Dataset, Images, Labels, from_images

TEST_EXAMPLES = 500


def load(*, data_dir: str | Path | None = None) -> Dataset:
    """Handwritten digits: 1,297 training and 500 test images, pixels 0 to 16 before normalisation.

    The split is `test_members`. `data_dir` is accepted as every loader accepts it; nothing is read from it.

    Reference: Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, CC BY 4.0; licence and origin in digits.LICENSE.txt beside this file.
    Deviations: these are the 1,797 images that the UCI repository calls its test set (13 writers), as
    scikit-learn ships them; its training set is not used, and the split is ours.
    """
    images, labels = read()
    in_test = test_members(labels, TEST_EXAMPLES)
    return from_images(
        "digits",
        train=(images[~in_test], labels[~in_test]),
        test=(images[in_test], labels[in_test]),
        class_names=tuple("0123456789"),
    )


def read() -> tuple[Images, Labels]:
    """All images (1797, 1, 8, 8) of uint8, 0 to 16, and labels (1797,), in the order of the source."""
    with (
        resources.files("prunemark.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return arrays["images"][:, np.newaxis], arrays["labels"]


def test_members(labels: Labels, examples: int) -> NDArray[np.bool_]:
    """Indices of a stratified test split of `examples`, the same on every machine and release.

    Class c gets floor(examples * n_c / n) places; the places left over go to the largest remainders, of
    equal ones to the smaller class. Its members are those whose SHA-256 of "prunemark digits ROW" is
    smallest, ROW being the position in the source: a fixed random order that hangs on no generator.
    """
    classes, counts = np.unique(labels, return_counts=True)
    places, remainders = np.divmod(examples * counts, len(labels))
    left_over = examples - int(places.sum())
    places[np.argsort(-remainders, kind="stable")[:left_over]] += 1
    rank = [hashlib.sha256(f"prunemark digits {row}".encode()).digest() for row in range(len(labels))]
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, count in zip(classes, places, strict=True):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=rank.__getitem__)
        chosen[members[: int(count)]] = True
    return chosen
