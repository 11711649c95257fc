"""Float inputs that were bytes once, held as bytes again on a GPU: a quarter of the memory, the same floats."""

from typing import Self

import torch
from torch import Tensor

from prunemark.datasets.lazy import LazyInputs, Position

_CODES = 256
_PIECE = 2**22  # values that are coded at a time


class CodedInputs(LazyInputs):
    """Inputs (N, C, H, W) of which each channel has at most 256 values: a byte per number, and a table of the values.

    Batches are the floats that were coded, bit for bit. Made by `CodedInputs.of`.

    Attributes:
        codes: uint8 (N, C, H, W), on the device, in the layout of batches.
        tables: the values of each channel in rising order, float32 (C, 256), there too.
    """

    def __init__(self, codes: Tensor, tables: Tensor, memory_format: torch.memory_format) -> None:
        self.codes, self.tables, self.memory_format = codes, tables, memory_format
        self.device = codes.device
        self._channels = torch.arange(len(tables), device=codes.device)[:, None, None]

    @classmethod
    def of(
        cls,
        inputs: Tensor,
        device: str | torch.device,
        *,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Self | None:
        """Code inputs, float32 (N, C, H, W), on a device; None where a channel has more than 256 values, or NaN."""
        codes = torch.empty(inputs.shape, dtype=torch.uint8, device=device, memory_format=memory_format)
        tables: list[Tensor] = []
        for channel in range(inputs.shape[1]):
            table = _code(inputs[:, channel], codes[:, channel])
            if table is None:
                return None
            tables.append(torch.nn.functional.pad(table, (0, _CODES - len(table)), value=torch.inf))
        return cls(codes, torch.stack(tables), memory_format)

    @property
    def shape(self) -> torch.Size:
        return self.codes.shape

    @property
    def black(self) -> Tensor:
        """The lowest value of each channel, (C,)."""
        return self.tables[:, 0]

    def to(
        self, device: str | torch.device, *, memory_format: torch.memory_format = torch.contiguous_format
    ) -> "CodedInputs":
        codes = self.codes.to(device, memory_format=memory_format)
        if codes is self.codes and memory_format == self.memory_format:
            return self
        return CodedInputs(codes, self.tables.to(device), memory_format)

    def pixels_at(self, positions: Tensor) -> Tensor:
        return self.codes[positions.to(self.device)]

    def __getitem__(self, index: Position) -> Tensor:
        whole = torch.arange(len(self))[index] if not isinstance(index, Tensor) else index
        codes = self.pixels_at(whole.reshape(-1))
        values = self.tables[self._channels, codes.long()].contiguous(memory_format=self.memory_format)
        return values.reshape(*whole.shape, *values.shape[1:]) if whole.ndim != 1 else values


def _code(channel: Tensor, codes: Tensor) -> Tensor | None:
    """Write the codes of a channel (N, H, W) and return its table; None where there are too many values."""
    size = max(1, _PIECE // channel[:1].numel())
    pieces = list(zip(channel.split(size), codes.split(size), strict=True))
    table = torch.empty(0, device=codes.device)
    coded = 0
    while coded < len(pieces):
        piece, target = pieces[coded]
        values = piece.to(codes.device).contiguous()
        places = torch.searchsorted(table, values).clamp_(max=max(0, len(table) - 1))
        # By bits, so that -0.0 stays what it is.
        if len(table) and torch.equal(table[places].view(torch.int32), values.view(torch.int32)):
            target.copy_(places)
            coded += 1
            continue
        found = values.view(torch.int32).unique().view(torch.float32)
        if not found.isfinite().all():
            return None
        table = torch.cat([table, found]).view(torch.int32).unique().view(torch.float32).sort().values
        if len(table) > _CODES or (table[1:] == table[:-1]).any():
            return None
        coded = 0  # what was coded before has other places now
    return table
