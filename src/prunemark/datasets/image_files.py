"""Inputs that are decoded from image files whenever they are asked for, by a pool of threads."""

import functools
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from prunemark.datasets.decoding import pixels_with_torchvision
from prunemark.datasets.lazy import Part, WholeImages, require_normalisation


class Decode(Protocol):
    """Decodes an image file's content to uint8 (3, H, W)."""

    def __call__(self, content: bytes, *, origin: str) -> Tensor: ...


class ImageFiles(WholeImages):
    """Image files, each decoded when a batch asks for it.

    The shorter side is resized to `resize` pixels (bilinear, antialiased) and a square of `size` pixels is cut from the
    centre; or, with `part`, that part is cut from the image as it was decoded and resized to the square. Each byte v of
    channel c becomes (v - mean_c) / std_c in float32. Decoding runs in one thread per core, and, with `prefetch`, while
    the batch before is being trained on. Images are decoded at full scale, which a part of a tenth of them needs.

    Args:
        paths: the files.
        mean: of each channel, (3,), in the units of a byte.
        std: of each channel, (3,), in the units of a byte.
        resize: pixels of the shorter side.
        size: pixels of the square; at most `resize`.
        part: which part of each image is shown.
        decode: decodes one file's content.
        device: where batches come out.
        memory_format: memory layout of batches.

    Raises:
        ValueError: `size` exceeds `resize`, or mean and std are not three values.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        mean: Tensor,
        std: Tensor,
        resize: int = 256,
        size: int = 224,
        part: Part | None = None,
        decode: Decode = pixels_with_torchvision,
        device: str | torch.device = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        if not 1 <= size <= resize:
            raise ValueError(f"size must be 1 to {resize} (resize), not {size}")
        require_normalisation(mean, std, channels=3)
        self.paths, self.resize, self.size, self.part, self.decode = paths, resize, size, part, decode
        self.device, self.memory_format = torch.device(device), memory_format
        self.mean, self.std = mean.to(device, torch.float32), std.to(device, torch.float32)
        self._ahead: tuple[list[int], list[Future[Tensor]]] = ([], [])

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.paths), 3, self.size, self.size))

    def to(
        self, device: str | torch.device, *, memory_format: torch.memory_format = torch.contiguous_format
    ) -> "ImageFiles":
        return self._with(part=self.part, device=torch.device(device), memory_format=memory_format)

    def showing(self, part: Part) -> "ImageFiles":
        return self._with(part=part, device=self.device, memory_format=self.memory_format)

    def _with(self, *, part: Part | None, device: torch.device, memory_format: torch.memory_format) -> "ImageFiles":
        return ImageFiles(
            self.paths,
            mean=self.mean,
            std=self.std,
            resize=self.resize,
            size=self.size,
            part=part,
            decode=self.decode,
            device=device,
            memory_format=memory_format,
        )

    def prefetch(self, positions: Tensor) -> None:
        """Start to decode a batch; the one started before is given up."""
        for future in self._ahead[1]:
            future.cancel()
        numbers: list[int] = positions.tolist()
        self._ahead = (numbers, [_pool().submit(self._one, number) for number in numbers])

    def pixels_at(self, positions: Tensor) -> Tensor:
        numbers: list[int] = positions.tolist()
        (ahead, futures), self._ahead = self._ahead, ([], [])
        if ahead != numbers:
            self._ahead = (ahead, futures)
            futures = [_pool().submit(self._one, number) for number in numbers]
        pixels = torch.empty(len(numbers), self.size, self.size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        for row, future in zip(pixels, futures, strict=True):
            row.copy_(future.result())
        return pixels

    def _one(self, number: int) -> Tensor:
        path = Path(self.paths[number])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error}") from error
        image = self.decode(content, origin=str(path))
        height, width = image.shape[1:]
        if self.part is not None:
            top, left, tall, wide = self.part(number, height, width)
            return _scaled(image[:, top : top + tall, left : left + wide], (self.size, self.size))
        shorter = min(height, width)
        scaled = (height * self.resize // shorter, width * self.resize // shorter)
        image = _scaled(image, scaled)
        top, left = (round((side - self.size) / 2) for side in scaled)
        return image[:, top : top + self.size, left : left + self.size]


def _scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[1:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
