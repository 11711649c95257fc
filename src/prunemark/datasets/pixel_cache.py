"""Images decoded once into files that every process maps into memory and shares."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prunemark.datasets import Normalisation
from prunemark.datasets.in_memory import Dataset, byte_counts, fingerprint_of, from_pixels, in_bytes, moments

_ABOUT = "about.json"
_SPLITS = ("train", "test")
_COUNTED_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True)
class UndecodedImages:
    """Images to decode.

    Attributes:
        splits: "train" and "test": the images' names, and a class number (N,) of int64 for each.
        class_names: what class c means.
        shape: (H, W, C) of each image.
        decode: the pixels (H, W, C) of the image of that name; ValueError if it cannot be decoded.
    """

    splits: Mapping[str, tuple[tuple[str, ...], NDArray[np.int64]]]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    decode: Callable[[str], NDArray[np.uint8]]


def is_stored(folder: Path) -> bool:
    """True if the folder holds all decoded images: it gets its name when the last one is written."""
    return (folder / _ABOUT).is_file()


def store(name: str, folder: Path, images: UndecodedImages) -> None:
    """Decode images into a folder, which appears when all is there.

    Raises:
        ValueError: an image cannot be decoded or has another shape, a channel is constant, or the folder cannot be
            written.
    """
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        unfinished.mkdir(parents=True)
        for split in _SPLITS:
            names, labels = images.splits[split]
            _write_pixels(_pixels(unfinished, split), images, names)
            np.save(_labels(unfinished, split), labels)
        arrays = {split: np.load(_pixels(unfinished, split), mmap_mode="r") for split in _SPLITS}
        mean, std = moments(name, _counts(arrays["train"]))
        about = {
            "class_names": images.class_names,
            "mean": mean.tolist(),
            "std": std.tolist(),
            "fingerprint": fingerprint_of(*(a for s in _SPLITS for a in (arrays[s], images.splits[s][1]))),
        }
        (unfinished / _ABOUT).write_text(json.dumps(about))
        _settle(unfinished, folder)
    except OSError as error:
        raise ValueError(f"{folder}: the decoded images cannot be stored: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load(name: str, folder: Path, *, normalisation: Normalisation | None = None) -> Dataset:
    """The data set that a folder holds, mapped into memory, normalised by its own constants or the given ones.

    Raises:
        ValueError: what is stored is damaged.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text())
        mean, std = in_bytes(normalisation) if normalisation else (about["mean"], about["std"])
        train, test = (
            # "c": what a process changes stays with it, and what none changes is in memory once.
            (
                torch.from_numpy(np.load(_pixels(folder, split), mmap_mode="c", allow_pickle=False)),
                torch.from_numpy(np.load(_labels(folder, split), allow_pickle=False)),
            )
            for split in _SPLITS
        )
        return from_pixels(
            name,
            train=train,
            test=test,
            mean=torch.tensor(mean, dtype=torch.float32),
            std=torch.tensor(std, dtype=torch.float32),
            class_names=tuple(about["class_names"]),
            fingerprint=about["fingerprint"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: the decoded images are damaged ({error}). Remove the folder: it will be made anew."
        ) from error


def _write_pixels(path: Path, images: UndecodedImages, names: tuple[str, ...]) -> None:
    # Written and not mapped: on a full disk, writing to a mapped file kills the process.
    with path.open("wb") as file:
        shape = (len(names), *images.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for name in names:
            pixels = images.decode(name)
            if pixels.shape != images.shape:
                raise ValueError(f"{name}: expected an image of shape {images.shape}, found {pixels.shape}")
            file.write(pixels.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _counts(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.zeros((pixels.shape[3], 256), dtype=np.int64)
    for start in range(0, len(pixels), _COUNTED_AT_ONCE):
        part = pixels[start : start + _COUNTED_AT_ONCE]
        for channel in range(pixels.shape[3]):
            counts[channel] += byte_counts(part[..., channel])
    return counts


def _settle(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError:
        # Another process was faster, and has stored the same.
        if not is_stored(folder):
            raise


def _pixels(folder: Path, split: str) -> Path:
    return folder / f"{split}-pixels.npy"


def _labels(folder: Path, split: str) -> Path:
    return folder / f"{split}-labels.npy"
