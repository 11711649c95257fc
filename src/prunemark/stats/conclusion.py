"""C0, the paper's conclusion: three numbers and what they say together."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunemark.stats.claims import ALL
from prunemark.stats.contrasts import Contrast, mean, weighted
from prunemark.stats.evidence import Evidence, refuted
from prunemark.stats.findings import Finding
from prunemark.stats.looks import ALPHA
from prunemark.stats.predicates import State
from prunemark.stats.questions import Question
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING

_CONTRAST_PREDICATE = "beats"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """C0 in one range of sparsities.

    Attributes:
        whole: C0 itself; its effect is the contrast.
        methods: C0a, what shuffling does to the methods: the mean over them, kept if each of them is kept.
        mark: C0b, what shuffling does to magnitude pruning after training.
        contrast: C0c, what shuffling costs after training minus what it costs the methods.
        each: the shuffle of each method (C3).
        refuted: the methods that shuffling is shown to hurt beyond the margin, after Holm's correction.
        no_contrast: whether C0 is contradicted only because nothing is at stake: the mark keeps its accuracy too.
    """

    whole: Finding
    methods: Finding
    mark: Finding
    contrast: Finding
    each: tuple[Finding, ...]
    refuted: tuple[str, ...]
    no_contrast: bool


def conclude(
    evidence: Evidence,
    range_: str,
    each: Sequence[Finding],
    questions: Sequence[Question],
    together: Finding | None,
    mark: Question | None,
    sparsities: Sequence[float],
) -> Conclusion:
    """C0 in one range.

    Supported if shuffling keeps the accuracy of every method (intersection-union) and the contrast beats 0.
    Contradicted if shuffling hurts one of them beyond the margin, or the contrast is below the margin: two parts that
    together err by 5 %, after Holm's correction over the two, and within the first over the methods.

    Args:
        evidence: the experiment.
        range_: the range's name.
        each: C3 about each method in the range.
        questions: those that `each` answers.
        together: C3 about all methods; None where there is none.
        mark: C6a about magnitude after training; None where it was not run.
        sparsities: of the range.
    """
    methods = _renamed(evidence, together, range_)
    shuffled_mark = {s: c for s, c in (mark.contrasts if mark else {}).items() if s in sparsities}
    of_mark = evidence.finding("C0b", MAGNITUDE_AFTER_TRAINING, range_, "hurts", shuffled_mark)
    tested = [(f, q) for f, q in zip(each, questions, strict=True) if f.effect is not None and not f.same_as]
    contrasts: dict[float, Contrast] = {}
    for s in of_mark.sparsities if of_mark.effect else ():
        if here := [q.contrasts[s] for f, q in tested if s in f.sparsities]:
            contrasts[s] = weighted([(1.0, mean(here)), (-1.0, shuffled_mark[s])])
    of_contrast = evidence.finding("C0c", ALL["methods"], range_, _CONTRAST_PREDICATE, contrasts)
    state: State = "untested"
    lost: tuple[str, ...] = ()
    if tested and of_contrast.effect is not None:
        lost, contrast_refuted = _refuted(evidence, [f for f, _ in tested], of_contrast)
        kept = methods.state == "supported" and of_contrast.state == "supported"
        state = "contradicted" if lost or contrast_refuted else "supported" if kept else "open"
    mark_keeps = of_mark.effect is not None and (
        of_mark.effect.state("keeps", margin=evidence.standard.margin) == "supported"
    )
    because = "" if state != "untested" else _missing(methods, of_mark)
    whole = Finding(
        study=evidence.experiment.study,
        network=evidence.experiment.network,
        dataset=evidence.experiment.dataset,
        claim="C0",
        range=range_,
        subject=ALL["methods"],
        predicate=_CONTRAST_PREDICATE,
        state=state,
        effect=of_contrast.effect if state != "untested" else None,
        sparsities=of_contrast.sparsities or tuple(sparsities),
        margin=evidence.standard.margin,
        because=because,
        prospect=of_contrast.prospect if state == "open" else None,
    )
    return Conclusion(
        whole=whole,
        methods=methods,
        mark=of_mark,
        contrast=of_contrast,
        each=tuple(f for f, _ in tested),
        refuted=lost,
        no_contrast=state == "contradicted" and not lost and mark_keeps,
    )


def _refuted(evidence: Evidence, methods: Sequence[Finding], contrast: Finding) -> tuple[tuple[str, ...], bool]:
    """Methods that lose by more than the margin, and whether the contrast is refuted, by Holm over the two parts."""

    def lost(alpha: float) -> tuple[str, ...]:
        flags = refuted(methods, evidence.standard, alpha=alpha)
        return tuple(f.subject for f, flag in zip(methods, flags, strict=True) if flag)

    def no_contrast(alpha: float) -> bool:
        return refuted([contrast], evidence.standard, alpha=alpha)[0]

    if no_contrast(ALPHA / 2):
        return lost(ALPHA), True
    first = lost(ALPHA / 2)
    return first, bool(first) and no_contrast(ALPHA)


def _renamed(evidence: Evidence, together: Finding | None, range_: str) -> Finding:
    if together is None or together.effect is None:
        because = together.because if together else "no method at initialisation was shuffled"
        return evidence.blank("C0a", ALL["methods"], range_, "keeps", (), because)
    return Finding(
        study=evidence.experiment.study,
        network=evidence.experiment.network,
        dataset=evidence.experiment.dataset,
        claim="C0a",
        range=range_,
        subject=together.subject,
        predicate=together.predicate,
        state=together.state,
        effect=together.effect,
        sparsities=together.sparsities,
        margin=together.margin,
    )


def _missing(methods: Finding, mark: Finding) -> str:
    if methods.effect is None:
        return methods.because
    return mark.because if mark.effect is None else "the methods and the mark have no sparsity in common"
