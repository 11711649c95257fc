"""The data sets, by name. Reading the table imports no torch; a data set is read when it is asked for."""

import dataclasses
import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.own_code import is_own_code
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
    "OverlapWarning",
    "Split",
    "SplitInputs",
    "anchored_dataset",
    "dataset",
    "entry_for",
    "entry_of",
    "facts_text",
    "form_of",
    "overlap_words",
    "short_dataset",
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
        input_shape: of one example; of an image: channels, height and width.
        classes: number of classes; of tokens or of values that are predicted, for other tasks.
        train_examples: number of training examples.
        test_examples: number of test examples.
        paper_normalisation: what the study's own code normalises by, where it is not what we do.
        version: raised when examples are changed, so that no result of what they were before is taken for theirs.
        task: a name in `prunemark.terms.tasks.TASKS`.
        tokens: whether inputs are tokens, whole numbers.
        fingerprint: of data that are not of DATASETS.
        overlap: test examples that are training examples too, where that was looked for.
    """

    input_shape: tuple[int, ...]
    classes: int
    train_examples: int
    test_examples: int
    paper_normalisation: Normalisation | None = None
    version: int = 1
    task: str = "classification"
    tokens: bool = False
    fingerprint: str = ""
    overlap: int = 0

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
    "sums": DatasetEntry(
        target="prunemark.datasets.text:load_sums",
        summary="sums of two numbers in English words, to be continued character by character; generated",
        source="this package; CC0 1.0",
        input_shape=(64,),
        classes=24,
        train_examples=5974,
        test_examples=1483,
        task="next-token",
        tokens=True,
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

FORMS = {
    "code": "prunemark.datasets.own_data:load",
    "arrays": "prunemark.datasets.array_files:load",
    "folder": "prunemark.datasets.image_folder:load",
    "text": "prunemark.datasets.text:load",
}
"""Data sets of a user's own, by functions of their name: "FILE.py:data", files of arrays, folders of images, text."""


class OverlapWarning(UserWarning):
    """Test examples are training examples, too."""


def dataset(name: str, *, data_dir: str | Path | None = None, normalise: str = "own") -> "Dataset":
    """Read a data set.

    Files are looked for in `data_dir` (by default the folder that the environment variable PRUNEMARK_DATA
    names), in its subfolder of the data set's name first; then where the system's packages put them; then
    in the cache of earlier downloads; and are downloaded last. Wherever they come from, their SHA-256 is
    verified. TinyImageNet and ImageNet are taken from a folder of images as well.

    Args:
        name: a name of DATASETS; "hub:OWNER/NAME" for one of the Hugging Face hub; or one of your own: "FILE.py:data",
            a file .npz, .safetensors or .parquet, a folder "FOLDER/" of images, or "FILE.txt:CONTEXT".
        data_dir: folder that holds DATA_SET_NAME/FILES or the files themselves; "digits" and
            "fashion-mnist-small" need none.
        normalise: a name of NORMALISATIONS.

    Raises:
        ValueError: unknown name or normalisation, a `data_dir` that is not a folder, or a file that is missing and
            cannot be downloaded, is damaged, or is another file of the same name; data that are not of the shape and
            number that DATASETS says.

    Examples:
        >>> data = pm.dataset("digits")
        >>> data.input_shape, data.classes
        ((1, 8, 8), 10)
    """
    scheme, rest = split_scheme(name)
    if target := SCHEMES.get(scheme) or FORMS.get(form_of(name)):
        if normalise != "own":
            raise ValueError(f'"{name}" is normalised by its own mean and standard deviation, not "{normalise}"')
        made: Dataset = Entry(target=target, summary="").load()(rest, data_dir=data_dir)
        if words := overlap_words(made.overlap, len(made.test)):
            warnings.warn(f"{made.name}: {words}", OverlapWarning, stacklevel=2)
        return made
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
    """The line of DATASETS of that name; of any other data set one that is made of it, which is read for it.

    Code of the user's runs in a process of its own.

    Raises:
        ValueError: as `dataset`.
    """
    if not form_of(name) and not split_scheme(name)[0]:
        return find(DATASETS, "data set", name)
    from prunemark.datasets.facts import facts_of, facts_of_code

    return facts_of_code(name) if form_of(name) == "code" else facts_of(name, data_dir)


_FACTS = ("input_shape", "classes", "train_examples", "test_examples", "task", "tokens", "fingerprint", "overlap")


def entry_of(name: str, facts: str) -> DatasetEntry:
    """A line for a data set that is not of DATASETS, by its `facts_text`."""
    fields: dict[str, Any] = json.loads(facts)
    fields["input_shape"] = tuple(map(int, fields["input_shape"]))
    return DatasetEntry(target="", summary=name, source=name, **fields)


def facts_text(entry: DatasetEntry) -> str:
    """What a line says of the data, as JSON."""
    return json.dumps({name: getattr(entry, name) for name in _FACTS}, sort_keys=True)


def form_of(name: str) -> str:
    """The key of FORMS that a name is of; empty of a name of DATASETS or of a scheme, and of what is neither."""
    if split_scheme(name)[0] or name in DATASETS:
        return ""
    if is_own_code(name):
        return "code"
    suffix = Path(name).suffix
    if suffix in (".npz", ".safetensors", ".parquet"):
        return "arrays"
    if suffix.partition(":")[0] == ".txt":
        return "text"
    return "folder" if "/" in name or Path(name).is_dir() else ""


def anchored_dataset(name: str, folder: Path) -> str:
    """The name with its file or folder taken from a folder, if it is one of FORMS and relative; else unchanged."""
    return str((folder / name).absolute()) if form_of(name) else name


def short_dataset(name: str) -> str:
    """The name without the folders of its file, if it is one of FORMS; else unchanged."""
    return Path(name).name if form_of(name) else name


def overlap_words(overlap: int, test_examples: int) -> str:
    """The sentence on test examples that are training examples too; empty if there are none."""
    if not overlap:
        return ""
    return (
        f"{overlap:,} of {test_examples:,} test examples ({overlap / test_examples:.1%}) are training examples, too: "
        "what is measured on them is memory"
    )


def split_scheme(name: str) -> tuple[str, str]:
    """("hub", "OWNER/NAME") of "hub:OWNER/NAME"; ("", NAME) of a name that has no scheme of SCHEMES."""
    scheme, colon, rest = name.partition(":")
    return (scheme, rest) if colon and scheme in SCHEMES else ("", name)


def _facts(data: "Dataset") -> tuple[tuple[int, ...], int, int, int]:
    return data.input_shape, data.classes, len(data.train), len(data.test)


def __getattr__(name: str) -> Any:
    if name not in ("Dataset", "SplitInputs", "LazyInputs", "Split"):
        raise AttributeError(f"module 'prunemark.datasets' has no attribute {name!r}")
    from prunemark.datasets import in_memory

    return getattr(in_memory, name)
