"""The paper's claims C1 to C7 (spec.md, section 6) as data, and what a table of results says about each.

Reference: Frankle, Dziugaite, Roy and Carbin (2021), arXiv 2009.08576.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prunemark.stats.cells import Cell, Experiment, benchmark_cell, experiments, moment, rewound_to
from prunemark.stats.effects import Standard
from prunemark.stats.ranges import SparsityRange, ranges_of
from prunemark.stats.records import Record
from prunemark.stats.verdict import Expectation, Verdict, verdict
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.benchmarks import LOTTERY_REWINDING, MAGNITUDE_AFTER_TRAINING
from prunemark.terms.margins import DEFAULT_MARGIN, check_margin

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a claim says in words, and which of its cells its summary runs over."""

    text: str
    scope: str


CLAIMS: dict[str, Statement] = {
    "C1": Statement(
        text="Every method beats random pruning at matching sparsities",
        scope="at initialisation and a sparsity established as matching",
    ),
    "C2": Statement(text="No method reaches magnitude pruning after training", scope="at initialisation"),
    "C3": Statement(text="Shuffling within layers keeps or improves accuracy", scope="at initialisation"),
    "C4": Statement(text="Reinitialising keeps or improves accuracy", scope="at initialisation"),
    "C5": Statement(text="Inverting GraSP hardly hurts, inverting every other method does", scope="at initialisation"),
    "C6": Statement(text="Shuffling and reinitialising hurt what was pruned after training", scope="of a benchmark"),
    "C7": Statement(
        text="Pruning later in training helps, but trails lottery-ticket rewinding", scope="after initialisation"
    ),
}

# GraSP with either sign keeps by a score whose order the paper found to mean little. Its absolute value,
# "graspabs", is another score.
_ORDER_MEANS_LITTLE = frozenset({"grasp"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Part of a claim: which cells stand on the left, what each is compared with, and what is expected of it."""

    claim: str
    left: Callable[[Cell], bool]
    right: Callable[[Experiment, Cell], Cell | None]
    expects: Callable[[Cell], Expectation]
    counts: Callable[[Cell, SparsityRange], bool]


def _is_method(cell: Cell, ablation: str = UNMODIFIED) -> bool:
    return cell.ablation == ablation and not cell.benchmark and cell.method not in ("dense", "random")


def _unmodified(_: Experiment, cell: Cell) -> Cell:
    return replace(cell, ablation=UNMODIFIED)


def _rewinding(experiment: Experiment, cell: Cell) -> Cell:
    return experiment.rewound(cell) or benchmark_cell(LOTTERY_REWINDING, cell.sparsity)


def _inverted_expectation(cell: Cell) -> Expectation:
    # "grasp:reversed" and "grasp:halves" are settings of "grasp".
    return "kept" if cell.method.partition(":")[0] in _ORDER_MEANS_LITTLE else "worse"


RULES: tuple[Rule, ...] = (
    Rule(
        claim="C1",
        left=_is_method,
        right=lambda _, cell: replace(cell, method="random"),
        expects=lambda _: "better",
        counts=lambda cell, sparsity_range: cell.initial and sparsity_range == "matching",
    ),
    Rule(
        claim="C2",
        left=_is_method,
        right=lambda _, cell: benchmark_cell(MAGNITUDE_AFTER_TRAINING, cell.sparsity),
        expects=lambda _: "worse",
        counts=lambda cell, _: cell.initial,
    ),
    Rule(
        claim="C3",
        left=lambda cell: _is_method(cell, "shuffle"),
        right=_unmodified,
        expects=lambda _: "kept",
        counts=lambda cell, _: cell.initial,
    ),
    Rule(
        claim="C4",
        left=lambda cell: _is_method(cell, "reinit"),
        right=_unmodified,
        expects=lambda _: "kept",
        counts=lambda cell, _: cell.initial,
    ),
    Rule(
        claim="C5",
        left=lambda cell: _is_method(cell, "invert"),
        right=_unmodified,
        expects=_inverted_expectation,
        counts=lambda cell, _: cell.initial,
    ),
    Rule(
        claim="C6",
        left=lambda cell: bool(cell.benchmark) and cell.ablation in ("shuffle", "reinit"),
        right=_unmodified,
        expects=lambda _: "worse",
        counts=lambda _cell, _range: True,
    ),
    Rule(
        claim="C7",
        left=lambda cell: _is_method(cell) and not cell.initial,
        right=lambda experiment, cell: experiment.initial(cell),
        expects=lambda _: "better",
        counts=lambda _cell, _range: True,
    ),
    Rule(
        claim="C7",
        # What is pruned at the end is pruned after training: a benchmark of its own, not a step on the way to it.
        left=lambda cell: _is_method(cell) and not cell.initial and cell.prune_at != "end",
        right=_rewinding,
        expects=lambda _: "worse",
        counts=lambda _cell, _range: True,
    ),
)


def _order(cell: Cell) -> tuple[Any, ...]:
    kind, rewound = rewound_to(cell.benchmark)
    pruned, back = (((), moment(step)) if step else () for step in (cell.step, rewound))
    return (cell.method, kind, back, cell.ablation, pruned, cell.sparsity)


def verdicts(results: "pd.DataFrame", *, margin: float = DEFAULT_MARGIN) -> list[Verdict]:
    """One verdict for every cell of every claim whose two sides are in the table.

    Sorted by study, network and data set, then claim, then cell; the order of the rows does not matter.
    `margin` is in percentage points and should have been fixed before the run. A diverged run counts with the
    accuracy it ended with; a failed one is a missing replicate. Any name of a method is welcome; "random" is
    the yardstick of C1 and no claim is made about it.

    Expected, and hence supporting:

    - C1: better than random at the same step; C2: worse than magnitude after training.
    - C3, C4: kept (equivalent, preserved or better) against unmodified.
    - C5: kept for GraSP and its settings ("grasp:..."), worse for every other method, "graspabs" among them.
    - C6: worse than the unmodified benchmark, for every benchmark.
    - C7: better than at initialisation, and worse than rewinding to the same step ("lottery-rewinding:STEP"), or, where
      the table has no such run, than "lottery-rewinding" (not for "end", which is after training).

    Raises:
        ValueError: the table is malformed, or the margin is not positive and finite.
    """
    check_margin(margin)
    found: list[Verdict] = []
    for experiment in experiments(results):
        sparsity_ranges = ranges_of(experiment, Standard(margin=margin))
        cells = sorted(experiment.accuracies, key=_order)
        for rule in RULES:
            for left in filter(rule.left, cells):
                right = rule.right(experiment, left)
                if right is None or right not in experiment.accuracies:
                    continue
                sparsity_range = sparsity_ranges.of(left.sparsity)
                found.append(
                    verdict(
                        experiment,
                        left,
                        right,
                        claim=rule.claim,
                        expectation=rule.expects(left),
                        counted=rule.counts(left, sparsity_range),
                        sparsity_range=sparsity_range,
                        margin=margin,
                    )
                )
    return found


@dataclass(frozen=True, kw_only=True)
class Claim(Record):
    """What the verdicts of one study, network and data set say about one of the paper's claims.

    `cells` are those that the summary runs over: the counted ones, or, where none counts, all (`holds` is then
    None). `supporting`, `against` and `undecided` add up to `cells`. `statement` is the claim; `text` is what
    was found.
    """

    study: str
    network: str
    dataset: str
    claim: str
    statement: str
    holds: bool | None
    cells: int
    supporting: int
    against: int
    undecided: int
    text: str


def claims(verdicts: Sequence[Verdict]) -> list[Claim]:
    """Sum the verdicts up to claims C1 to C7 for each study, network and data set, by intersection-union.

    A claim holds only if every counted cell supports it: at 5 % in each cell, that is a test at 5 % of the
    whole (Berger 1982, Technometrics 24:295). It fails as soon as one counted cell is against it, which is not
    adjusted for the number of cells: read `against` beside `cells`. Otherwise it is open (None). A claim
    without verdicts is listed as not tested. For the claims about one method, pass that method's verdicts.
    """
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for item in verdicts:
        groups.setdefault((item.study, item.network, item.dataset), []).append(item)
    return [
        _claim(claim, [item for item in group if item.claim == claim], *key)
        for key, group in groups.items()
        for claim in CLAIMS
    ]


def _claim(claim: str, items: list[Verdict], study: str, network: str, dataset: str) -> Claim:
    counted = [item for item in items if item.counted]
    summed = counted or items
    supporting = sum(item.holds is True for item in summed)
    against = [item for item in summed if item.holds is False]
    undecided = len(summed) - supporting - len(against)
    holds = None if undecided or not counted else True
    if counted and against:
        holds = False
    tally = f"{supporting} of {len(summed)} cells for it, {len(against)} against, {undecided} undecided"
    if not items:
        text = "not tested: the study has no such comparison"
    elif not counted:
        text = f"no cell {CLAIMS[claim].scope}, so cell by cell: {tally}"
    else:
        found = {True: "holds", False: "does not hold", None: "undecided"}[holds]
        text = f"{found}: {tally}"
    trivial = sum(item.sparsity_range == "trivial" for item in against)
    if trivial:
        text += f" ({trivial} of those against at trivial sparsities, where random pruning reaches dense accuracy)"
    return Claim(
        study=study,
        network=network,
        dataset=dataset,
        claim=claim,
        statement=CLAIMS[claim].text,
        holds=holds,
        cells=len(summed),
        supporting=supporting,
        against=len(against),
        undecided=undecided,
        text=text,
    )
