"""Random walks from unit to unit through a network, many at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from prunemark.methods.phew.draws import OUTSIDE, ByMagnitude, Uniform, firsts
from prunemark.methods.phew.layer_call import LayerCall
from prunemark.methods.phew.wiring import Wiring

# In the place of a rank: of a weight that no walk has met yet, and of one on no path.
NEVER = torch.iinfo(torch.int32).max - 1
NO_PATH = NEVER + 1
LARGEST = 10**9  # weights
_PIECE = 262_144  # weights

# Two calls by number, and the output units of the first that are wired to input units of the second.
_Link = tuple[int, int, Tensor, Tensor]


class Walks:
    """Walks between input and output along kept weights, each step chosen with probability proportional to |w|.

    Only weights on an input-output path of kept weights are walked on, so that no walk ends early. Units and
    weights of all calls of the wiring are numbered through: a layer called twice has its weights twice. Holds |w|
    and 5 bytes for each weight.

    Args:
        wiring: how the units connect.
        weights: name -> weight; chances are computed in float64.
        kept: weight name -> which weights may be walked on, on the CPU.
        source: the random numbers.

    Attributes:
        live: how many weights are on an input-output path, counted in every call.
        met: how many of them walks have met.

    Raises:
        ValueError: more than 10^9 weights.
    """

    def __init__(
        self, wiring: Wiring, weights: Mapping[str, Tensor], kept: Mapping[str, Tensor], source: torch.Generator
    ) -> None:
        self._calls = wiring.calls
        self._source = source
        self._stride = 2 * (len(self._calls) + 1)
        self._pairs = 0
        self._first_weight = firsts(torch.tensor([call.weights for call in self._calls]))
        self._first_input = firsts(torch.tensor([len(call.from_input) for call in self._calls]))
        self._first_output = firsts(torch.tensor([len(call.to_output) for call in self._calls]))
        total = int(self._first_weight[-1])
        if total > LARGEST:
            raise ValueError(f"walks go through at most {LARGEST:,} weights; this network has {total:,}")
        self._shapes = torch.tensor([[call.groups, *call.shape] for call in self._calls])
        self._from_input = torch.cat([call.from_input for call in self._calls])
        self._to_output = torch.cat([call.to_output for call in self._calls])
        self._links: list[_Link] = [
            (k, m, leaving + self._first_output[k], entering + self._first_input[m])
            for (k, m), (leaving, entering) in wiring.wires.items()
        ]

        self.live = self.met = 0
        self._ranks = torch.full((total,), NO_PATH, dtype=torch.int32)
        sizes = torch.empty(total, dtype=weights[self._calls[0].layer].dtype)
        layers = zip(self._calls, self._find_paths(kept), self._split(self._ranks), self._split(sizes), strict=True)
        for call, on_path, ranks, size in layers:
            self.live += int(on_path.count_nonzero())
            ranks.masked_fill_(on_path, NEVER)
            size.copy_(weights[call.layer].flatten()).abs_().masked_fill_(~on_path, -1)
        self._entering = ByMagnitude(self._shapes, sizes, by_input=False)
        self._leaving = ByMagnitude(self._shapes, sizes, by_input=True)
        self._connect()

    def first_met(self) -> dict[str, Tensor]:
        """Weight name -> the place of each weight in the order in which walks first met them, flat.

        Ranks are int32 and count from 0: NEVER where no walk came, NO_PATH on no input-output path of kept weights.
        A weight of a layer that is called twice has the smaller of its two ranks.
        """
        joined: dict[str, Tensor] = {}
        for call, ranks in zip(self._calls, self._split(self._ranks), strict=True):
            joined[call.layer] = torch.minimum(joined[call.layer], ranks) if call.layer in joined else ranks
        return joined

    def go(self, pairs: int) -> None:
        """So many walks forward and as many backward, alternating, from the input and output units in turn."""
        pair = torch.arange(pairs)
        turns = self._pairs + pair
        self._forward(self._starts[turns % len(self._starts)], 2 * pair * self._stride)
        self._backward(self._ends[turns % len(self._ends)], (2 * pair + 1) * self._stride)
        self._pairs += pairs
        self._rank()

    def go_through_the_rest(self) -> None:
        """A walk through each unit on a path that no walk has met yet."""
        met = [
            (ranks < NEVER).view(len(call.to_output), -1).any(1)
            for call, ranks in zip(self._calls, self._split(self._ranks), strict=True)
        ]
        units = (self._entering.live & ~torch.cat(met)).nonzero().squeeze(1)
        times = torch.arange(len(units)) * self._stride
        self._backward(units, times)
        onward = self._next_input.draw(units, self._source)
        inside = onward != OUTSIDE
        self._forward(onward[inside], times[inside] + len(self._calls) + 1)
        self._rank()

    def _forward(self, units: Tensor, times: Tensor) -> None:
        while len(units):
            weights = self._leaving.draw(units, self._source)
            self._meet(weights, times)
            units = self._next_input.draw(self._output_of(weights), self._source)
            inside = units != OUTSIDE
            units, times = units[inside], times[inside] + 1

    def _backward(self, units: Tensor, times: Tensor) -> None:
        while len(units):
            weights = self._entering.draw(units, self._source)
            self._meet(weights, times)
            units = self._next_output.draw(self._input_of(weights), self._source)
            inside = units != OUTSIDE
            units, times = units[inside], times[inside] + 1

    def _meet(self, weights: Tensor, times: Tensor) -> None:
        """Until `_rank`, what is newly met has a time instead of a rank, counted from the last rank given."""
        self._ranks.scatter_reduce_(0, weights, (self.met + times).int(), "amin")

    def _rank(self) -> None:
        pieces = self._ranks.split(_PIECE)
        count = sum(int(self._timed(piece).count_nonzero()) for piece in pieces)
        met = in_order(((piece, self._timed(piece)) for piece in pieces), count=count)
        self._ranks[met] = torch.arange(self.met, self.met + count, dtype=torch.int32)
        self.met += count

    def _timed(self, ranks: Tensor) -> Tensor:
        return (ranks >= self.met) & (ranks < NEVER)

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

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split([call.weights for call in self._calls])

    def _find_paths(self, kept: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """For each call, which kept weights are reached from the input and reach the output."""
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
        for k, weight in enumerate(weights):
            yield (weight & reached[inputs[k]].view(by_input[k]) & reaching[outputs[k]].view(by_output[k])).flatten()

    def _connect(self) -> None:
        """Start units of walks, and the next units from each unit.

        Of the calls that a unit is wired to, walks take the nearest: none that is behind another.
        """
        links: list[_Link] = []
        for k, m, out, into in self._links:
            live = self._entering.live[out] & self._leaving.live[into]
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
        self._next_input = Uniform(onward, self._entering.live)
        self._next_output = Uniform(back, self._leaving.live)

        starts = (self._from_input & self._leaving.live).nonzero().squeeze(1)
        ends = (self._to_output & self._entering.live).nonzero().squeeze(1)
        start_calls = torch.bucketize(starts, self._first_input, right=True) - 1
        end_calls = torch.bucketize(ends, self._first_output, right=True) - 1
        among_starts, among_ends = set(start_calls.tolist()), set(end_calls.tolist())
        first = [k for k in among_starts if not before[k] & among_starts]
        last = [k for k in among_ends if not any(k in before[m] for m in among_ends)]
        self._starts = starts[torch.isin(start_calls, torch.tensor(first, dtype=torch.int64))]
        self._ends = ends[torch.isin(end_calls, torch.tensor(last, dtype=torch.int64))]


def in_order(pieces: Iterable[tuple[Tensor, Tensor]], *, count: int) -> Tensor:
    """Positions of some of many numbers, in ascending order of the numbers; among equals, earlier ones first.

    Args:
        pieces: of the numbers, int32 from 0 up, one after the other, with a mask of which of them are meant.
        count: how many are.
    """
    # A number and its place as one number, sorted in place: 8 bytes each, where sorting with indices takes 24.
    packed = torch.empty(count, dtype=torch.int64)
    first = filled = 0
    for numbers, meant in pieces:
        places = meant.nonzero().squeeze(1)
        packed[filled : filled + len(places)] = (numbers[places].long() << 32) | (places + first)
        first, filled = first + len(numbers), filled + len(places)
    packed.numpy().sort()
    return packed.bitwise_and_(0xFFFF_FFFF)


def _grouped(call: LayerCall) -> tuple[int, int, int, int]:
    """The shape of a call's weight as groups x outputs per group x inputs per group x kernel entries."""
    outputs, inputs_per_group, kernel = call.shape
    return call.groups, outputs // call.groups, inputs_per_group, kernel


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
