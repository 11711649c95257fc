"""Kept weights as lists of memory offsets: what the kernels walk along."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemark.training.engines.sparse.graph import Convolution, Shape

CELL = 16  # floats in a cell

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """Where the cells of a tensor are.

    Attributes:
        row, channel: strides in floats.
        place: channel of the network -> channel of the tensor, -1 where it is left out.
        channels: of the tensor.
    """

    row: int
    channel: int
    place: NDArray[np.intp]
    channels: int


@dataclass(frozen=True)
class Rows:
    """Entries of each row: begin[r] to end[r] of offset, and of the values in `order` (empty: as they are)."""

    begin: Ints
    end: Ints
    offset: Ints
    order: Ints


@dataclass(frozen=True)
class Grid:
    """Positions (first_y + step i, first_x + step j) of an image, height x width of them."""

    first_y: int
    first_x: int
    height: int
    width: int
    step: int

    def as_list(self) -> list[int]:
        """As the kernels take it."""
        return [self.first_y, self.first_x, self.height, self.width, self.step]


@dataclass(frozen=True)
class KeptWeights:
    """Indices of a layer's kept weights, in the order of the dense tensor."""

    output: NDArray[np.intp]
    channel: NDArray[np.intp]  # of the whole input, not of the group
    ky: NDArray[np.intp]
    kx: NDArray[np.intp]

    @classmethod
    def of(cls, operation: Convolution, kept: NDArray[np.bool_]) -> "KeptWeights":
        """Of a boolean (outputs, channels / groups, *kernel)."""
        output, channel, ky, kx = np.nonzero(kept)
        per_group = max(kept.shape[0] // operation.groups, 1)
        return cls(output, channel + output // per_group * kept.shape[1], ky, kx)


def forward_rows(operation: Convolution, weights: KeptWeights, source: Layout, target: Layout) -> Rows:
    """One row for each live output; offsets from the position of the output times the stride."""
    (py, px), (dy, dx) = operation.padding, operation.dilation
    offset = (
        (weights.ky * dy - py) * source.row
        + source.place[weights.channel] * source.channel
        + (weights.kx * dx - px) * CELL
    )
    # Entries of outputs that are left out stay in the list, which is the parameter's, but in no row.
    outputs = len(target.place)
    edges = np.concatenate([[0], np.cumsum(np.bincount(weights.output, minlength=outputs))])
    live = np.flatnonzero(target.place >= 0)
    return Rows(_ints(edges[live]), _ints(edges[live + 1]), _ints(offset), _ints([]))


def backward_rows(
    operation: Convolution, weights: KeptWeights, source: Layout, target: Layout, shapes: tuple[Shape, Shape]
) -> Iterator[tuple[Grid, Rows]]:
    """The input gradient, one grid of input positions after another, which together are the whole image.

    Each has a row for each live input channel, with offsets into the output's gradient.
    """
    live = target.place[weights.output] >= 0
    for grid, y, x in _grids(operation, weights, shapes):
        entries = np.flatnonzero(live & (y != _NOWHERE) & (x != _NOWHERE))
        channel = source.place[weights.channel[entries]]
        entries = entries[np.argsort(channel, kind="stable")]
        offset = y[entries] * target.row + target.place[weights.output[entries]] * target.channel + x[entries] * CELL
        edges = np.concatenate([[0], np.cumsum(np.bincount(channel, minlength=source.channels))])
        yield grid, Rows(_ints(edges[:-1]), _ints(edges[1:]), _ints(offset), _ints(entries))


_NOWHERE = np.iinfo(np.intp).min


def _grids(
    operation: Convolution, weights: KeptWeights, shapes: tuple[Shape, Shape]
) -> Iterator[tuple[Grid, NDArray[np.intp], NDArray[np.intp]]]:
    """Grids, and for each kept weight the row and column of the gradient that it takes to the grid's first position."""
    (_, height, width), (_, *output_sides) = shapes
    tap_y = weights.ky * operation.dilation[0] - operation.padding[0]
    tap_x = weights.kx * operation.dilation[1] - operation.padding[1]
    if output_sides == [1, 1]:
        # Every input position is reached by its own weights.
        for y in range(height):
            for x in range(width):
                yield (
                    Grid(y, x, 1, 1, 1),
                    np.where(tap_y == y, 0, _NOWHERE),
                    np.where(tap_x == x, 0, _NOWHERE),
                )
        return
    step = operation.stride
    for y in range(min(step, height)):
        for x in range(min(step, width)):
            grid = Grid(y, x, -(-(height - y) // step), -(-(width - x) // step), step)
            yield grid, _quotient(y - tap_y, step), _quotient(x - tap_x, step)


def _quotient(numerator: NDArray[np.intp], step: int) -> NDArray[np.intp]:
    return np.where(numerator % step == 0, numerator // step, _NOWHERE)


def forward_pad(operation: Convolution, shapes: tuple[Shape, Shape]) -> int:
    """How wide a border of zeros the convolution reads around its input."""
    pad = 0
    (_, *sides), (_, *outputs) = shapes
    for side, output, k, p, d in zip(
        sides, outputs, operation.kernel, operation.padding, operation.dilation, strict=True
    ):
        pad = max(pad, p, operation.stride * (output - 1) + (k - 1) * d - p - (side - 1))
    return pad


def backward_pad(operation: Convolution, shapes: tuple[Shape, Shape]) -> int:
    """How wide a border of zeros the input gradient reads around the output's gradient."""
    (_, *sides), (_, *outputs) = shapes
    if outputs == [1, 1]:
        return 0
    pad, step = 0, operation.stride
    for side, output, k, p, d in zip(
        sides, outputs, operation.kernel, operation.padding, operation.dilation, strict=True
    ):
        for first in range(min(step, side)):
            taps = [(first - tap) // step for i in range(k) if (first - (tap := i * d - p)) % step == 0]
            if taps:
                last = -(-(side - first) // step) - 1
                pad = max(pad, -min(taps), last + max(taps) - (output - 1))
    return pad


def _ints(values: object) -> Ints:
    return np.ascontiguousarray(values, dtype=np.int32)
