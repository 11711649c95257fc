"""Judging an experiment's questions: one subject at a time, and all together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prunemark.stats.cells import Cell, Experiment
from prunemark.stats.claims import ALL, CLAIMS
from prunemark.stats.contrasts import Contrast, effect, left_trainings, mean, vacuous
from prunemark.stats.effects import Standard
from prunemark.stats.findings import Finding
from prunemark.stats.looks import ALPHA
from prunemark.stats.predicates import Predicate, State, holm
from prunemark.stats.prospects import prospect
from prunemark.stats.questions import Question
from prunemark.stats.ranges import Ranges

_NOISE_DEVIATIONS = 3.0


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """An experiment and what its evidence is held to.

    `chance` is the accuracy in percent of a network that has learnt nothing; None where it is not known, and then no
    cell is found to be at the floor.
    """

    experiment: Experiment
    ranges: Ranges
    standard: Standard
    chance: float | None = None

    def finding(
        self, claim: str, subject: str, range_: str, predicate: Predicate, contrasts: Mapping[float, Contrast]
    ) -> Finding:
        """Judge the mean of contrasts, less those that count in nothing."""
        excluded = {s: why for s, contrast in contrasts.items() if (why := self.excluded(contrast))}
        used = {s: contrast for s, contrast in contrasts.items() if s not in excluded}
        if not used:
            because = "; ".join(dict.fromkeys(excluded.values())) or "the study has no such comparison in this range"
            return self.blank(claim, subject, range_, predicate, tuple(contrasts), because)
        found = effect(self.experiment, mean(list(used.values())), self.standard)
        return replace(
            self.blank(claim, subject, range_, predicate, tuple(sorted(used)), ""),
            state=found.state(predicate, margin=self.standard.margin),
            effect=found,
            prospect=prospect(found, predicate, self.standard),
        )

    def blank(
        self, claim: str, subject: str, range_: str, predicate: Predicate, sparsities: tuple[float, ...], because: str
    ) -> Finding:
        """A finding that nothing was tested."""
        return Finding(
            study=self.experiment.study,
            network=self.experiment.network,
            dataset=self.experiment.dataset,
            claim=claim,
            range=range_,
            subject=subject,
            predicate=predicate,
            state="untested",
            effect=None,
            sparsities=sparsities,
            margin=self.standard.margin,
            because=because,
        )

    def excluded(self, contrast: Contrast) -> str:
        """Reason why a contrast is left out; empty if it counts."""
        cells = list(contrast)
        if any(cell in self.experiment.unscored for cell in cells):
            return "weights of the mask were chosen by position: their scores were 0"
        if vacuous(self.experiment, contrast):
            return "both sides are the same trainings"
        if all(self._at_floor(cell) for cell in cells):
            return "both sides are at chance"
        return ""

    def _at_floor(self, cell: Cell) -> bool:
        if self.chance is None:
            return False
        accuracies = [a for a in self.experiment.accuracies[cell].values() if math.isfinite(a)]
        if not accuracies:
            return False
        images = self.standard.images
        noise = math.sqrt(self.chance * (100 - self.chance) / images) if images else 0.0
        return math.fsum(accuracies) / len(accuracies) <= self.chance + max(
            self.standard.margin, _NOISE_DEVIATIONS * noise
        )


def of_each(evidence: Evidence, question: Question, range_: str, sparsities: Sequence[float]) -> Finding:
    """One question at the sparsities of a range."""
    contrasts = {s: contrast for s, contrast in question.contrasts.items() if s in sparsities}
    return evidence.finding(question.claim, question.subject, range_, question.predicate, contrasts)


def told_apart(evidence: Evidence, findings: Sequence[Finding], questions: Sequence[Question]) -> list[Finding]:
    """The findings of one claim and range; those whose trainings on the left another has already are marked as such."""
    seen: dict[frozenset[tuple[str, ...]], str] = {}
    marked: list[Finding] = []
    for finding, question in zip(findings, questions, strict=True):
        if finding.state == "untested":
            marked.append(finding)
            continue
        left = left_trainings(evidence.experiment, mean([question.contrasts[s] for s in finding.sparsities]))
        first = seen.setdefault(left, finding.subject)
        marked.append(finding if first == finding.subject else replace(finding, same_as=first))
    return marked


def of_all(evidence: Evidence, findings: Sequence[Finding], questions: Sequence[Question]) -> Finding:
    """The claim about all subjects: supported if each supports it, contradicted if one does after Holm's correction.

    Its effect is the mean over the subjects, in each replicate. Subjects that are untested, or whose trainings another
    has already, are left out of both.

    Reference: Berger (1982), Technometrics 24:295, for the intersection-union test.
    """
    one = findings[0]
    tested = [(f, q) for f, q in zip(findings, questions, strict=True) if f.effect is not None and not f.same_as]
    name = ALL[CLAIMS[one.claim].of]
    if not tested:
        because = "; ".join(dict.fromkeys(f.because for f in findings))
        return evidence.blank(one.claim, name, one.range, one.predicate, one.sparsities, because)
    members = tuple(f for f, _ in tested)
    together = mean([mean([q.contrasts[s] for s in f.sparsities]) for f, q in tested])
    return Finding(
        study=evidence.experiment.study,
        network=evidence.experiment.network,
        dataset=evidence.experiment.dataset,
        claim=one.claim,
        range=one.range,
        subject=name,
        predicate=one.predicate,
        state=state_of_all(members, evidence.standard),
        effect=effect(evidence.experiment, together, evidence.standard),
        sparsities=tuple(sorted({s for f in members for s in f.sparsities})),
        margin=evidence.standard.margin,
        members=members,
    )


def state_of_all(members: Sequence[Finding], standard: Standard) -> State:
    """Intersection-union for support, Holm over the members for contradiction."""
    if any(refuted(members, standard)):
        return "contradicted"
    return "supported" if all(f.state == "supported" for f in members) else "open"


def refuted(members: Sequence[Finding], standard: Standard, *, alpha: float = ALPHA) -> list[bool]:
    """The findings that are contradicted after Holm's correction over all of them, with `alpha` for all."""
    effects = [f.effect for f in members]
    assert all(one is not None for one in effects)
    p_values = [
        one.contradiction_p(f.predicate, margin=standard.margin) if one else math.nan
        for f, one in zip(members, effects, strict=True)
    ]

    def level(at: int, alpha: float) -> float:
        one = effects[at]
        return one.level_of(alpha, standard.looks) if one else 0.0

    return holm(p_values, alpha=alpha, level=level)
