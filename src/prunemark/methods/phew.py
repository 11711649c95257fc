"""PHEW: paths with higher edge weights (Patil & Dovrolis 2021, arXiv 2010.11354)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prunemark.methods.problem import Problem
from prunemark.methods.walks import NEVER, Walks
from prunemark.methods.wiring import wire
from prunemark.prunable import prunable


@dataclass(frozen=True, kw_only=True)
class Phew:
    """Keep the weights that random walks between input and output meet first.

    Walks alternate between forward, from the input units in turn, and backward, from the output units in turn. Each
    step of a forward walk leaves unit j by weight i -> of j with probability |w_i| / (sum of |w| of j's outgoing
    weights), each step of a backward walk likewise among incoming weights. Units of a convolution are channels: a
    kernel is chosen by its sum of |w|, then a weight in it by |w|. Needs no data, but the shape of an example.

    The paper adds walks until enough weights are met. Scores say the same for every count at once: the earlier a
    weight is first met, the larger its score. So the kept weights are whole input-output paths, but for the last,
    which the exact count may cut.

    Where units branch (shortcuts), the next layer is uniform among those that do not lie behind another of them; an
    identity shortcut's branch is thus never skipped. A flattened channel goes on at a uniform position. Weights on
    no input-output path, as in an already pruned network, come last.

    Deviations: the authors' program (ShreyasMalakarjunPatil/PHEW) masks biases of units without weights too; here
    only weights are pruned. Walks end when they have met `coverage` of the weights, or less than 1 new weight in
    100 walks; then units never met get one walk through each, and the remaining weights follow by |w|, each of which
    then lies on a path of kept weights.

    Attributes:
        rounds: 1 in the paper; in more, walks begin again in the surviving network.
        coverage: fraction in (0, 1] of the weights that walks look for. Above that density, |w| decides.

    Raises:
        ValueError: a coverage outside (0, 1].
    """

    rounds: int = 1
    coverage: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage is a fraction in (0, 1]; got {self.coverage!r}")

    def __call__(self, problem: Problem, /) -> dict[str, Tensor]:
        """Scores in float64: in (0, 1] on input-output paths, in (-1, 0] elsewhere, -1 where pruned already.

        Raises:
            ValueError: the shape of an example is not known; a weight is not finite; or units cannot be followed
                (see `prunemark.methods.wiring.wire`).
        """
        if problem.input_shape is None:
            raise ValueError("PHEW walks from the input: pass input_shape= (without the batch axis) or data=")
        names = {id(weight): name for name, weight in problem.weights.items()}
        layers = prunable(problem.model)
        magnitudes = {layer: weight.detach().cpu().abs() for layer, weight in layers.items()}
        kept = {
            layer: problem.masks[names[id(weight)]].cpu() if id(weight) in names else torch.ones(weight.shape).bool()
            for layer, weight in layers.items()
        }
        for layer, magnitude in magnitudes.items():
            if not magnitude.isfinite().all():
                raise ValueError(f"weights of {layer} are not finite")
        device = next(iter(layers.values())).device
        scored = {names[id(weight)]: layer for layer, weight in layers.items() if id(weight) in names}
        wiring = wire(problem.model, problem.forward, problem.input_shape)
        for layer, weight in layers.items():
            weight.data = magnitudes[layer]  # lets go of what `wire` has overwritten
        walks = Walks(wiring, magnitudes, kept, problem.generator("phew"))
        self._walk(walks)
        met, on_path = walks.first_met(), walks.on_path()
        del walks
        flat = [
            torch.cat([values.pop(scored[name]).flatten() for name in problem.weights])
            for values in (met, on_path, kept, magnitudes)
        ]
        scores = _scores(*flat).to(device)
        pieces = scores.split([weight.numel() for weight in problem.weights.values()])
        return {name: piece.view_as(problem.weights[name]) for name, piece in zip(problem.weights, pieces, strict=True)}

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


def _scores(met: Tensor, on_path: Tensor, kept: Tensor, magnitude: Tensor) -> Tensor:
    """Ranks as scores: first what walks met, in order; then the other weights on paths; then those on none."""
    groups = [
        ((met != NEVER), met, False),
        (on_path & (met == NEVER), magnitude, True),
        (kept & ~on_path, magnitude, True),
    ]
    scores = torch.full(met.shape, -1.0, dtype=torch.float64)
    rank = 0
    for members, key, largest_first in groups:
        where = members.nonzero().squeeze(1)
        ranked = where[key[where].argsort(stable=True, descending=largest_first)]
        ranks = rank + torch.arange(len(ranked), dtype=torch.float64)
        scores[ranked] = 1 - ranks / len(met)
        rank += len(ranked)
    scores[kept & ~on_path] -= 1
    return scores
