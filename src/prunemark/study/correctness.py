"""Test images that a run got right: one bit per image, as text in the job's result. No torch."""

import base64
from collections.abc import Sequence

import numpy as np

Right = np.ndarray[tuple[int], np.dtype[np.bool_]]


def pack(correct: "Sequence[bool] | Right") -> str:
    """Bits as text: the number of images, a colon, and base64 of eight images per byte, first in the highest bit."""
    array = np.asarray(correct, dtype=bool)
    return f"{len(array)}:{base64.b64encode(np.packbits(array).tobytes()).decode()}"


def unpack(text: str) -> Right:
    """The boolean array (images,) that `pack` wrote.

    Raises:
        ValueError: the text is not of that form.
    """
    count, colon, bits = text.partition(":")
    raw = np.frombuffer(base64.b64decode(bits, validate=True), dtype=np.uint8)
    if not colon or not count.isdigit() or len(raw) != -(-int(count) // 8):
        raise ValueError(f"not the bits of test images: {text[:40]!r}")
    return np.unpackbits(raw, count=int(count)).astype(bool)
