"""A sixth of Fashion-MNIST's training images and all of its test images, shipped in the package."""

from importlib import resources
from pathlib import Path

import numpy as np

from prunemark.datasets.in_memory import Dataset, Images, Labels, from_images
from prunemark.datasets.mnist import CLOTHES

PER_CLASS = 1000


def load(*, data_dir: str | Path | None = None) -> Dataset:
    """Fashion-MNIST with 10,000 training images, 1,000 per class, and its own 10,000 test images.

    `data_dir` is accepted as every loader accepts it; nothing is read from it.

    Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017, arXiv 1708.07747. Licence: MIT, Zalando SE; in full in
    fashion_mnist_small.LICENSE.txt beside this file.
    Deviations: of the 60,000 training images, the first 1,000 of each class in the order of the source, so that the
    file stays below 10 MB. Accuracies are a few points below those of the whole data set.
    """
    train, test = read()
    return from_images("fashion-mnist-small", train=train, test=test, class_names=CLOTHES)


def read() -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """Images (10000, 1, 28, 28) of uint8 and labels (10000,) of the training and of the test split."""
    with (
        resources.files("prunemark.datasets").joinpath("fashion_mnist_small.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        train, test = (
            (arrays[f"{split}_images"][:, np.newaxis], arrays[f"{split}_labels"]) for split in ("train", "test")
        )
    return train, test
