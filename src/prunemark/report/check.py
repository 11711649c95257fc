"""What a battery says of one method, in words."""

import math
from collections.abc import Sequence

from prunemark.stats import Verdict
from prunemark.terms.numbers import percent, pp


def check_words(verdicts: Sequence[Verdict], method: str) -> list[str]:
    """Whether a method's decisions matter: one sentence a question, with the numbers that answer it.

    The questions are those of the paper's claims: do the weights that it chooses within a layer matter (C3), the
    initial values of the weights (C4), the order of its scores (C5); does it beat random pruning (C1); does it reach
    magnitude pruning after training (C2)?

    Args:
        verdicts: from `prunemark.stats.verdicts`, of one study.
        method: the method's label.

    Returns:
        A sentence for each question that the study has finished trials for; one that says so where there are none.
    """
    sentences: list[str] = []
    asked = False
    for claim, ablation, question in _QUESTIONS:
        cells = [v for v in verdicts if v.claim == claim and v.method == method and v.ablation == ablation]
        asked = asked or bool(cells)
        if compared := [cell for cell in cells if not math.isnan(cell.difference)]:
            sentences.append(question(compared))
    if asked and not sentences:
        return [f"Nothing can be said of {method}: none of its trials finished that could be compared with others."]
    return sentences


def _shuffle(cells: Sequence[Verdict]) -> str:
    return _kept_or_lost(
        cells,
        kept="Which weights it keeps within a layer does not matter: its masks do as well when they are shuffled",
        lost="Which weights it keeps within a layer matters: shuffling its masks costs accuracy",
        mixed="Which weights it keeps within a layer matters at some sparsities: shuffling its masks costs accuracy",
        open_="Whether it matters which weights it keeps within a layer is not settled: shuffled masks differ by",
    )


def _reinit(cells: Sequence[Verdict]) -> str:
    return _kept_or_lost(
        cells,
        kept="The initial values of the weights do not matter: its masks do as well with weights drawn afresh",
        lost="The initial values of the weights matter: drawing them afresh costs accuracy",
        mixed="The initial values of the weights matter at some sparsities: drawing them afresh costs accuracy",
        open_="Whether the initial values of the weights matter is not settled: drawn afresh they differ by",
    )


def _invert(cells: Sequence[Verdict]) -> str:
    return _kept_or_lost(
        cells,
        kept="The order of its scores means little: the weights that it ranks last do as well",
        lost="The order of its scores means something: keeping the weights that it ranks last costs accuracy",
        mixed="The order of its scores means something at some sparsities: keeping what it ranks last costs accuracy",
        open_="Whether the order of its scores means anything is not settled: inverted it differs by",
    )


def _random(cells: Sequence[Verdict]) -> str:
    better = [cell for cell in cells if cell.outcome == "better"]
    worse = [cell for cell in cells if cell.outcome == "worse"]
    if worse:
        beats = f", and beats it by {_numbers(better)}" if better else ""
        return f"It is worse than random pruning, by {_numbers(worse)}{beats}."
    if better:
        where = "" if len(better) == len(cells) else " at some sparsities,"
        return f"It beats random pruning{where} by {_numbers(better)}."
    return f"It does not beat random pruning beyond doubt: it differs by {_numbers(cells)}."


def _mark(cells: Sequence[Verdict]) -> str:
    worse = [cell for cell in cells if cell.outcome == "worse"]
    if len(worse) == len(cells):
        return f"It misses the mark: against magnitude pruning after training it is worse, by {_numbers(cells)}."
    if worse:
        return f"It misses the mark at some sparsities: against magnitude pruning after training {_numbers(worse)}."
    return f"It is not shown to miss the mark: against magnitude pruning after training {_numbers(cells)}."


def _kept_or_lost(cells: Sequence[Verdict], *, kept: str, lost: str, mixed: str, open_: str) -> str:
    hurt = [cell for cell in cells if cell.outcome == "worse"]
    fine = [cell for cell in cells if cell.outcome in ("equivalent", "preserved", "better")]
    if len(hurt) == len(cells):
        return f"{lost}, {_numbers(hurt)}."
    if hurt:
        return f"{mixed}, {_numbers(hurt)}."
    if len(fine) == len(cells):
        return f"{kept}, {_numbers(fine)}."
    further = [cell.further_replicates for cell in cells if cell.further_replicates]
    advice = (
        f" About {max(further):,} further replicate{'' if max(further) == 1 else 's'} would tell." if further else ""
    )
    return f"{open_} {_numbers(cells)}.{advice}"


def _numbers(cells: Sequence[Verdict]) -> str:
    """ "-0.2 pp [-0.5, +0.1] at 80 %, ..." in the order of sparsity."""
    ordered = sorted(cells, key=lambda cell: cell.sparsity or 0.0)
    return ", ".join(
        f"{pp(cell.difference)} pp{_interval(cell)} at {percent(cell.sparsity or 0.0)}" for cell in ordered
    )


def _interval(cell: Verdict) -> str:
    """Empty where there are too few replicates for one."""
    return "" if math.isnan(cell.low) or math.isnan(cell.high) else f" [{pp(cell.low)}, {pp(cell.high)}]"


_QUESTIONS = (
    ("C3", "shuffle", _shuffle),
    ("C4", "reinit", _reinit),
    ("C5", "invert", _invert),
    ("C1", "unmodified", _random),
    ("C2", "unmodified", _mark),
)
