"""A tiny data set in IDX files, made by the tests."""

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemark.datasets.files import DataFile, Source

CLASS_NAMES = ("cat", "dog", "owl")


def idx_bytes(array: NDArray[Any], *, kind: int = 0x08) -> bytes:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


def tiny_arrays() -> dict[str, NDArray[np.uint8]]:
    draw = np.random.default_rng(0)
    return {
        "train-images.gz": draw.integers(0, 256, (12, 5, 4), dtype=np.uint8),
        "train-labels.gz": np.arange(12, dtype=np.uint8) % 3,
        "test-images.gz": draw.integers(0, 256, (6, 5, 4), dtype=np.uint8),
        "test-labels.gz": np.arange(6, dtype=np.uint8) % 3,
    }


def tiny_contents() -> dict[str, bytes]:
    return {name: idx_bytes(array) for name, array in tiny_arrays().items()}


def tiny_published() -> dict[str, bytes]:
    return {name: gzip.compress(content, mtime=0) for name, content in tiny_contents().items()}


def tiny_source(*, urls: tuple[str, ...] = (), system_folders: tuple[Path, ...] = ()) -> Source:
    contents, published = tiny_contents(), tiny_published()
    files = tuple(
        DataFile(
            name=name,
            sha256=hashlib.sha256(published[name]).hexdigest(),
            content_sha256=hashlib.sha256(contents[name]).hexdigest(),
        )
        for name in contents
    )
    return Source(dataset="tiny", files=files, urls=urls, system_folders=system_folders, hint="Or ask the tests.")


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
