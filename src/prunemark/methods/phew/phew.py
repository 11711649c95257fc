"""PHEW: paths with higher edge weights (Patil & Dovrolis 2021, arXiv 2010.11354)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunemark.methods.base import Method, Problem
from prunemark.methods.phew.walks import NEVER, NO_PATH, Walks, in_order
from prunemark.methods.phew.wiring import wire
from prunemark.models.prunable import prunable

_PIECE = 262_144  # weights


@dataclass(frozen=True, kw_only=True)
class Phew(Method):
    """Keep the weights that random walks between input and output meet first.

    Walks alternate between forward, from the input units in turn, and backward, from the output units in turn. Each
    step of a forward walk leaves unit j by weight i -> of j with probability |w_i| / (sum of |w| of j's outgoing
    weights), each step of a backward walk likewise among incoming weights. Units of a convolution are channels: a
    kernel is chosen by its sum of |w|, then a weight in it by |w|. Needs no data, but the shape of an example.

    The paper adds walks until enough weights are met. Scores say the same for every count at once: the earlier a
    weight is first met, the larger its score. So the kept weights are whole input-output paths, but for the last,
    which the exact count may cut.

    Where units branch (shortcuts), the next layer is uniform among those that are not behind another of them; an
    identity shortcut's branch is thus never skipped. A walk leaves a flattened channel at a uniform position. Weights
    on no input-output path, as in an already pruned network, come last.

    Deviations: the authors' program (ShreyasMalakarjunPatil/PHEW) masks biases of units without weights too; here
    only weights are pruned. Walks end when they have met `coverage` of the weights, or less than 1 new weight in
    100 walks; then units never met get one walk through each, and the remaining weights follow by |w|, each of which
    then is on a path of kept weights.

    Attributes:
        rounds: 1 in the paper; in more, walks begin again in the surviving network.
        coverage: fraction in (0, 1] of the weights that walks look for. Above that density, |w| decides.

    Raises:
        ValueError: a coverage outside (0, 1].
    """

    coverage: float = 0.8
    own_precision = True
    zero_means = "score"

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage is a fraction in (0, 1]; got {self.coverage!r}")

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores in float32, all different: in (0, 1] on input-output paths, in (-1, 0) elsewhere, -1 where pruned.

        They fall in equal steps of their binary representation, in which there are a billion numbers below 1.

        Raises:
            ValueError: the shape of an example is not known; a weight is not finite; units cannot be followed
                (see `prunemark.methods.phew.wiring.wire`); or there are more than 10^9 weights.
        """
        input_shape = problem.shape_of_example("PHEW walks from the input")
        names = {id(weight): name for name, weight in problem.weights.items()}
        layers = {layer: (weight, names.get(id(weight))) for layer, weight in prunable(problem.model).items()}
        layer_of = {name: layer for layer, (_, name) in layers.items()}
        if others := [name for name in problem.weights if name not in layer_of]:
            raise ValueError(
                f"PHEW walks through linear maps and convolutions; include= names {others[0]}, which is neither"
            )
        # The caller's own weights where possible, so that nothing holds on to the copy's, which `wire` frees.
        weights = {
            layer: weight.detach() if name is None else problem.initial[name]
            for layer, (weight, name) in layers.items()
        }
        kept = {
            layer: torch.ones(weight.shape, dtype=torch.bool) if name is None else problem.masks[name].cpu()
            for layer, (weight, name) in layers.items()
        }
        for layer, weight in weights.items():
            if not weight.isfinite().all():
                raise ValueError(f"weights of {layer} are not finite")
        ranked = [layer_of[name] for name in problem.weights]
        walks = Walks(wire(problem.model, problem.forward, input_shape), weights, kept, problem.generator("phew"))
        self._walk(walks)
        first_met, met = walks.first_met(), walks.met
        del walks
        ranks = torch.cat([first_met.pop(layer) for layer in ranked])
        scores = _scores(ranks, met, [(kept[layer], weights[layer]) for layer in ranked])
        pieces = scores.split([weight.numel() for weight in problem.weights.values()])
        return {
            name: piece.view_as(weight).to(problem.initial[name].device)
            for (name, weight), piece in zip(problem.weights.items(), pieces, strict=True)
        }

    def _walk(self, walks: Walks) -> None:
        live, met = walks.live, 0
        pairs = min(max(live // 16, 32), 32_768)
        while met < self.coverage * live:
            walks.go(pairs)
            found = walks.met - met
            met += found
            if 100 * found < 2 * pairs:
                break
        if live:
            walks.go_through_the_rest()


def _scores(ranks: Tensor, met: int, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Scores from ranks: first what walks met; then the other weights on paths, by |w|; then those on none.

    Args:
        ranks: int32, below `met`, NEVER or NO_PATH; of all layers, one after the other. Overwritten.
        met: one more than the largest rank.
        layers: for each which weights are kept, and their values.
    """

    def pieces() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        sizes = [weight.numel() for _, weight in layers]
        for part, (kept, weight) in zip(ranks.split(sizes), layers, strict=True):
            flat = (part, kept.flatten(), weight.flatten())
            yield from zip(*(values.split(_PIECE) for values in flat), strict=True)

    def by_magnitude(which: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        count = sum(int(which(rank, kept).count_nonzero()) for rank, kept, _ in pieces())
        keys = ((_LARGEST - _bits(weight.abs().cpu()), which(rank, kept)) for rank, kept, weight in pieces())
        return in_order(keys, count=count)

    unmet = by_magnitude(lambda rank, _: rank == NEVER)
    on_no_path = by_magnitude(lambda rank, kept: kept & (rank == NO_PATH))
    ranks[unmet] = torch.arange(met, met + len(unmet), dtype=torch.int32)
    step = (_ONE - _TINY) // max(1, met + len(unmet) + len(on_no_path))
    for rank in ranks.split(_PIECE):
        rank.copy_(torch.where(rank == NO_PATH, _MINUS_ONE, _ONE - step * rank))
    ranks[on_no_path] = _MINUS_ONE - _ONE + _TINY + step * torch.arange(len(on_no_path), dtype=torch.int32)
    return ranks.view(torch.float32)


def _bits(numbers: Tensor) -> Tensor:
    """The representations of numbers in float32 as int32: in the order of the numbers where these are positive."""
    return numbers.float().view(torch.int32)


_TINY, _ONE, _MINUS_ONE, _LARGEST = _bits(torch.tensor([2.0**-126, 1, -1, float("inf")])).tolist()
