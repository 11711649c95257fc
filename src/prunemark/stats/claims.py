"""The paper's claims C0 to C8 (spec.md, section 6) as data.

Reference: Frankle, Dziugaite, Roy and Carbin (2021), arXiv 2009.08576.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from prunemark.stats.cells import Cell, Experiment, benchmark_cell
from prunemark.stats.predicates import Predicate
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING

Of = Literal["methods", "benchmarks"]
Kind = Literal["cells", "trend", "conclusion"]

ALL: dict[Of, str] = {"methods": "all methods", "benchmarks": "all benchmarks"}
"""What a claim's subjects are called together."""

# GraSP with either sign keeps by a score whose order the paper found to mean little. Its absolute value,
# "graspabs", is another score.
_ORDER_MEANS_LITTLE = frozenset({"grasp"})
_ABSOLUTE = {"graspabs": "grasp"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim: what it says, of whom, and which comparisons bear on it.

    Attributes:
        statement: the claim in words.
        of: whose decisions it is about.
        predicate: what it says of left - right.
        left: (a cell, its method's name) -> whether it is the left side of a comparison.
        right: (experiment, left) -> what left is compared with; None where there is nothing.
        kind: "cells" compares at each sparsity; "trend" and "conclusion" are made of several comparisons.
        together: whether there is a claim about all subjects at once.
    """

    statement: str
    of: Of
    predicate: Predicate
    left: Callable[[Cell, str], bool]
    right: Callable[[Experiment, Cell], Cell | None]
    kind: Kind = "cells"
    together: bool = True


def family(name: str) -> str:
    """The method that a setting is one of: "grasp" for "grasp:halves" and "grasp, 10 rounds"."""
    return name.partition(",")[0].partition(":")[0]


def _is_method(cell: Cell) -> bool:
    return not cell.benchmark and cell.method not in ("dense", "random") and cell.sparsity > 0


def _at_initialisation(ablation: str = UNMODIFIED) -> Callable[[Cell, str], bool]:
    return lambda cell, _: _is_method(cell) and cell.initial and cell.ablation == ablation


def _inverted(*, order_means_little: bool) -> Callable[[Cell, str], bool]:
    chosen = _at_initialisation("invert")
    return lambda cell, name: chosen(cell, name) and (family(name) in _ORDER_MEANS_LITTLE) is order_means_little


def _of_benchmark(ablation: str) -> Callable[[Cell, str], bool]:
    return lambda cell, _: bool(cell.benchmark) and cell.ablation == ablation and cell.sparsity > 0


def _later(cell: Cell, _: str) -> bool:
    # What is pruned at the end is pruned after training: a benchmark of its own, not a step on the way to it.
    return _is_method(cell) and cell.ablation == UNMODIFIED and not cell.initial and cell.prune_at != "end"


def _absolute(cell: Cell, name: str) -> bool:
    return _is_method(cell) and cell.initial and cell.ablation == UNMODIFIED and family(name) in _ABSOLUTE


def _unmodified(_: Experiment, cell: Cell) -> Cell:
    return replace(cell, ablation=UNMODIFIED)


def _random(experiment: Experiment, cell: Cell) -> Cell | None:
    return experiment.initial(replace(cell, method="random"))


def _mark(_: Experiment, cell: Cell) -> Cell:
    return benchmark_cell(MAGNITUDE_AFTER_TRAINING, cell.sparsity)


def _rewound(experiment: Experiment, cell: Cell) -> Cell | None:
    return experiment.rewound(cell)


def _signed(_: Experiment, cell: Cell) -> Cell:
    absolute = family(cell.method)
    return replace(cell, method=_ABSOLUTE.get(absolute, absolute) + cell.method[len(absolute) :])


CLAIMS: dict[str, Claim] = {
    "C0": Claim(
        statement="Per-layer fractions can replace per-weight decisions at initialisation, unlike after training",
        of="methods",
        predicate="beats",
        left=_at_initialisation("shuffle"),
        right=_unmodified,
        kind="conclusion",
    ),
    "C1": Claim(
        statement="Every method beats random pruning",
        of="methods",
        predicate="beats",
        left=_at_initialisation(),
        right=_random,
    ),
    "C2": Claim(
        statement="Every method misses magnitude pruning after training",
        of="methods",
        predicate="hurts",
        left=_at_initialisation(),
        right=_mark,
    ),
    "C3": Claim(
        statement="Shuffling within layers keeps accuracy",
        of="methods",
        predicate="keeps",
        left=_at_initialisation("shuffle"),
        right=_unmodified,
    ),
    "C4": Claim(
        statement="Reinitialising keeps accuracy",
        of="methods",
        predicate="keeps",
        left=_at_initialisation("reinit"),
        right=_unmodified,
    ),
    "C4b": Claim(
        statement="Shuffling and reinitialising keep accuracy",
        of="methods",
        predicate="keeps",
        left=_at_initialisation("shuffle+reinit"),
        right=_unmodified,
    ),
    "C5a": Claim(
        statement="Inverting GraSP keeps accuracy",
        of="methods",
        predicate="keeps",
        left=_inverted(order_means_little=True),
        right=_unmodified,
        together=False,
    ),
    "C5b": Claim(
        statement="Inverting every other method hurts",
        of="methods",
        predicate="hurts",
        left=_inverted(order_means_little=False),
        right=_unmodified,
    ),
    "C6a": Claim(
        statement="Shuffling hurts what was pruned after training",
        of="benchmarks",
        predicate="hurts",
        left=_of_benchmark("shuffle"),
        right=_unmodified,
    ),
    "C6b": Claim(
        statement="Reinitialising hurts what was pruned after training",
        of="benchmarks",
        predicate="hurts",
        left=_of_benchmark("reinit"),
        right=_unmodified,
    ),
    "C7a": Claim(
        statement="Pruning later in training helps",
        of="methods",
        predicate="beats",
        left=_later,
        right=lambda experiment, cell: experiment.initial(cell),
        kind="trend",
    ),
    "C7b": Claim(
        statement="Pruning later trails rewinding to the same step",
        of="methods",
        predicate="hurts",
        left=_later,
        right=_rewound,
    ),
    "C8": Claim(
        statement="The largest absolute scores of GraSP beat GraSP",
        of="methods",
        predicate="beats",
        left=_absolute,
        right=_signed,
        together=False,
    ),
}
