"""Rebuild src/prunemark/datasets/fashion_mnist_small.npz from the files of Fashion-MNIST.

    python tools/make_fashion_mnist_small.py [--data-dir FOLDER]

The files are found and verified as `prunemark.dataset("fashion-mnist")` does it. Kept are the first 1,000 training
images of each class and all test images, both in the order of the source. The archive has no time stamps, so one
version of numpy and zlib makes the same bytes each time; the arrays are the same in any case, and
tests/datasets/test_fashion_mnist_small.py pins their SHA-256.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemark.datasets.fashion_mnist_small import PER_CLASS
from prunemark.datasets.in_memory import Labels
from prunemark.datasets.mnist import read_fashion_mnist

TARGET = Path(__file__).parents[1] / "src/prunemark/datasets/fashion_mnist_small.npz"


def main() -> None:
    """Read the four files and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    (images, labels), (test_images, test_labels) = read_fashion_mnist(data_dir=arguments.data_dir)
    kept = first_of_each_class(labels, PER_CLASS)
    np.savez_compressed(
        arguments.out,
        train_images=images[kept, 0],
        train_labels=labels[kept],
        test_images=test_images[:, 0],
        test_labels=test_labels,
    )
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


def first_of_each_class(labels: Labels, count: int) -> NDArray[np.intp]:
    """Positions, increasing, of the first `count` examples of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


if __name__ == "__main__":
    main()
