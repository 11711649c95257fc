"""Rows of a table of any origin that mean something, but are written so that no comparison would find them."""

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise

from prunemark.stats.cells import DENSE, Cell, Experiment, benchmark_cell, rewound_to
from prunemark.terms.benchmarks import BENCHMARKS

_BASELINES = ("dense", "random")
_NEARLY_ONE = 1e-3
"""Share of the smaller density by which two sparsities must differ to be meant as two."""
_SHOWN = 10


def require_recognised(experiments: Iterable[Experiment], labels: Collection[str] = ()) -> None:
    """Check that the dense network, random pruning and benchmarks are written as claims look for them.

    A "Random" would be judged as a method, and the mark under another name would be missing from every comparison.

    Args:
        experiments: of a table of any origin.
        labels: that a study has given its methods: they, and its sparsities, mean what they say.

    Raises:
        ValueError: a method or benchmark whose name is nearly one of these; a benchmark in the column of methods, or
            whose rows are not those of magnitude pruning at the end of training; a dense network with a sparsity,
            ablation or benchmark; rows without a method; sparsities that are nearly one. All problems at once.
    """
    found = list(dict.fromkeys(problem for one in experiments for problem in _problems(one, labels)))
    if found:
        more = f"; and {len(found) - _SHOWN} other problems" if len(found) > _SHOWN else ""
        raise ValueError(f"results: {'; '.join(found[:_SHOWN])}{more}")


def _problems(experiment: Experiment, labels: Collection[str]) -> Iterator[str]:
    for cell in experiment.accuracies:
        if cell.method in labels and not cell.benchmark:
            continue
        if problem := _benchmark_problem(cell) if cell.benchmark else _method_problem(cell):
            yield problem
    for one, other in pairwise(experiment.sparsities):
        if not labels and other - one < _NEARLY_ONE * (1 - other):
            yield (
                f"sparsities {one:.9g} and {other:.9g} are nearly one, but never compared with each other: "
                "write the one that was asked for in all rows"
            )


def _method_problem(cell: Cell) -> str:
    if not cell.method:
        return "rows without a method"
    if cell.method != cell.method.strip():
        return f'method "{cell.method}" begins or ends with a blank'
    meant = _nearest(cell.method, (*_BASELINES, *BENCHMARKS))
    if meant in BENCHMARKS:
        return (
            f'method "{cell.method}" is a benchmark: write "{meant}" in the column benchmark, and "magnitude" as the '
            "method"
        )
    if meant and cell.method != meant:
        return f'method "{cell.method}": did you mean "{meant}"? Otherwise give it another name'
    if cell.method == DENSE.method and cell != DENSE:
        return f"the dense network has sparsity 0 and no ablation, not {cell.sparsity:g} and {cell.ablation}"
    return ""


def _benchmark_problem(cell: Cell) -> str:
    kind, _ = rewound_to(cell.benchmark)
    meant = _nearest(kind, BENCHMARKS)
    if meant and kind != meant:
        return f'benchmark "{cell.benchmark}": did you mean "{meant}"? Otherwise give it another name'
    expected = benchmark_cell(cell.benchmark, cell.sparsity)
    if meant and (cell.method, cell.prune_at) != (expected.method, expected.prune_at):
        return (
            f'benchmark "{cell.benchmark}" has method "{expected.method}" and prune_at "{expected.prune_at}", not '
            f'"{cell.method}" and "{cell.prune_at}"'
        )
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is the same but for case, blanks and punctuation; empty if there is none."""
    return next((one for one in known if _letters(one) == _letters(name)), "")


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
