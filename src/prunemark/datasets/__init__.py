"""The data sets, by name. Reading the table imports no torch; a data set is read when it is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.registry import Entry, find

if TYPE_CHECKING:
    from prunemark.datasets.in_memory import Dataset, Split

__all__ = ["DATASETS", "Dataset", "DatasetEntry", "Split", "dataset"]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry(Entry):
    """A line of DATASETS: what a study has to know about a data set before it is read.

    `target` is a function of one keyword, `data_dir`, that returns a Dataset. `input_shape` is
    (channels, height, width) of one example.
    """

    input_shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int


DATASETS: dict[str, DatasetEntry] = {
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
    "mnist": DatasetEntry(
        target="prunemark.datasets.mnist:load_mnist",
        summary="handwritten digits, 28x28 grey",
        source="LeCun, Cortes & Burges 1998",
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=60_000,
        test_examples=10_000,
    ),
}


def dataset(name: str, *, data_dir: str | Path | None = None) -> "Dataset":
    """Read a data set into memory.

    Files are looked for in `data_dir` (by default the folder that the environment variable PRUNEMARK_DATA
    names), in its subfolder of the data set's name first; then where the system's packages put them; then
    in the cache of earlier downloads; and are downloaded last. Wherever they come from, their SHA-256 is
    verified.

    Args:
        name: a name of DATASETS.
        data_dir: folder that holds DATA_SET_NAME/FILES or the files themselves; "digits" needs none.

    Raises:
        ValueError: unknown name, a `data_dir` that is no folder, or a file that is missing and cannot be
            downloaded, is damaged, or is another file of the same name.
    """
    return find(DATASETS, "data set", name).load()(data_dir=data_dir)


def __getattr__(name: str) -> Any:
    if name not in ("Dataset", "Split"):
        raise AttributeError(f"module 'prunemark.datasets' has no attribute {name!r}")
    from prunemark.datasets import in_memory

    return getattr(in_memory, name)
