import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prunemark import datasets
from prunemark.datasets import DATASETS, Dataset, dataset, entry_for, split_scheme
from tests.datasets.idx_files import write


def test_reading_the_table_imports_no_torch_and_no_numpy() -> None:
    program = (
        "import sys\n"
        "from prunemark.datasets import DATASETS, dataset\n"
        "assert len(DATASETS) >= 7\n"
        "print(sorted({'torch', 'numpy', 'requests'} & set(sys.modules)))"
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


def test_fetching_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from prunemark.datasets.fetching import fetch, verify\n"
        "assert verify('digits') == fetch('digits') == []\n"
        "print(sorted({'torch', 'numpy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PAPER = {
    "mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "cifar-10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar-100": ((3, 32, 32), 100, 50_000, 10_000),
    "tinyimagenet": ((3, 64, 64), 200, 100_000, 10_000),
    "imagenet": ((3, 224, 224), 1000, 1_281_167, 50_000),
}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_data_sets_have_their_shapes_and_sizes(name: str) -> None:
    entry = entry_for(name)
    assert (entry.input_shape, entry.classes, entry.train_examples, entry.test_examples) == PAPER[name]


def test_data_of_another_number_than_the_table_says_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "digits", replace(DATASETS["digits"], train_examples=1300))
    with pytest.raises(
        ValueError, match=r'"digits" is incomplete: expected .*10, 1300, 500\), found .*10, 1297, 500\)'
    ):
        dataset("digits")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digits", ("", "digits")),
        ("hub:owner/name", ("hub", "owner/name")),
        ("hub:", ("hub", "")),
        ("hub", ("", "hub")),
        ("http://x", ("", "http://x")),
    ],
)
def test_a_scheme_is_told_from_a_name(name: str, parts: tuple[str, str]) -> None:
    assert split_scheme(name) == parts


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
