import subprocess
import sys
from pathlib import Path

import pytest

from prunemark import datasets
from prunemark.datasets import DATASETS, Dataset, dataset
from tests.datasets.idx_files import write


def test_reading_the_table_imports_no_torch_and_no_numpy() -> None:
    program = (
        "import sys\n"
        "from prunemark.datasets import DATASETS, dataset\n"
        "assert len(DATASETS) >= 3\n"
        "print(sorted({'torch', 'numpy', 'pooch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_names_a_loader_and_its_source(name: str) -> None:
    entry = DATASETS[name]
    assert callable(entry.load())
    assert entry.summary
    assert entry.source


def test_the_entry_of_digits_says_what_the_data_are() -> None:
    data, entry = dataset("digits"), DATASETS["digits"]
    assert isinstance(data, Dataset)
    assert data.name == "digits"
    assert data.input_shape == entry.input_shape
    assert data.classes == entry.classes
    assert (len(data.train), len(data.test)) == (entry.train_examples, entry.test_examples)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r'unknown data set "fashion_mnist".*did you mean "fashion-mnist"'):
        dataset("fashion_mnist")


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
def test_data_dir_reaches_the_loader(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, {"train-images-idx3-ubyte.gz": b"damaged"})
    with pytest.raises(ValueError, match=rf"{name}/train-images-idx3-ubyte\.gz: .*expected SHA-256 [0-9a-f]{{64}}"):
        dataset(name, data_dir=tmp_path)


def test_the_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'prunemark\.datasets' has no attribute 'Datasets'"):
        _ = datasets.Datasets
