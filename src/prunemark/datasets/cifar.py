"""CIFAR-10 and CIFAR-100: 50,000 and 10,000 colour images of 32x32, from the archives of the binary version.

A record is one byte for the label (CIFAR-100: one for the superclass, then one for the class) and 3,072 for the
pixels: the red, green and blue planes, row by row. The other version of the archives, made of pickles, is never
read: a pickle can run any code.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prunemark.datasets import Normalisation
from prunemark.datasets.archives import read_tar_gz
from prunemark.datasets.files import Source, archive
from prunemark.datasets.in_memory import Dataset, Images, Labels, from_images
from prunemark.datasets.sources import CIFAR_10, CIFAR_100

_SHAPE = (3, 32, 32)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Record layout of an archive; the last of the `label_bytes` of a record is the class."""

    train: tuple[str, ...]
    test: str
    class_names: str
    label_bytes: int


CIFAR_10_LAYOUT = Layout(
    train=tuple(f"cifar-10-batches-bin/data_batch_{part}.bin" for part in range(1, 6)),
    test="cifar-10-batches-bin/test_batch.bin",
    class_names="cifar-10-batches-bin/batches.meta.txt",
    label_bytes=1,
)
CIFAR_100_LAYOUT = Layout(
    train=("cifar-100-binary/train.bin",),
    test="cifar-100-binary/test.bin",
    class_names="cifar-100-binary/fine_label_names.txt",
    label_bytes=2,
)


def load_cifar_10(*, data_dir: str | Path | None = None, normalisation: Normalisation | None = None) -> Dataset:
    """CIFAR-10: ten kinds of animals and vehicles.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The MD5 that the publisher
    gives, and a SHA-256, are verified.

    Raises:
        ValueError: the archive is missing or is not the published one.
    """
    return load(CIFAR_10, CIFAR_10_LAYOUT, data_dir=data_dir, normalisation=normalisation)


def load_cifar_100(*, data_dir: str | Path | None = None) -> Dataset:
    """CIFAR-100 with its 100 fine classes; the 20 superclasses are not used.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The MD5 that the publisher
    gives, and a SHA-256, are verified.

    Raises:
        ValueError: the archive is missing or is not the published one.
    """
    return load(CIFAR_100, CIFAR_100_LAYOUT, data_dir=data_dir)


def load(
    source: Source,
    layout: Layout,
    *,
    data_dir: str | Path | None = None,
    normalisation: Normalisation | None = None,
) -> Dataset:
    """A data set from an archive of the binary version, normalised by its own constants or the given ones.

    Raises:
        ValueError: the archive is missing, is not the one whose checksums `source` gives, or is not sound.
    """
    (file,) = source.files
    path = archive(source, file, data_dir=data_dir)
    contents = read_tar_gz(path, (*layout.train, layout.test, layout.class_names))
    class_names = tuple(contents[layout.class_names].decode("ascii", "replace").split())
    if not class_names:
        raise ValueError(f"{path}: {layout.class_names} names no class")

    def split(names: tuple[str, ...]) -> tuple[Images, Labels]:
        parts = [
            parse(contents[name], label_bytes=layout.label_bytes, classes=len(class_names), origin=f"{path}: {name}")
            for name in names
        ]
        return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])

    return from_images(
        source.dataset,
        train=split(layout.train),
        test=split((layout.test,)),
        class_names=class_names,
        normalisation=normalisation,
    )


def parse(content: bytes, *, label_bytes: int, classes: int, origin: str) -> tuple[Images, Labels]:
    """Images (N, 3, 32, 32) and labels (N,), below `classes`, of the records in `content`.

    Raises:
        ValueError: no records, a last one that is cut off, or a label out of range; the message starts with `origin`.
    """
    record_bytes = label_bytes + int(np.prod(_SHAPE))
    if not content or len(content) % record_bytes:
        raise ValueError(f"{origin}: expected whole records of {record_bytes} bytes, found {len(content)} bytes")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record_bytes)
    labels = records[:, label_bytes - 1]
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise ValueError(f"{origin}: expected labels 0 to {classes - 1}, found {labels[wrong[0]]} in record {wrong[0]}")
    return records[:, label_bytes:].reshape(-1, *_SHAPE), labels
