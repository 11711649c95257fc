"""Decoding images, with the packages of the extra `vision`."""

import importlib
import io
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_INSTALL = 'pip install "prunemark[vision]"'


def require_pillow() -> ModuleType:
    """Pillow's module Image.

    Raises:
        ValueError: Pillow is not installed; says how to install it.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError(f"decoding these images needs Pillow: {_INSTALL} ({error})") from error
    return Image


def require_torchvision() -> ModuleType:
    """torchvision's module io.

    Raises:
        ValueError: torchvision is not installed, or does not fit the torch that is; says how to install it.
    """
    try:
        return importlib.import_module("torchvision.io")
    # A torchvision that was built for another torch fails with the latter two.
    except (ImportError, RuntimeError, OSError) as error:
        raise ValueError(
            f"streaming JPEG files needs torchvision, of the release that fits torch {torch.__version__}: {_INSTALL} "
            f"({error})"
        ) from error


def pixels_with_pillow(content: bytes, *, origin: str) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of an image, of a grey one too.

    Raises:
        ValueError: no image, or a damaged one; the message starts with `origin`.
    """
    image_module = require_pillow()
    try:
        with image_module.open(io.BytesIO(content)) as image:
            return np.array(image.convert("RGB"))
    # Pillow's decoders let many kinds of errors out when a file is damaged.
    except Exception as error:
        raise ValueError(f"{origin}: not an image, or a damaged one: {error}") from error


def pixels_with_torchvision(content: bytes, *, origin: str) -> Tensor:
    """The pixels (3, H, W) of an image, of a grey or CMYK one too.

    Raises:
        ValueError: no image, or a damaged one; the message starts with `origin`.
    """
    decoder = require_torchvision()
    try:
        return decoder.decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode="RGB")
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{origin}: not an image, or a damaged one: {error}") from error
