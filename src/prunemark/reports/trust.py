"""Limits of a study's evidence: its replicates, test images, settled questions, missing runs and fitness."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from prunemark.stats import Subject
from prunemark.stats.fitness import Fitness
from prunemark.stats.images import ImageShare
from prunemark.terms.numbers import counted, percent, pp


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One thing to know before the claims are believed."""

    about: str
    text: str


def trust(
    subject: Subject, *, finished: int | None = None, planned: int | None = None, shares: Sequence[ImageShare] = ()
) -> list[Remark]:
    """Facts that a reader must know about the evidence, by name.

    Args:
        subject: what the results say.
        finished: how many trials have a result; with `planned`, how many the study has.
        planned: see `finished`.
        shares: how much of the headline differences is the test set's, of this subject.
    """
    remarks = [
        ("Replicates", _replicates(subject)),
        ("Resolution", _resolution(subject)),
        ("Test images", _images(subject)),
        ("Test set’s share", _shares(shares)),
        ("Settled", settled(subject)),
        ("Not run", _not_run(subject, finished, planned)),
        ("Training", _fitness(subject.fitness)),
    ]
    return [Remark(about=about, text=text) for about, text in remarks if text]


def settled(subject: Subject) -> str:
    """Number of questions that are settled, and what counts as a question."""
    done, total = subject.settled
    if not total:
        return ""
    return (
        f"{done} of {counted(total, 'question')} settled at a margin of {subject.standard.margin:g} "
        f"point{'' if subject.standard.margin == 1 else 's'}. A question is one claim about one method or benchmark in "
        "one range of sparsities."
    )


def _replicates(subject: Subject) -> str:
    effects = [f.effect for f in subject.findings if f.effect]
    counts = sorted({effect.replicates for effect in effects})
    if not counts:
        return ""
    most = counts[-1]
    span = str(most) if len(counts) == 1 else f"{counts[0]} to {most}"
    sentences: list[str] = []
    if most:
        unseen = 100 * (1 - 0.05 ** (1 / most))
        sentences.append(
            f"{span} per comparison; {most} runs cannot exclude a failure that strikes up to {unseen:.0f} % of them"
        )
    if len(counts) > 1:
        sentences.append("Each comparison takes the replicates that both of its sides have; n stands beside it")
    if subject.sampling:
        sentences.append(subject.sampling[0].upper() + subject.sampling[1:])
    looks = sorted({(effect.look, effect.looks) for effect in effects if effect.look and effect.looks})
    if looks:
        where = " and ".join(f"{look} of {total}" for look, total in looks)
        sentences.append(
            f"The results decided how many: judged at look {where}, with intervals that allow for every look"
        )
    return f"{'. '.join(sentences)}." if sentences else ""


def _resolution(subject: Subject) -> str:
    widths = [(f.effect.high - f.effect.low) / 2 for f in subject.questions if f.effect]
    known = [width for width in widths if math.isfinite(width)]
    if not known:
        return ""
    return (
        f"Half of the intervals are narrower than ±{median(known):.2g} points; smaller differences stay unseen there."
    )


def _images(subject: Subject) -> str:
    images = subject.standard.images
    return f"{images:,}; one image is worth {100 / images:.2g} points." if images else ""


_NAMES = {
    "C0a": "what shuffling does to the methods",
    "C0b": "what it does to magnitude pruning after training",
    "C0c": "the contrast of the two",
}


def _shares(shares: Sequence[ImageShare]) -> str:
    parts = [_share(one) for one in shares if math.isfinite(one.split.share_of_images)]
    if not parts:
        return ""
    return f"Of the variance, the choice of test images makes, for {'; for '.join(parts)}."


def _share(one: ImageShare) -> str:
    what = _NAMES.get(one.finding.claim, f"{one.finding.subject} against the mark")
    found = one.split
    return (
        f"{what}, {100 * found.share_of_images:.0f} % (other images alone would move it by ±{found.of_images:.2f} "
        f"points, other trainings alone by ±{found.of_replicates:.2f}; 90 % interval over both {pp(found.low)} to "
        f"{pp(found.high)})"
    )


def _not_run(subject: Subject, finished: int | None, planned: int | None) -> str:
    sentences: list[str] = []
    if finished is not None and planned is not None and finished < planned:
        sentences.append(f"{finished:,} of {planned:,} trials have finished; the rest count in nothing yet")
    absent = sorted({f.claim for f in subject.findings} - {f.claim for f in subject.findings if f.effect})
    if absent:
        sentences.append(f"The study has nothing to compare for {', '.join(absent)}")
    return f"{'. '.join(sentences)}." if sentences else ""


def _fitness(found: Fitness) -> str:
    parts: list[str] = []
    if found.levelled is not None:
        had = "had levelled off" if found.levelled else "had not levelled off"
        parts.append(f"Dense training {had} ({pp(found.gain)} points in the last fifth)")
    if found.overlaps:
        sparsity = max(found.overlaps)
        parts.append(
            f"{100 * found.overlaps[sparsity]:.0f} % of the {percent(sparsity)} sparse magnitude mask after training "
            f"is that of the initial weights (chance: {percent(1 - sparsity)})"
        )
    words = {True: "stands", False: "does not stand", None: "is not shown to stand"}
    if found.above_random:
        parts.append(f"The mark, magnitude pruning after training, {words[found.stands_out]} above random pruning")
    return f"{'. '.join(parts)}." if parts else ""
