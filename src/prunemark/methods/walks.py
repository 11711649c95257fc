"""Random walks from unit to unit through a network, many at once."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor

from prunemark.methods.wiring import Call, Wiring

NEVER = torch.iinfo(torch.int64).max
_OUTSIDE = -1  # the model's input, or its output
_PIECE = 262_144  # numbers

# Two calls by number, and the output units of the first that are wired to input units of the second.
_Link = tuple[int, int, Tensor, Tensor]


class Walks:
    """Walks between input and output along kept weights, each step chosen with probability proportional to |w|.

    Only weights on an input-output path of kept weights are walked on, so that no walk ends early. Units and
    weights of all calls of the wiring are numbered through: a layer called twice has its weights twice.

    Args:
        wiring: how the units connect.
        magnitudes: weight name -> |w|, on the CPU; chances are computed in float64.
        kept: weight name -> which weights may be walked on.
        source: the random numbers.
    """

    def __init__(
        self, wiring: Wiring, magnitudes: Mapping[str, Tensor], kept: Mapping[str, Tensor], source: torch.Generator
    ) -> None:
        self._calls = wiring.calls
        self._source = source
        self._stride = 2 * (len(self._calls) + 1)
        self._walk = 0
        self._first_weight = torch.tensor([0, *accumulate(call.weights for call in self._calls)])
        self._first_input = torch.tensor([0, *accumulate(len(call.from_input) for call in self._calls)])
        self._first_output = torch.tensor([0, *accumulate(len(call.to_output) for call in self._calls)])
        self._many = int(self._first_weight[-1]) >= 2**31
        self._shapes = torch.tensor([[call.groups, *call.shape] for call in self._calls])
        self._from_input = torch.cat([call.from_input for call in self._calls])
        self._to_output = torch.cat([call.to_output for call in self._calls])
        self._links: list[_Link] = [
            (k, m, leaving + self._first_output[k], entering + self._first_input[m])
            for (k, m), (leaving, entering) in wiring.wires.items()
        ]
        self._on_path = self._find_paths(kept)
        self._met = torch.full(self._on_path.shape, NEVER)

        self._entering = self._among_weights(magnitudes, by_input=False)
        self._leaving = self._among_weights(magnitudes, by_input=True)
        self._live_outputs = self._entering.sizes > 0
        self._live_inputs = self._leaving.sizes > 0
        self._connect()

    @property
    def live(self) -> int:
        """How many weights lie on an input-output path, counted in every call."""
        return int(self._on_path.sum())

    @property
    def met(self) -> int:
        """How many weights walks have met, counted in every call."""
        return int(np.count_nonzero((self._met != NEVER).numpy()))  # several times faster than torch

    def on_path(self) -> dict[str, Tensor]:
        """Weight name -> which kept weights lie on an input-output path of kept weights, flat."""
        return self._by_layer(self._on_path, torch.logical_or)

    def first_met(self) -> dict[str, Tensor]:
        """Weight name -> when a walk first met each weight, flat; NEVER where none did."""
        return self._by_layer(self._met, torch.minimum)

    def go(self, pairs: int) -> None:
        """So many walks forward and as many backward, alternating, from the input and output units in turn."""
        turns = self._walk // 2 + torch.arange(pairs)
        self._forward(self._starts[turns % len(self._starts)], 2 * turns * self._stride)
        self._backward(self._ends[turns % len(self._ends)], (2 * turns + 1) * self._stride)
        self._walk += 2 * pairs

    def go_through_the_rest(self) -> None:
        """A walk through each unit on a path that no walk has met yet."""
        met = [
            (values != NEVER).view(len(call.to_output), -1).any(1)
            for call, values in zip(self._calls, self._split(self._met), strict=True)
        ]
        units = (self._live_outputs & ~torch.cat(met)).nonzero().squeeze(1)
        times = (self._walk + torch.arange(len(units))) * self._stride
        self._backward(units, times)
        onward = self._next_input.draw(units, self._source)
        inside = onward != _OUTSIDE
        self._forward(onward[inside], times[inside] + len(self._calls) + 1)
        self._walk += len(units) + len(units) % 2

    def _forward(self, units: Tensor, times: Tensor) -> None:
        while len(units):
            weights = self._leaving.draw(units, self._source)
            self._met.scatter_reduce_(0, weights, times, "amin")
            units = self._next_input.draw(self._output_of(weights), self._source)
            inside = units != _OUTSIDE
            units, times = units[inside], times[inside] + 1

    def _backward(self, units: Tensor, times: Tensor) -> None:
        while len(units):
            weights = self._entering.draw(units, self._source)
            self._met.scatter_reduce_(0, weights, times, "amin")
            units = self._next_output.draw(self._input_of(weights), self._source)
            inside = units != _OUTSIDE
            units, times = units[inside], times[inside] + 1

    def _input_of(self, weights: Tensor) -> Tensor:
        """The input unit of each weight."""
        call = torch.bucketize(weights, self._first_weight, right=True) - 1
        groups, outputs, inputs, kernel = self._shapes[call].unbind(1)
        entry = (weights - self._first_weight[call]) // kernel
        group = entry // inputs // (outputs // groups)
        return self._first_input[call] + group * inputs + entry % inputs

    def _output_of(self, weights: Tensor) -> Tensor:
        """The output unit of each weight."""
        call = torch.bucketize(weights, self._first_weight, right=True) - 1
        _, _, inputs, kernel = self._shapes[call].unbind(1)
        return self._first_output[call] + (weights - self._first_weight[call]) // (inputs * kernel)

    def _among_weights(self, magnitudes: Mapping[str, Tensor], *, by_input: bool) -> "_Choice":
        """For each unit, a choice among the weights on paths of which it is the input, or the output."""
        sizes: list[Tensor] = []
        options: list[Tensor] = []
        shares: list[Tensor] = []
        for call, start, on_path in zip(self._calls, self._first_weight, self._split(self._on_path), strict=False):

            def rows_of(values: Tensor, call: Call = call) -> Tensor:
                grouped = values.reshape(_grouped(call))
                return (grouped.transpose(1, 2) if by_input else grouped).flatten(0, 1).flatten(1)

            live = rows_of(on_path)
            sizes.append(live.sum(1))
            numbers = torch.arange(call.weights, dtype=torch.int64 if self._many else torch.int32) + start
            options.append(rows_of(numbers)[live])
            weights = rows_of(magnitudes[call.layer]).double()[live]
            rows = live.nonzero()[:, 0]
            sums = torch.zeros(len(live), dtype=weights.dtype).index_add_(0, rows, weights)[rows]
            # Rows of zeros are uniform.
            shares.append(torch.where(sums > 0, weights / sums, 1.0))
        return _Choice(torch.cat(sizes), _joined(options), _joined(shares))

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split([call.weights for call in self._calls])

    def _find_paths(self, kept: Mapping[str, Tensor]) -> Tensor:
        """Which kept weights are reached from the input and reach the output."""
        reached, leaving = self._from_input.clone(), torch.zeros_like(self._to_output)
        reaching, entering = self._to_output.clone(), torch.zeros_like(self._from_input)
        weights = [kept[call.layer].reshape(_grouped(call)) for call in self._calls]
        inputs = [slice(a, b) for a, b in pairwise(self._first_input.tolist())]
        outputs = [slice(a, b) for a, b in pairwise(self._first_output.tolist())]
        by_input = [(call.groups, 1, -1, 1) for call in self._calls]
        by_output = [(call.groups, -1, 1, 1) for call in self._calls]
        for m, weight in enumerate(weights):
            for out, into in ((out, into) for _, sink, out, into in self._links if sink == m):
                reached[into] |= leaving[out]
            leaving[outputs[m]] = (weight & reached[inputs[m]].view(by_input[m])).any(3).any(2).flatten()
        for k, weight in reversed(list(enumerate(weights))):
            for out, into in ((out, into) for source, _, out, into in self._links if source == k):
                reaching[out[entering[into]]] = True  # several wires may leave one unit
            entering[inputs[k]] = (weight & reaching[outputs[k]].view(by_output[k])).any(3).any(1).flatten()
        return torch.cat(
            [
                (weight & reached[inputs[k]].view(by_input[k]) & reaching[outputs[k]].view(by_output[k])).flatten()
                for k, weight in enumerate(weights)
            ]
        )

    def _connect(self) -> None:
        """Where walks start, and where they go on from each unit.

        Of the calls that a unit is wired to, walks take those nearest: not one that lies behind another.
        """
        links: list[_Link] = []
        for k, m, out, into in self._links:
            live = self._live_outputs[out] & self._live_inputs[into]
            if live.any():
                links.append((k, m, out[live], into[live]))
        before = _before(links, len(self._calls))
        onward: list[tuple[Tensor, Tensor]] = []
        back: list[tuple[Tensor, Tensor]] = []
        for k, m, out, into in links:
            nearer = [o for source, sink, o, _ in links if source == k and sink in before[m]]
            there = ~_marked(self._to_output, *nearer)[out]
            onward.append((out[there], into[there]))
            nearer = [i for source, sink, _, i in links if sink == m and k in before[source]]
            there = ~_marked(self._from_input, *nearer)[into]
            back.append((into[there], out[there]))
        self._next_input = _Choice.between(onward, self._live_outputs)
        self._next_output = _Choice.between(back, self._live_inputs)

        starts = (self._from_input & self._live_inputs).nonzero().squeeze(1)
        ends = (self._to_output & self._live_outputs).nonzero().squeeze(1)
        start_calls = torch.bucketize(starts, self._first_input, right=True) - 1
        end_calls = torch.bucketize(ends, self._first_output, right=True) - 1
        among_starts, among_ends = set(start_calls.tolist()), set(end_calls.tolist())
        first = [k for k in among_starts if not before[k] & among_starts]
        last = [k for k in among_ends if not any(k in before[m] for m in among_ends)]
        self._starts = starts[torch.isin(start_calls, torch.tensor(first, dtype=torch.int64))]
        self._ends = ends[torch.isin(end_calls, torch.tensor(last, dtype=torch.int64))]

    def _by_layer(self, values: Tensor, join: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        joined: dict[str, Tensor] = {}
        for call, value in zip(self._calls, self._split(values), strict=True):
            joined[call.layer] = join(joined[call.layer], value) if call.layer in joined else value
        return joined


class _Choice:
    """Options in rows, of which one is drawn per row: with a probability proportional to its share, or uniformly."""

    def __init__(self, sizes: Tensor, options: Tensor, shares: Tensor | None = None) -> None:
        """`options`, row after row, `sizes` of them in each; their `shares` likewise, overwritten."""
        self.sizes = sizes
        self._options = options
        self._ends = sizes.cumsum(0)
        self._starts = self._ends - sizes
        self._ascending = _Ascending(shares.cumsum_(0)) if shares is not None and len(options) else None

    @classmethod
    def between(cls, pairs: Sequence[tuple[Tensor, Tensor]], live: Tensor) -> "_Choice":
        """Wired units, uniformly; from live units without wires, outside."""
        here = torch.cat([rows for rows, _ in pairs]) if pairs else torch.zeros(0, dtype=torch.int64)
        there = torch.cat([options for _, options in pairs]) if pairs else torch.zeros(0, dtype=torch.int64)
        alone = (live & ~_marked(live, here)).nonzero().squeeze(1)
        rows = torch.cat([here, alone])
        options = torch.cat([there, torch.full_like(alone, _OUTSIDE)])
        order = rows.argsort(stable=True)
        return cls(rows.bincount(minlength=len(live)), options[order])

    def draw(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """One option of each row."""
        uniform = torch.rand(len(rows), generator=source, dtype=torch.float64)
        low, high = self._starts[rows], self._ends[rows] - 1
        if self._ascending is None:
            return self._options[low + (uniform * (high - low + 1)).long()]
        cumulative = self._ascending.values
        below = cumulative[low - 1].where(low > 0, 0.0)
        point = below + uniform * (cumulative[high] - below)
        return self._options[self._ascending.places(point).clamp(low, high)].long()


class _Ascending:
    """Ascending numbers >= 0, the last > 0, in which points find their places faster than by searching all of them.

    The range is cut into equal cells, and only the numbers in a point's cell are searched.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        cells = len(values) // 2 + 1
        self._scale = cells / float(values[-1])
        counts = torch.zeros(cells + 2, dtype=torch.int64)
        for piece in values.split(_PIECE):
            found = self._cells(piece)
            first = int(found[0])
            sizes = (found - first).bincount()
            counts[1 + first : 1 + first + len(sizes)] += sizes
        self._starts = counts.cumsum_(0)

    def places(self, points: Tensor) -> Tensor:
        """How many of the numbers are not above each point: `torch.searchsorted(values, points, right=True)`."""
        cell = self._cells(points)
        low, high = self._starts[cell], self._starts[cell + 1]
        for _ in range(int((high - low).max()).bit_length()):
            middle = (low + high) // 2
            # An interval that is empty already has its middle at its end.
            up = (self.values[middle.clamp_max(len(self.values) - 1)] <= points) & (middle < high)
            low, high = torch.where(up, middle + 1, low), torch.where(up, high, middle)
        return low

    def _cells(self, numbers: Tensor) -> Tensor:
        # Rounding moves numbers to another cell only together with all that are larger, or smaller.
        return (numbers * self._scale).long().clamp_max_(len(self.values) // 2)


def _grouped(call: Call) -> tuple[int, int, int, int]:
    """The shape of a call's weight as groups x outputs per group x inputs per group x kernel entries."""
    outputs, inputs_per_group, kernel = call.shape
    return call.groups, outputs // call.groups, inputs_per_group, kernel


def _joined(pieces: list[Tensor]) -> Tensor:
    """The pieces as one tensor; the list lets go of them."""
    joined = torch.cat(pieces)
    pieces.clear()
    return joined


def _before(links: Sequence[_Link], calls: int) -> list[set[int]]:
    """For each call, the calls that lead to it."""
    before: list[set[int]] = [set() for _ in range(calls)]
    for k, m, *_ in sorted(links, key=lambda link: link[1]):
        before[m] |= {k} | before[k]
    return before


def _marked(like: Tensor, *indices: Tensor) -> Tensor:
    """A mask of the same size, True at these indices."""
    mask = torch.zeros_like(like)
    for index in indices:
        mask[index] = True
    return mask
