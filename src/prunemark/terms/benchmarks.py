"""The benchmarks: pruning after training, the mark that pruning early is to reach. No torch."""

from dataclasses import dataclass

from prunemark.registry import unknown
from prunemark.terms.steps import Step


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One way of pruning after training, by global magnitude of the trained weights.

    Attributes:
        summary: what it does.
        display_name: its name in legends and tables.
        at_each_step: its name where it is rewound to every step of a sweep.
        iterative: prunes in rounds of 20 %, each followed by a whole training; otherwise once.
        rewinds: trains on from the weights of an early step of dense training, in place of the trained ones.
    """

    summary: str
    display_name: str
    at_each_step: str = ""
    iterative: bool = False
    rewinds: bool = False


MAGNITUDE_AFTER_TRAINING = "magnitude-after-training"
LOTTERY_REWINDING = "lottery-rewinding"

BENCHMARKS: dict[str, Benchmark] = {
    MAGNITUDE_AFTER_TRAINING: Benchmark(
        summary="train, prune by |w|, train again from the final weights", display_name="magnitude after training"
    ),
    LOTTERY_REWINDING: Benchmark(
        summary="the same mask on the weights of an early step, trained again",
        display_name="lottery ticket rewinding",
        at_each_step="rewinding to that step",
        rewinds=True,
    ),
    "imp": Benchmark(
        summary="magnitude after training, in rounds of 20 %",
        display_name="iterative magnitude pruning",
        iterative=True,
    ),
    "imp-rewinding": Benchmark(
        summary="lottery rewinding, in rounds of 20 %",
        display_name="iterative, with rewinding",
        at_each_step="iterative, rewinding to it",
        iterative=True,
        rewinds=True,
    ),
}


def parse(text: str) -> tuple[Benchmark, str]:
    """A benchmark, and the step it rewinds to where the text says so: "lottery-rewinding:2ep".

    Raises:
        ValueError: an unknown benchmark; a step for one that does not rewind, or text that is not a step.
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
