"""MNIST and Fashion-MNIST: 60,000 and 10,000 grey images of 28x28 in IDX files."""

from pathlib import Path

from prunemark.datasets.files import DataFile, Source, read
from prunemark.datasets.idx import parse_labelled_images
from prunemark.datasets.in_memory import Dataset, Images, Labels, from_images
from prunemark.datasets.sources import FASHION_MNIST, MNIST

CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load_fashion_mnist(*, data_dir: str | Path | None = None) -> Dataset:
    """Fashion-MNIST: ten kinds of clothes.

    Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017, arXiv 1708.07747. Licence: MIT, Zalando SE.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    return load(FASHION_MNIST, class_names=CLOTHES, data_dir=data_dir)


def read_fashion_mnist(*, data_dir: str | Path | None = None) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """Images (N, 1, 28, 28) of uint8 and labels (N,) of Fashion-MNIST's training and test split.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    return _read(FASHION_MNIST, classes=len(CLOTHES), data_dir=data_dir)


def load_mnist(*, data_dir: str | Path | None = None) -> Dataset:
    """MNIST: handwritten digits.

    Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998.

    Raises:
        ValueError: a file is missing or is not the published one.
    """
    return load(MNIST, class_names=tuple("0123456789"), data_dir=data_dir)


def load(source: Source, *, class_names: tuple[str, ...], data_dir: str | Path | None = None) -> Dataset:
    """A data set of four IDX files: training images and labels, test images and labels, in this order.

    Raises:
        ValueError: a file is missing, is not the one whose checksums `source` gives, or is not sound IDX.
    """
    train, test = _read(source, classes=len(class_names), data_dir=data_dir)
    return from_images(source.dataset, train=train, test=test, class_names=class_names)


def _read(
    source: Source, *, classes: int, data_dir: str | Path | None
) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    train_images, train_labels, test_images, test_labels = source.files

    def split(images: DataFile, labels: DataFile) -> tuple[Images, Labels]:
        return parse_labelled_images(
            read(source, images, data_dir=data_dir),
            read(source, labels, data_dir=data_dir),
            classes=classes,
            origins=(images.name, labels.name),
        )

    return split(train_images, train_labels), split(test_images, test_labels)
