"""ImageNet (ILSVRC 2012): 1,281,167 and 50,000 colour images of 1,000 classes, streamed from their files."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch

from prunemark.datasets.decoding import pixels_with_torchvision, require_torchvision
from prunemark.datasets.files import Source, found_folder, not_available
from prunemark.datasets.image_files import Decode, ImageFiles
from prunemark.datasets.in_memory import Dataset, Split
from prunemark.datasets.sources import IMAGENET

_SUFFIXES = (".jpeg", ".jpg", ".png")
# Of pixels in 0 to 1, as used for ImageNet everywhere; reading all images to compute them takes hours.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def load_imagenet(*, data_dir: str | Path | None = None) -> Dataset:
    """ImageNet, from the folders train/WNID and val/WNID; what its publisher calls "val" is the test split.

    Images are decoded, in full, when a batch asks for them; their shorter side is scaled to 256 pixels and the central
    224x224 are cut out. A random resized crop is taken from the whole image in its own resolution instead. Classes are
    numbered in the order of their WordNet numbers, which are also their names.

    Reference: Russakovsky et al., "ImageNet large scale visual recognition challenge", 2015, arXiv 1409.0575.
    Deviations: normalised by the customary mean and standard deviation (0.485, 0.456, 0.406 and 0.229, 0.224, 0.225)
    and not by computed ones; the fingerprint covers the files' names and sizes and not their content.

    Raises:
        ValueError: the folders are missing or do not fit each other; torchvision is not installed.
    """
    require_torchvision()
    return load(IMAGENET, data_dir=data_dir)


def load(source: Source, *, data_dir: str | Path | None = None, decode: Decode = pixels_with_torchvision) -> Dataset:
    """A data set of folders of images, one per class, below train/ and val/.

    Raises:
        ValueError: the folders are missing, empty, or not the same in train/ and val/.
    """
    folder = found_folder(source, data_dir)
    if folder is None:
        raise not_available(source, data_dir, "train/ and val/ are missing")
    classes = {split: _subfolders(folder / split) for split in ("train", "val")}
    if not classes["train"]:
        raise ValueError(f"{folder / 'train'}: expected a folder of images for each class, found none")
    for split, other in (("val", "train"), ("train", "val")):
        if missing := [wnid for wnid in classes[other] if wnid not in classes[split]]:
            raise ValueError(f"{folder / split / missing[0]}: the folder of this class is missing; {other}/ has it")
    digest = hashlib.sha256()
    splits = {split: _split(folder / split, wnids, digest.update, decode) for split, wnids in classes.items()}
    return Dataset(
        name=source.dataset,
        train=splits["train"],
        test=splits["val"],
        class_names=tuple(classes["train"]),
        fingerprint=digest.hexdigest(),
    )


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: the folder is missing")
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def _split(folder: Path, wnids: list[str], record: Callable[[bytes], None], decode: Decode) -> Split:
    paths: list[str] = []
    targets: list[int] = []
    for label, wnid in enumerate(wnids):
        with os.scandir(folder / wnid) as entries:
            images = sorted(
                (entry.name, entry.stat().st_size) for entry in entries if entry.name.lower().endswith(_SUFFIXES)
            )
        if not images:
            raise ValueError(f"{folder / wnid}: expected images ({', '.join(_SUFFIXES)}), found none")
        for name, size_bytes in images:
            record(f"{folder.name}/{wnid}/{name}\0{size_bytes}\n".encode())
            paths.append(f"{folder}/{wnid}/{name}")
        targets += [label] * len(images)
    mean, std = (255 * torch.tensor(values) for values in (_MEAN, _STD))
    inputs = ImageFiles(paths, mean=mean, std=std, resize=256, size=224, decode=decode)
    return Split(inputs=inputs, targets=torch.tensor(targets, dtype=torch.int64))
