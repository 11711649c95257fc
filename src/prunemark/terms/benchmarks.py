"""The benchmarks: pruning after training, the mark that pruning early is to reach. No torch."""

from dataclasses import dataclass

from prunemark.registry import unknown
from prunemark.terms.steps import Step

ROUND = 0.2
"""The share of the surviving weights that a round of iterative pruning prunes."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One way of pruning after training, by global magnitude of the trained weights.

    Attributes:
        summary: what it does.
        iterative: prunes in rounds of 20 %, each followed by a whole training; otherwise once.
        rewinds: trains on from the weights of an early step of dense training, in place of the trained ones.
    """

    summary: str
    iterative: bool = False
    rewinds: bool = False


BENCHMARKS: dict[str, Benchmark] = {
    "magnitude-after-training": Benchmark(summary="train, prune by |w|, train again from the final weights"),
    "lottery-rewinding": Benchmark(
        summary="the same mask on the weights of an early step, trained again", rewinds=True
    ),
    "imp": Benchmark(summary="magnitude after training, in rounds of 20 %", iterative=True),
    "imp-rewinding": Benchmark(summary="lottery rewinding, in rounds of 20 %", iterative=True, rewinds=True),
}


def parse(text: str) -> tuple[Benchmark, str]:
    """A benchmark, and the step it rewinds to where the text says so: "lottery-rewinding:2ep".

    Raises:
        ValueError: an unknown benchmark; a step for one that does not rewind, or text that is no step.
    """
    name, colon, step = text.partition(":")
    if name not in BENCHMARKS:
        raise ValueError(unknown("benchmark", name, BENCHMARKS))
    if not colon:
        return BENCHMARKS[name], ""
    if not BENCHMARKS[name].rewinds:
        raise ValueError(f'"{text}": {name} keeps the trained weights; only benchmarks that rewind take a step')
    Step.parse(step)
    return BENCHMARKS[name], step


def rounds_to(sparsity: float) -> list[float]:
    """The sparsities after each round of 20 %: 1 - 0.8^k, to 12 decimals, and in the last round `sparsity` itself.

    The last round prunes less than 20 % where the sparsity is not on the grid.
    """
    reached: list[float] = []
    while True:
        following = round(1 - (1 - ROUND) ** (len(reached) + 1), 12)
        if following >= sparsity - 1e-9:
            return [*reached, sparsity]
        reached.append(following)
