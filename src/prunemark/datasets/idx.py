"""The IDX format of the MNIST family: a big-endian header, then unsigned bytes.

The header is two zero bytes, one for the type (8: unsigned byte), one for the number of axes, and four bytes
for the length of each axis (LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 1998).
"""

import math
import struct

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08


def parse(content: bytes, *, axes: int, origin: str) -> NDArray[np.uint8]:
    """The array of an IDX file, read-only, with exactly `axes` axes.

    Raises:
        ValueError: not IDX, another type or number of axes, an empty axis, or a length that differs from
            what the header says; the message starts with `origin`.
    """
    header_bytes = 4 + 4 * axes
    if len(content) < header_bytes:
        raise ValueError(f"{origin}: {len(content)} bytes are too few for an IDX header of {header_bytes} bytes")
    expected = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if content[:4] != expected:
        raise ValueError(
            f"{origin}: expected the magic number {expected.hex()} (IDX, unsigned bytes, {axes} axes), "
            f"found {content[:4].hex()}"
        )
    shape = struct.unpack(f">{axes}I", content[4:header_bytes])
    values = math.prod(shape)
    if values == 0:
        raise ValueError(f"{origin}: the header says {_times(shape)}: no values")
    if len(content) - header_bytes != values:
        raise ValueError(
            f"{origin}: expected {values} bytes after the header ({_times(shape)}), found {len(content) - header_bytes}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


def parse_labelled_images(
    images: bytes, labels: bytes, *, classes: int, origins: tuple[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey images (N, 1, H, W) and their labels (N,), below `classes`.

    Raises:
        ValueError: what `parse` refuses, unequal counts, or a label out of range; the message names the
            file by `origins` (of the images, of the labels).
    """
    pixels = parse(images, axes=3, origin=origins[0])
    targets = parse(labels, axes=1, origin=origins[1])
    if len(pixels) != len(targets):
        raise ValueError(
            f"{origins[1]}: expected {len(pixels)} labels, one for each image of {origins[0]}, found {len(targets)}"
        )
    wrong = np.flatnonzero(targets >= classes)
    if len(wrong):
        raise ValueError(
            f"{origins[1]}: expected labels 0 to {classes - 1}, found {targets[wrong[0]]} at position {wrong[0]}"
        )
    return pixels[:, np.newaxis], targets


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)
