"""Tiny archives in the official layouts of CIFAR and TinyImageNet, and folders in ImageNet's, made by the tests."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prunemark.datasets.files import DataFile, ImageFolder, Source

WNIDS = ("n02", "n01", "n03")
CIFAR_NAMES = ("airplane", "automobile", "bird")


def data_file(name: str, content: bytes) -> DataFile:
    digests = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
    return DataFile(name=name, sha256=digests[0], md5=digests[1])


def archive_source(dataset: str, name: str, content: bytes, *urls: str) -> Source:
    return Source(dataset=dataset, files=(data_file(name, content),), urls=urls)


def tar_gz(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def cifar_records(seed: int, labels: list[int], *, label_bytes: int = 1) -> bytes:
    """Records with the label last of the label bytes, and 7 in those before it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    before = np.full((len(labels), label_bytes - 1), 7, dtype=np.uint8)
    return np.concatenate([before, np.array(labels, dtype=np.uint8)[:, None], pixels], axis=1).tobytes()


def cifar_10_members() -> dict[str, bytes]:
    folder = "cifar-10-batches-bin"
    return {
        f"{folder}/batches.meta.txt": "\n".join([*CIFAR_NAMES, "", ""]).encode(),
        f"{folder}/readme.html": b"<html>",
        **{f"{folder}/data_batch_{part}.bin": cifar_records(part, [0, 1, 2]) for part in range(1, 6)},
        f"{folder}/test_batch.bin": cifar_records(9, [2, 1, 0, 1]),
    }


def cifar_100_members() -> dict[str, bytes]:
    folder = "cifar-100-binary"
    return {
        f"{folder}/coarse_label_names.txt": b"air\nland\n",
        f"{folder}/fine_label_names.txt": "\n".join([*CIFAR_NAMES, ""]).encode(),
        f"{folder}/train.bin": cifar_records(1, [0, 1, 2, 2, 1, 0], label_bytes=2),
        f"{folder}/test.bin": cifar_records(2, [1, 2], label_bytes=2),
    }


def encoded(pixels: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def picture(seed: int, height: int = 64, width: int = 64, *, grey: bool = False) -> NDArray[np.uint8]:
    """A smooth picture, which JPEG keeps nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4) if grey else (4, 4, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def tiny_imagenet_members(folder: str = "tiny-imagenet-200/") -> dict[str, bytes]:
    """Three classes with four training images each, of which the first is grey, and five validation images."""
    members = {
        "wnids.txt": "\n".join([*WNIDS, ""]).encode(),
        "words.txt": b"n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tbullfrog\nn03\ttailed frog, bell toad\n",
        "test/images/test_0.JPEG": encoded(picture(99)),
    }
    for label, wnid in enumerate(sorted(WNIDS)):
        members[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        for number in range(4):
            image = picture(10 * label + number, grey=number == 0)
            members[f"train/{wnid}/images/{wnid}_{number}.JPEG"] = encoded(image)
    lines: list[str] = []
    for number, wnid in enumerate(["n03", "n01", "n02", "n02", "n01"]):
        members[f"val/images/val_{number}.JPEG"] = encoded(picture(50 + number))
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    members["val/val_annotations.txt"] = "".join(lines).encode()
    return {f"{folder}{name}": content for name, content in members.items()}


def tiny_imagenet_source(content: bytes, *urls: str) -> Source:
    return Source(
        dataset="tinyimagenet",
        files=(data_file("tiny-imagenet-200.zip", content),),
        urls=urls,
        folder=ImageFolder(name="tiny-imagenet-200", images={"train/*/images/*.JPEG": 12, "val/images/*.JPEG": 5}),
        hint="The folder tiny-imagenet-200 that it unpacks to serves as well.",
    )


IMAGENET = Source(
    dataset="imagenet",
    files=(),
    urls=(),
    folder=ImageFolder(name="", images={"train/*/*.JPEG": 6, "val/*/*.JPEG": 3}),
    hint="Register for it.",
)


def imagenet_members() -> dict[str, bytes]:
    """Three classes with two training images and one validation image each, of different sizes."""
    members: dict[str, bytes] = {}
    for label, wnid in enumerate(WNIDS):
        for number in range(2):
            members[f"train/{wnid}/{wnid}_{number}.JPEG"] = encoded(picture(10 * label + number, 240, 300 + label))
        # The real data, too, have a PNG file that is called JPEG.
        members[f"val/{wnid}/val_{label}.JPEG"] = encoded(picture(50 + label, 280 + 20 * label, 256), "PNG")
    return members


def unpack(folder: Path, members: Mapping[str, bytes]) -> Path:
    for name, content in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
