"""Inputs that are kept as bytes and normalised a batch at a time, for data sets whose floats would not fit."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor

Position = Tensor | slice | int
Part = Callable[[int, int, int], tuple[int, int, int, int]]
"""(example's number, height and width of its image) -> top, left, height and width of a part of it, in pixels."""


class LazyInputs(ABC):
    """Stands where a float32 tensor (N, C, H, W) stands: `inputs[positions]` is the normalised batch.

    It has what training uses of such a tensor: `len`, `shape`, `to`, `split`, and indexing by a tensor of positions,
    a slice or a number.
    """

    mean: Tensor
    """Of each channel, (C,), in the units of a byte, 0 to 255."""
    std: Tensor
    """Of each channel, (C,), in the units of a byte, 0 to 255."""
    device: torch.device
    """Where batches come out."""
    memory_format: torch.memory_format
    """Memory layout of batches."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""

    @abstractmethod
    def to(self, device: str | torch.device, *, memory_format: torch.memory_format = torch.contiguous_format) -> Self:
        """The same inputs, whose batches come out on this device and in this layout."""

    @abstractmethod
    def pixels_at(self, positions: Tensor) -> Tensor:
        """The bytes (n, C, H, W) at positions (n,), on any device."""

    def prefetch(self, positions: Tensor) -> None:  # noqa: B027  # most inputs are at hand
        """Get ready for the batch that will be asked for next; a hint that changes no result."""

    @property
    def black(self) -> Tensor:
        """Normalised value of byte 0 in each channel, (C,)."""
        return -self.mean / self.std

    def split(self, size: int) -> Iterator[Tensor]:
        """Batches of `size` examples, in order; the last one may be smaller."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            batch = self[torch.arange(start, stop)]
            if stop < len(self):
                self.prefetch(torch.arange(stop, min(stop + size, len(self))))
            yield batch

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Position) -> Tensor:
        """The normalised inputs (n, C, H, W) at some positions, or (C, H, W) at one."""
        if isinstance(index, Tensor) and index.dtype == torch.int64:
            positions = index
        else:
            positions = torch.arange(len(self))[index]
        pixels = self.pixels_at(positions.reshape(-1)).to(self.device, non_blocking=True)
        # Brought into order while they are bytes, a quarter of what is to be moved later.
        values = pixels.contiguous(memory_format=self.memory_format).to(torch.float32)
        values.sub_(self.mean.view(-1, 1, 1)).div_(self.std.view(-1, 1, 1))
        return values.reshape(*positions.shape, *values.shape[1:]) if positions.ndim != 1 else values


class WholeImages(LazyInputs):
    """Inputs that are made of images of any size, of which any part can be had."""

    @abstractmethod
    def showing(self, part: Part) -> Self:
        """The same inputs, each of which is that part of its image, scaled to the inputs' size."""


class PixelInputs(LazyInputs):
    """Bytes in memory, on a device, or in a file that is mapped into memory and shared by all processes that do so.

    Each byte v of channel c becomes (v - mean_c) / std_c in float32.

    Args:
        pixels: uint8 (N, H, W, C).
        mean: of each channel, (C,).
        std: of each channel, (C,).
        memory_format: memory layout of batches.

    Raises:
        ValueError: another type or shape, or a standard deviation that is not above 0.
    """

    def __init__(
        self,
        pixels: Tensor,
        *,
        mean: Tensor,
        std: Tensor,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise ValueError(f"pixels must be uint8 (N, H, W, C), not {pixels.dtype} {tuple(pixels.shape)}")
        require_normalisation(mean, std, channels=pixels.shape[3])
        self.pixels, self.device, self.memory_format = pixels, pixels.device, memory_format
        self.mean, self.std = mean.to(pixels.device, torch.float32), std.to(pixels.device, torch.float32)

    @property
    def shape(self) -> torch.Size:
        examples, height, width, channels = self.pixels.shape
        return torch.Size((examples, channels, height, width))

    def to(
        self, device: str | torch.device, *, memory_format: torch.memory_format = torch.contiguous_format
    ) -> "PixelInputs":
        """The same inputs; on an accelerator all bytes are moved there, a quarter of what floats would take."""
        return PixelInputs(self.pixels.to(device), mean=self.mean, std=self.std, memory_format=memory_format)

    def pixels_at(self, positions: Tensor) -> Tensor:
        return self.pixels[positions.to(self.pixels.device)].permute(0, 3, 1, 2)


def require_normalisation(mean: Tensor, std: Tensor, *, channels: int) -> None:
    """Check the shapes of a mean and a standard deviation, and that one can divide by the latter.

    Raises:
        ValueError: one cannot.
    """
    if mean.shape != (channels,) or std.shape != (channels,) or not bool((std > 0).all()):
        raise ValueError(
            f"mean and std must have {channels} values, and std values above 0, not {mean.tolist()} and {std.tolist()}"
        )
