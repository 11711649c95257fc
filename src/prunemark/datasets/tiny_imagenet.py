"""TinyImageNet: 100,000 and 10,000 colour images of 64x64 in 200 classes, as JPEG files."""

import hashlib
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunemark.datasets import Normalisation, pixel_cache
from prunemark.datasets.archives import Tree, folder_tree, zip_tree
from prunemark.datasets.decoding import pixels_with_pillow, require_pillow
from prunemark.datasets.files import Source, archive, cache_folder, found_folder
from prunemark.datasets.in_memory import Dataset
from prunemark.datasets.sources import TINY_IMAGENET

_SHAPE = (64, 64, 3)
_SUFFIX = ".JPEG"


def load_tiny_imagenet(*, data_dir: str | Path | None = None, normalisation: Normalisation | None = None) -> Dataset:
    """TinyImageNet: a part of ImageNet, scaled down; what its publisher calls "val" is the test split.

    The images are decoded once, to bytes in the cache of downloads (1.4 GB), which all processes map into memory and
    share. They are normalised a batch at a time.

    Reference: Le & Yang, "Tiny ImageNet visual recognition challenge", Stanford CS 231N, 2015.
    Deviations: pixels can differ in the last bit between releases of libjpeg; the fingerprint then differs too.

    Raises:
        ValueError: the data are missing, damaged, or not the published ones; Pillow is not installed.
    """
    return load(TINY_IMAGENET, data_dir=data_dir, normalisation=normalisation)


def load(source: Source, *, data_dir: str | Path | None = None, normalisation: Normalisation | None = None) -> Dataset:
    """A data set in TinyImageNet's layout, from its folder or else its zip archive.

    Raises:
        ValueError: as `load_tiny_imagenet`.
    """
    (file,) = source.files
    folder = found_folder(source, data_dir)
    # What was decoded from the published archive serves without the archive.
    key = _listing_digest(folder) if folder else file.sha256
    decoded = cache_folder(source.dataset) / f"decoded-1-{key[:16]}"
    if not pixel_cache.is_stored(decoded):
        require_pillow()
        with _opened(folder or archive(source, file, data_dir=data_dir), source) as tree:
            pixel_cache.store(source.dataset, decoded, images_of(tree))
    return pixel_cache.load(source.dataset, decoded, normalisation=normalisation)


def images_of(tree: Tree) -> pixel_cache.UndecodedImages:
    """The images of a folder in TinyImageNet's layout: wnids.txt, words.txt, train/WNID/images/, val/.

    Classes are numbered in the order of their WordNet numbers.

    Raises:
        ValueError: a file or the folder of a class is missing; an image of no class, or of one that wnids.txt does
            not list.
    """
    wnids = tuple(sorted(tree.text("wnids.txt").split()))
    if not wnids:
        raise ValueError(f"{tree.origin}: wnids.txt lists no class")
    number = {wnid: index for index, wnid in enumerate(wnids)}
    words = {wnid: name for wnid, _, name in (line.partition("\t") for line in tree.text("words.txt").splitlines())}

    def decode(name: str) -> NDArray[np.uint8]:
        return pixels_with_pillow(tree.read(name), origin=f"{tree.origin}/{name}")

    return pixel_cache.UndecodedImages(
        splits={"train": _train(tree, number), "test": _val(tree, number)},
        class_names=tuple((words.get(wnid) or wnid).split(",", 1)[0] for wnid in wnids),
        shape=_SHAPE,
        decode=decode,
    )


def _train(tree: Tree, number: Mapping[str, int]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    by_class: dict[str, list[str]] = defaultdict(list)
    for name in tree.names:
        match name.split("/"):
            case ["train", wnid, "images", image] if image.endswith(_SUFFIX):
                by_class[wnid].append(name)
            case _:
                pass
    if missing := [wnid for wnid in number if wnid not in by_class]:
        raise ValueError(f"{tree.origin}: train/{missing[0]}/images is missing; wnids.txt lists {len(number)} classes")
    if strangers := [wnid for wnid in by_class if wnid not in number]:
        raise ValueError(f"{tree.origin}: train/{strangers[0]} is not a class of wnids.txt")
    names = tuple(name for wnid in number for name in by_class[wnid])
    return names, np.repeat(np.arange(len(number), dtype=np.int64), [len(by_class[wnid]) for wnid in number])


def _val(tree: Tree, number: Mapping[str, int]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    label: dict[str, int] = {}
    for line, text in enumerate(tree.text("val/val_annotations.txt").splitlines(), start=1):
        image, _, rest = text.partition("\t")
        wnid = rest.split("\t", 1)[0]
        if wnid not in number:
            raise ValueError(
                f'{tree.origin}: val/val_annotations.txt, line {line}: "{wnid}" is not a class of wnids.txt'
            )
        label[f"val/images/{image}"] = number[wnid]
    present = {name for name in tree.names if name.startswith("val/images/") and name.endswith(_SUFFIX)}
    if missing := sorted(label.keys() - present):
        raise ValueError(f"{tree.origin}: {missing[0]} is missing; val/val_annotations.txt lists it")
    if strangers := sorted(present - label.keys()):
        raise ValueError(f"{tree.origin}: {strangers[0]} has no line in val/val_annotations.txt")
    names = tuple(sorted(label))
    return names, np.array([label[name] for name in names], dtype=np.int64)


@contextmanager
def _opened(path: Path, source: Source) -> Generator[Tree]:
    if path.is_dir():
        yield folder_tree(path)
        return
    assert source.folder is not None
    with zip_tree(path) as tree:
        yield tree.below(source.folder.name)


def _listing_digest(folder: Path) -> str:
    """Tells unpacked folders apart by place and by their files' names, sizes and times; reading all takes too long."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
