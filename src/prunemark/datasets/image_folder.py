"""Data sets in a folder of images: FOLDER/{train,test}/CLASS/IMAGE."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemark.datasets.decoding import pixels_with_pillow
from prunemark.datasets.from_tensors import from_tensors
from prunemark.datasets.in_memory import Dataset

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_TEST = ("test", "validation", "val")


def load(name: str, *, data_dir: str | Path | None = None) -> Dataset:
    """A folder of images as a data set: one folder per split, in it one per class; all images of one size.

    The training split is "train", the test split "test" or else "validation" or "val". Images are read as RGB; where
    the channels of all of them are equal, one is kept. Needs Pillow.

    Raises:
        ValueError: no such folder, split or class; an image that is damaged or of another size; what `from_tensors`
            refuses.
    """
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(f'data set "{name}": there is no such folder')
    test = next((each for each in _TEST if (folder / each).is_dir()), None)
    if not (folder / "train").is_dir() or test is None:
        raise ValueError(
            f'data set "{name}" must hold the folders train and {" or ".join(_TEST)}, of one folder per class'
        )
    class_names = sorted(
        {each.name for split in ("train", test) for each in (folder / split).iterdir() if each.is_dir()}
    )
    train, held_out = (_split(folder / split, class_names) for split in ("train", test))
    if all(bool((images == images[:, :1]).all()) for images, _ in (train, held_out)):
        train, held_out = ((images[:, :1], labels) for images, labels in (train, held_out))
    return from_tensors(folder.name, train=train, test=held_out, class_names=class_names)


def _split(folder: Path, class_names: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        paths = sorted((folder / class_name).glob("**/*")) if (folder / class_name).is_dir() else []
        for path in paths:
            if path.suffix.lower() not in SUFFIXES:
                continue
            pixels = pixels_with_pillow(path.read_bytes(), origin=str(path)).transpose(2, 0, 1)
            if images and pixels.shape != images[0].shape:
                height, width = images[0].shape[1:]
                raise ValueError(
                    f"{path}: {pixels.shape[1]} x {pixels.shape[2]} pixels, and the images before it have "
                    f"{height} x {width}: scale all images to one size"
                )
            images.append(pixels)
            labels.append(label)
    if not images:
        raise ValueError(f"{folder}: holds no images ({', '.join(SUFFIXES)}) in folders of classes")
    return np.stack(images), np.array(labels, dtype=np.int64)
