"""Drawing the next step of a walk: one of a unit's weights, or one of the units it is wired to."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

OUTSIDE = -1  # instead of a unit: the model's input, or its output
_BLOCK = 16  # weights
_PIECE = 65_536  # weights that are looked at together: few enough to stay in a processor's cache
_UNITS = _PIECE // _BLOCK


class ByMagnitude:
    """For each unit, a draw among its weights on paths, with probability proportional to |w|.

    A unit's weights, those that leave it or those that enter it, form a row. Held are the sums of a row's first 16,
    32, 48, ... magnitudes; the 16 among which a draw falls are summed when it does.

    Args:
        shapes: per call (groups, output units, input units per group, kernel entries).
        sizes: |w| of all calls' weights, one after the other; negative where on no path. Not copied.
        by_input: whether a row is what leaves an input unit, or what enters an output unit.

    Attributes:
        live: per unit, whether any of its weights is on a path.
    """

    def __init__(self, shapes: Tensor, sizes: Tensor, *, by_input: bool) -> None:
        groups, outputs, inputs, kernel = shapes.unbind(1)
        outputs_per_group = outputs // groups
        self._sizes = sizes
        units = groups * inputs if by_input else outputs
        self._call = torch.arange(len(units)).repeat_interleave(units)
        unit = torch.arange(len(self._call)) - firsts(units)[self._call]
        # A unit's incoming weights are contiguous; its outgoing ones are runs of one kernel each, at equal gaps.
        self._length = outputs_per_group * kernel if by_input else inputs * kernel
        self._by_input, self._run, self._gap = by_input, kernel, (inputs - 1) * kernel
        if by_input:
            group, place = unit // inputs[self._call], unit % inputs[self._call]
            start = group * (outputs_per_group * inputs * kernel)[self._call] + place * kernel[self._call]
        else:
            start = unit * self._length[self._call]
        self._start = start + firsts(outputs * inputs * kernel)[self._call]

        self._blocks = (self._length + _BLOCK - 1) // _BLOCK
        self._first_block = firsts(self._blocks[self._call])
        self._sums = torch.empty(int(self._first_block[-1]), dtype=torch.float64)
        self.live = torch.zeros(len(self._call), dtype=torch.bool)
        self._even = torch.zeros(len(self._call), dtype=torch.bool)  # all weights on paths are 0: uniform
        for units_of_call in self._equally_long_rows():
            self._sum(units_of_call)

    def draw(self, units: Tensor, source: torch.Generator) -> Tensor:
        """For each of these units, all of them live, the number of a weight."""
        uniform = torch.rand(len(units), generator=source, dtype=torch.float64)
        pieces = zip(units.split(_UNITS), uniform.split(_UNITS), strict=True)
        return torch.cat([self._drawn(*piece) for piece in pieces])

    def _drawn(self, units: Tensor, uniform: Tensor) -> Tensor:
        first, last = self._first_block[units], self._first_block[units + 1] - 1
        # Below the whole sum even when rounded, since `uniform` is at most 1 - 2^-53.
        point = uniform * self._sums[last]
        block = first.clone()
        for bit in reversed(range(int((last - first).max()).bit_length())):
            before = torch.minimum(block + ((1 << bit) - 1), last)
            block.add_(self._sums.index_select(0, before) <= point, alpha=1 << bit)
        below = self._sums.index_select(0, (block - 1).clamp_(0)).masked_fill_(block == first, 0)
        numbers, sizes = self._weights(units, (block - first)[:, None] * _BLOCK + torch.arange(_BLOCK))
        shares = self._shares(units, sizes)
        shares[:, 0] += below
        chosen = (shares.cumsum_(1)[:, :-1] <= point[:, None]).sum(1, keepdim=True)
        return numbers.gather(1, chosen).squeeze(1)

    def _weights(self, units: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of the weights at some places of these units' rows, and their |w|; negative behind the end."""
        call = self._call[units]
        behind = places >= self._length[call, None]
        places = torch.minimum(places, self._length[call, None] - 1)
        numbers = self._start[units, None] + places
        if self._by_input:
            numbers += places // self._run[call, None] * self._gap[call, None]
        sizes = self._sizes.index_select(0, numbers.view(-1))  # several times faster than indexing
        return numbers, sizes.view_as(numbers).masked_fill_(behind, -1)

    def _shares(self, units: Tensor, sizes: Tensor) -> Tensor:
        """Values that weights are drawn in proportion to."""
        return torch.where(self._even[units, None], 1.0, sizes.double()).masked_fill_(sizes < 0, 0)

    def _equally_long_rows(self) -> Iterator[Tensor]:
        units = torch.arange(len(self._call))
        for call, blocks in enumerate(self._blocks.tolist()):
            yield from units[self._call == call].split(max(1, _PIECE // (_BLOCK * blocks)))

    def _sum(self, units: Tensor) -> None:
        places = torch.arange(int(self._blocks[self._call[units[0]]]) * _BLOCK).expand(len(units), -1)
        _, sizes = self._weights(units, places)
        self.live[units] = (sizes >= 0).any(1)
        self._even[units] = self.live[units] & ~(sizes > 0).any(1)
        first, last = self._first_block[units[0]], self._first_block[units[-1] + 1]
        self._sums[first:last] = self._shares(units, sizes).cumsum_(1)[:, _BLOCK - 1 :: _BLOCK].flatten()


class Uniform:
    """For each unit, a draw among those that it is wired to, each as likely; OUTSIDE where there is none.

    Args:
        wires: pairs of equally long tensors, units and what they are wired to.
        live: which units draw.
    """

    def __init__(self, wires: Sequence[tuple[Tensor, Tensor]], live: Tensor) -> None:
        none = torch.zeros(0, dtype=torch.int64)
        here = torch.cat([none, *(units for units, _ in wires)])
        there = torch.cat([none, *(options for _, options in wires)])
        alone = live.clone()
        alone[here] = False
        alone = alone.nonzero().squeeze(1)
        units = torch.cat([here, alone])
        self._options = torch.cat([there, torch.full_like(alone, OUTSIDE)])[units.argsort(stable=True)]
        self._sizes = units.bincount(minlength=len(live))
        self._starts = firsts(self._sizes)

    def draw(self, units: Tensor, source: torch.Generator) -> Tensor:
        """For each of these units, one that it is wired to."""
        uniform = torch.rand(len(units), generator=source, dtype=torch.float64)
        return self._options[self._starts[units] + (uniform * self._sizes[units]).long()]


def firsts(sizes: Tensor) -> Tensor:
    """Start offset of each piece, then the total: an exclusive cumulative sum."""
    return torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
