"""The data sets, by name. Reading the table imports no torch; a data set is read when it is asked for."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.plugins import Table
from prunemark.registry import Entry, find, unknown

if TYPE_CHECKING:
    from prunemark.datasets.in_memory import Dataset, Split, SplitInputs
    from prunemark.datasets.lazy import LazyInputs

__all__ = [
    "DATASETS",
    "NORMALISATIONS",
    "Dataset",
    "DatasetEntry",
    "LazyInputs",
    "Normalisation",
    "Split",
    "SplitInputs",
    "dataset",
    "entry_for",
    "split_scheme",
]


NORMALISATIONS = {
    "own": "by the mean and standard deviation of the data set's own training images",
    "paper": "by the constants in the code of Frankle et al. 2021, where they are others",
}


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Constants by which pixels in [0, 1] become (pixel - mean) / std, for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry(Entry):
    """A line of DATASETS: what a study has to know about a data set before it is read.

    `target` is a function of the keyword `data_dir` that returns a Dataset; where there is a `paper_normalisation`,
    also of `normalisation`.

    Attributes:
        input_shape: channels, height and width of one example.
        classes: number of classes.
        train_examples: number of training examples.
        test_examples: number of test examples.
        paper_normalisation: what the study's own code normalises by, where it is not what we do.
        version: raised when examples are changed, so that no result of what they were before is taken for theirs.
    """

    input_shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int
    paper_normalisation: Normalisation | None = None
    version: int = 1

    def check(self, normalise: str) -> None:
        """Check that the data set can be normalised in that way.

        Raises:
            ValueError: an unknown way, or "paper" where the paper has no constants of its own.
        """
        if normalise not in NORMALISATIONS:
            raise ValueError(unknown("normalise", normalise, NORMALISATIONS))
        if normalise == "paper" and self.paper_normalisation is None:
            known = ", ".join(name for name, entry in DATASETS.items() if entry.paper_normalisation)
            raise ValueError(f'"paper" is for data that the paper normalises otherwise than we do: {known}')


_OWN: dict[str, DatasetEntry] = {
    "cifar-10": DatasetEntry(
        target="prunemark.datasets.cifar:load_cifar_10",
        summary="photographs of animals and vehicles, 32x32",
        source="Krizhevsky 2009",
        input_shape=(3, 32, 32),
        classes=10,
        train_examples=50_000,
        test_examples=10_000,
        # ImageNet's, in datasets/cifar10.py of open_lth.
        paper_normalisation=Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ),
    "cifar-100": DatasetEntry(
        target="prunemark.datasets.cifar:load_cifar_100",
        summary="photographs of a hundred kinds of things, 32x32",
        source="Krizhevsky 2009",
        input_shape=(3, 32, 32),
        classes=100,
        train_examples=50_000,
        test_examples=10_000,
    ),
    "digits": DatasetEntry(
        target="prunemark.datasets.digits:load",
        summary="handwritten digits, 8x8, part of the package",
        source="Alpaydin & Kaynak 1998, UCI Machine Learning Repository",
        input_shape=(1, 8, 8),
        classes=10,
        train_examples=1297,
        test_examples=500,
    ),
    "fashion-mnist": DatasetEntry(
        target="prunemark.datasets.mnist:load_fashion_mnist",
        summary="photographs of clothes, 28x28 grey",
        source="Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747",
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=60_000,
        test_examples=10_000,
    ),
    "fashion-mnist-small": DatasetEntry(
        target="prunemark.datasets.fashion_mnist_small:load",
        summary="a sixth of Fashion-MNIST's training images and all test images, part of the package",
        source="Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747",
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=10_000,
        test_examples=10_000,
    ),
    "imagenet": DatasetEntry(
        target="prunemark.datasets.imagenet:load_imagenet",
        summary="photographs of a thousand kinds of things, streamed as 224x224; needs the extra vision",
        source="Russakovsky et al. 2015, arXiv 1409.0575",
        input_shape=(3, 224, 224),
        classes=1000,
        train_examples=1_281_167,
        test_examples=50_000,
        version=2,  # version 1 scaled training images to 224 pixels and cut random crops from their centres
    ),
    "mnist": DatasetEntry(
        target="prunemark.datasets.mnist:load_mnist",
        summary="handwritten digits, 28x28 grey",
        source="LeCun, Cortes & Burges 1998",
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=60_000,
        test_examples=10_000,
    ),
    "tinyimagenet": DatasetEntry(
        target="prunemark.datasets.tiny_imagenet:load_tiny_imagenet",
        summary="photographs of two hundred kinds of things, 64x64; needs the extra vision",
        source="Le & Yang 2015, Stanford CS 231N",
        input_shape=(3, 64, 64),
        classes=200,
        train_examples=100_000,
        test_examples=10_000,
        # In datasets/tinyimagenet.py of the study's own branch of open_lth; they hardly centre anything.
        paper_normalisation=Normalisation(mean=(-0.021, -0.0354, -0.0376), std=(1.21, 1.20, 1.25)),
    ),
}
DATASETS = Table("prunemark.datasets", "data set", DatasetEntry, _OWN)
"""Ours by name, and those of other packages, see `prunemark.plugins`."""

SCHEMES = {"hub": "prunemark.datasets.hub:load"}
"""Other places that a name "SCHEME:REST" takes data sets from, by functions of REST and `data_dir`."""


def dataset(name: str, *, data_dir: str | Path | None = None, normalise: str = "own") -> "Dataset":
    """Read a data set.

    Files are looked for in `data_dir` (by default the folder that the environment variable PRUNEMARK_DATA
    names), in its subfolder of the data set's name first; then where the system's packages put them; then
    in the cache of earlier downloads; and are downloaded last. Wherever they come from, their SHA-256 is
    verified. TinyImageNet and ImageNet are taken from a folder of images as well.

    Args:
        name: a name of DATASETS, or "hub:OWNER/NAME" for one of the Hugging Face hub.
        data_dir: folder that holds DATA_SET_NAME/FILES or the files themselves; "digits" and
            "fashion-mnist-small" need none.
        normalise: a name of NORMALISATIONS.

    Raises:
        ValueError: unknown name or normalisation, a `data_dir` that is not a folder, or a file that is missing and
            cannot be downloaded, is damaged, or is another file of the same name; data that are not of the shape and
            number that DATASETS says.
    """
    scheme, rest = split_scheme(name)
    if scheme:
        if normalise != "own":
            raise ValueError(f'"{name}" is normalised by its own mean and standard deviation, not "{normalise}"')
        return Entry(target=SCHEMES[scheme], summary="").load()(rest, data_dir=data_dir)
    entry = find(DATASETS, "data set", name)
    entry.check(normalise)
    if normalise == "own":
        data = entry.load()(data_dir=data_dir)
    else:
        data = entry.load()(data_dir=data_dir, normalisation=entry.paper_normalisation)
        # Other inputs, and so another fingerprint.
        fingerprint = hashlib.sha256(f"{data.fingerprint} {normalise}".encode()).hexdigest()
        data = dataclasses.replace(data, fingerprint=fingerprint)
    found = _facts(data)
    if found != (expected := (entry.input_shape, entry.classes, entry.train_examples, entry.test_examples)):
        raise ValueError(
            f'data set "{name}" is incomplete: expected shape, classes, training and test examples {expected}, '
            f"found {found}"
        )
    return data


def entry_for(name: str, *, data_dir: str | Path | None = None) -> DatasetEntry:
    """The line of DATASETS of that name; for "hub:OWNER/NAME" one that is made of the data set, which is read for it.

    Raises:
        ValueError: as `dataset`.
    """
    scheme, _ = split_scheme(name)
    if not scheme:
        return find(DATASETS, "data set", name)
    shape, classes, train_examples, test_examples = _facts(dataset(name, data_dir=data_dir))
    return DatasetEntry(
        target=SCHEMES[scheme],
        summary=name,
        source=name,
        input_shape=shape,
        classes=classes,
        train_examples=train_examples,
        test_examples=test_examples,
    )


def split_scheme(name: str) -> tuple[str, str]:
    """("hub", "OWNER/NAME") of "hub:OWNER/NAME"; ("", NAME) of a name that has no scheme of SCHEMES."""
    scheme, colon, rest = name.partition(":")
    return (scheme, rest) if colon and scheme in SCHEMES else ("", name)


def _facts(data: "Dataset") -> tuple[tuple[int, int, int], int, int, int]:
    return data.input_shape, data.classes, len(data.train), len(data.test)


def __getattr__(name: str) -> Any:
    if name not in ("Dataset", "SplitInputs", "LazyInputs", "Split"):
        raise AttributeError(f"module 'prunemark.datasets' has no attribute {name!r}")
    from prunemark.datasets import in_memory

    return getattr(in_memory, name)
