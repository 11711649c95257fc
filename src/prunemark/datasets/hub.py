"""Data sets of the Hugging Face hub, with the packages of the extra `hub`."""

import functools
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from prunemark.datasets.files import ENVIRONMENT_VARIABLE, given_folder
from prunemark.datasets.in_memory import Dataset, byte_counts, fingerprint_of, from_pixels, moments

_TEST_SPLITS = ("test", "validation", "valid")
_LABEL_COLUMNS = ("label", "fine_label")


class _Columns(NamedTuple):
    image: str
    label: str
    class_names: tuple[str, ...]


def load(name: str, *, data_dir: str | Path | None = None) -> Dataset:
    """A data set "OWNER/NAME" of images with one label each.

    The image is the column of images, the label the column of class labels, of several the one called "label" or
    "fine_label"; the training split is "train", the test split "test" or else "validation". A copy in
    `data_dir`/OWNER/NAME (PRUNEMARK_DATA by default) goes before the hub. No code that comes with data is run. The
    bytes are in memory and are normalised batch by batch.

    Raises:
        ValueError: the name is not OWNER/NAME; the data set could not be loaded, has other columns or splits, images of
            several sizes or labels that are no class; the package `datasets` or Pillow is not installed.
    """
    folder = given_folder(data_dir)
    return _load(name, None if folder is None else folder.absolute())


# A study asks for the shape, the driver for the data: read once in a process.
@functools.lru_cache(maxsize=1)
def _load(name: str, folder: Path | None) -> Dataset:
    full_name = f"hub:{name}"
    owner, _, rest = name.partition("/")
    if not owner or not rest or any(part in ("", ".", "..") for part in name.split("/")) or "/" in rest:
        raise ValueError(f'a data set of the hub is "hub:OWNER/NAME", not "{full_name}"')
    splits = _splits(full_name, name, folder)
    test = next((split for split in _TEST_SPLITS if split in splits), None)
    if "train" not in splits or test is None:
        raise ValueError(
            f'data set "{full_name}" must have the splits train and {" or ".join(_TEST_SPLITS)}, '
            f"but has {', '.join(splits)}"
        )
    columns = _columns(full_name, splits["train"].features)
    train_pixels, train_labels = _arrays(full_name, "train", splits["train"], columns)
    test_pixels, test_labels = _arrays(full_name, test, splits[test], columns)
    counts = np.stack([byte_counts(train_pixels[..., channel]) for channel in range(train_pixels.shape[3])])
    mean, std = moments(full_name, counts)
    return from_pixels(
        full_name,
        train=(torch.from_numpy(train_pixels), torch.from_numpy(train_labels)),
        test=(torch.from_numpy(test_pixels), torch.from_numpy(test_labels)),
        mean=torch.from_numpy(mean),
        std=torch.from_numpy(std),
        class_names=columns.class_names,
        fingerprint=fingerprint_of(train_pixels, train_labels, test_pixels, test_labels),
    )


def _splits(full_name: str, name: str, folder: Path | None) -> Mapping[str, Any]:
    try:
        library: Any = importlib.import_module("datasets")
        # The library decodes images with it.
        importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ValueError(
            f'data set "{full_name}" needs the packages datasets and Pillow: pip install "prunemark[hub]" ({error})'
        ) from error
    local = folder / name if folder else None
    try:
        return library.load_dataset(str(local) if local and local.is_dir() else name)
    # Of many kinds, from the network, the hub and each file format.
    except Exception as error:
        raise ValueError(
            f'data set "{full_name}" could not be loaded: {type(error).__name__}: {error}\n'
            f"Put a copy of its files into DIR/{name} and give DIR as data_dir or in {ENVIRONMENT_VARIABLE}; "
            f"`hf download --repo-type dataset {name} --local-dir DIR/{name}` makes one."
        ) from error


def _columns(full_name: str, features: Mapping[str, Any]) -> _Columns:
    def of_kind(kind: str) -> list[str]:
        return [name for name, feature in features.items() if type(feature).__name__ == kind]

    images, labels = of_kind("Image"), of_kind("ClassLabel")
    label = next((name for name in _LABEL_COLUMNS if name in labels), labels[0] if len(labels) == 1 else None)
    if len(images) != 1 or label is None:
        raise ValueError(
            f'data set "{full_name}" must have one column of images and one of class labels '
            f"(of several, {' or '.join(_LABEL_COLUMNS)}), but has {dict(features)}"
        )
    return _Columns(image=images[0], label=label, class_names=tuple(features[label].names))


def _arrays(
    full_name: str, split: str, rows: Iterable[Mapping[str, Any]], columns: _Columns
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (N, H, W, C), with one channel if the first image has one and else with three, and labels (N,)."""
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    mode = ""
    for position, row in enumerate(rows):
        image, label = row[columns.image], row[columns.label]
        where = f'data set "{full_name}", split {split}, example {position}'
        if image is None:
            raise ValueError(f"{where}: there is no image")
        mode = mode or ("L" if image.mode in ("1", "L") else "RGB")
        pixels = np.array(image.convert(mode), dtype=np.uint8)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if images and pixels.shape != images[0].shape:
            raise ValueError(f"{where}: expected an image of shape {images[0].shape}, found {pixels.shape}")
        if label is None or not 0 <= label < len(columns.class_names):
            raise ValueError(f"{where}: expected a label from 0 to {len(columns.class_names) - 1}, found {label}")
        images.append(pixels)
        labels.append(label)
    if not images:
        raise ValueError(f'data set "{full_name}": the split {split} is empty')
    return np.stack(images), np.array(labels, dtype=np.int64)
