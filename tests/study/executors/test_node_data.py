from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunemark.datasets.sources import SOURCES
from prunemark.study.executors.node_data import Bytes, put, unpacked


def test_the_files_of_a_data_set_are_fetched_once_on_a_node(tmp_path: Path) -> None:
    here = tmp_path / "here" / "fashion-mnist"
    here.mkdir(parents=True)
    names = [file.name for file in SOURCES["fashion-mnist"].files]
    for name in names:
        (here / name).write_bytes(name.encode())
    stored: list[Bytes] = []
    fetched: list[int] = []

    def store(content: Bytes) -> Any:
        stored.append(content)
        return len(stored) - 1

    def fetch(reference: int) -> Bytes:
        fetched.append(reference)
        return stored[reference]

    data = put("fashion-mnist", str(tmp_path / "here"), store)
    assert data is not None
    assert list(data.files) == names
    for _ in range(2):
        there = Path(unpacked(data, fetch, folder=tmp_path / "node"))
        assert {path.name: path.read_bytes() for path in (there / "fashion-mnist").iterdir()} == {
            name: name.encode() for name in names
        }
    assert fetched == [0, 1, 2, 3]


def test_what_has_no_published_files_is_read_by_each_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemark.study.executors.node_data.cache_folder", lambda name: tmp_path / name)

    def store(_: np.ndarray[Any, Any]) -> None:
        raise AssertionError

    for name in ("digits", "hub:owner/name", "imagenet", "mnist"):
        assert put(name, str(tmp_path), store) is None
