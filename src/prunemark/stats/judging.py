"""From a table of results to what it says about the paper's claims."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from prunemark.stats.cells import Experiment, experiments
from prunemark.stats.claims import ALL, CLAIMS
from prunemark.stats.conclusion import Conclusion, conclude
from prunemark.stats.conditions import Conditions, conditions
from prunemark.stats.effects import Standard
from prunemark.stats.evidence import Evidence, of_all, of_each, told_apart
from prunemark.stats.findings import Finding
from prunemark.stats.fitness import DenseRun, Fitness, fitness
from prunemark.stats.questions import Question, questions
from prunemark.stats.ranges import Ranges, ranges_of
from prunemark.stats.recognition import require_recognised
from prunemark.stats.rounding import steps_of_rounding
from prunemark.stats.rows import CellRow, Row
from prunemark.stats.sentences import Name, conclusion_sentence, mark_sentence
from prunemark.terms.benchmarks import MAGNITUDE_AFTER_TRAINING
from prunemark.terms.html import html_table
from prunemark.terms.looks import Looks, Until
from prunemark.terms.margins import DEFAULT_MARGIN

if TYPE_CHECKING:
    import pandas as pd

_UNTOLD = (
    "The table does not say how the number of replicates was decided: the intervals are those of a number that was "
    "fixed before the run, and too narrow if the results decided when to stop."
)
T = TypeVar("T")
ByDataset = T | Mapping[str, T] | None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Verdicts of one study about one network on one data set.

    Attributes:
        ranges: its sparsities by range.
        findings: for each claim and range, one per method or benchmark and one for all; C0 with its three parts first.
        cells: the same for each sparsity by itself.
        conclusions: C0 by range, with what its sentence needs.
        fitness: whether the study is fit to test the claims; where it is not, its findings are untested.
        headline: the answer in one sentence.
        notes: what was decided about the evidence: what counts in nothing and why, shared trainings, replicates.
        sampling: how the number of replicates was decided, where the results decided it; for the line on trust.
    """

    study: str
    network: str
    dataset: str
    standard: Standard
    ranges: Ranges
    findings: tuple[Finding, ...]
    cells: tuple[Finding, ...]
    conclusions: Mapping[str, Conclusion]
    fitness: Fitness
    headline: str
    notes: tuple[str, ...]
    sampling: str = ""

    def answer(self, name: Name = str) -> str:
        """The answer in a sentence or two: C0, and which methods miss the mark, each named by `name`."""
        return " ".join(self.sentences(name))

    def sentences(self, name: Name = str) -> tuple[str, ...]:
        """The sentences of `answer`: C0 first, or why the study cannot test it."""
        metric = self.standard.metric
        return (*map(metric.reworded, self._sentences(name)), *([metric.legend] if metric.legend else []))

    def _sentences(self, name: Name) -> tuple[str, ...]:
        if not self.fitness.fit:
            return (self.fitness.sentence,)
        tested = [one for one in self.conclusions.values() if one.whole.state != "untested"]
        range_ = tested[0].whole.range if tested else next(iter(self.conclusions), "all")
        about = [f for f in self.findings if (f.claim, f.range) == ("C2", range_) and f.subject not in ALL.values()]
        parts = [*([conclusion_sentence(tested[0], name)] if tested else []), mark_sentence(about, name)]
        said = tuple(part for part in parts if part)
        return said or (conclusion_sentence(self.conclusions[range_], name),)

    @property
    def questions(self) -> tuple[Finding, ...]:
        """The findings that count one by one: a claim, one method or benchmark, a range, by trainings of their own."""
        return tuple(finding for finding in self.findings if finding.counts)

    @property
    def settled(self) -> tuple[int, int]:
        """Number of questions that are supported or contradicted, and number of all questions."""
        return self.settled_of("claims")

    def settled_of(self, what: Until) -> tuple[int, int]:
        """The same of the questions about claims, or of the cells that count in something."""
        asked = self.questions if what == "claims" else [cell for cell in self.cells if cell.state != "untested"]
        return sum(f.state != "open" for f in asked), len(asked)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Verdicts from a table of results, one Subject per study, network and data set."""

    subjects: tuple[Subject, ...]

    @property
    def claims(self) -> "pd.DataFrame":
        """One row per claim, range and subject: study, network, dataset, claim, range, subject, state, difference, low,
        high (percentage points), replicates, sparsities."""
        return Row.frame(finding.row() for subject in self.subjects for finding in subject.findings)

    @property
    def cells(self) -> "pd.DataFrame":
        """The same for one sparsity; `range` is also "trivial" and "undecided"."""
        return CellRow.frame(finding.cell_row() for subject in self.subjects for finding in subject.cells)

    @property
    def ranges(self) -> "pd.DataFrame":
        """One row per study, network and data set: its sparsities by range."""
        return Ranges.frame(subject.ranges for subject in self.subjects)

    @property
    def headline(self) -> str:
        """The answer in one sentence; one per network and data set, with its name, where there are several."""
        return self.headline_with()

    def headline_with(self, name: Name = str) -> str:
        """`headline` with each method as `name` spells its label."""
        if len(self.subjects) == 1:
            return self.subjects[0].sentences(name)[0]
        return " ".join(f"{one.network} on {one.dataset}: {one.sentences(name)[0]}" for one in self.subjects)

    def _repr_html_(self) -> str:
        findings = [finding for subject in self.subjects for finding in subject.findings]
        header = ["claim", "range", "subject", "state", "difference"]
        rows = [(row.claim, row.range, row.subject, row.state, _interval(row)) for row in (f.row() for f in findings)]
        return html_table(header, rows, notes=[self.headline])


def _interval(row: Row) -> str:
    """Its difference with the interval; nothing where there is none."""
    return "" if math.isnan(row.difference) else f"{row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"


def judge(
    results: "pd.DataFrame",
    *,
    margin: float | None = None,
    looks: Looks | None = None,
    images: ByDataset[int] = None,
    chance: ByDataset[float] = None,
    methods: Mapping[str, str] | None = None,
    steps_per_epoch: float | None = None,
    runs: ByDataset[Sequence[DenseRun]] = None,
) -> Judged:
    """Judge the paper's claims C0 to C8 by a table of results.

    Each claim is judged for every method or benchmark by itself, at matching and at extreme sparsities apart (at all
    where an experiment has neither), by the mean over the range's sparsities within each replicate and its interval
    over replicates; then for all of them.

    What a table of `prunemark.results` says about its own study is used where an argument is not given: the columns
    margin, looks, test_images, classes, method_name, steps_per_epoch, last_gain and initial_overlap.

    Args:
        results: as `prunemark.results` returns them, or of any origin: see `prunemark.stats.experiments` for the
            columns.
        margin: the smallest difference that matters, in percentage points, fixed before the run; by default the
            table's, else 0.5.
        looks: where the number of replicates was decided by the results. A table that does not say is judged as one
            of a fixed number, and a note says so.
        images: number of test images, for all data sets or by name; the variance is then at least that of rounding to
            whole images. Where it is missing, the table's decimals tell how far it was rounded, if at most four.
        chance: accuracy in percent of a network that has learnt nothing, likewise; cells with both sides there count in
            nothing.
        methods: label in the results -> the method's name; a label missing in it is a name, and refused if it is
            nearly that of the dense network, random pruning or a benchmark.
        steps_per_epoch: for C7a, where one method is pruned both at epochs and at iterations.
        runs: what dense training did in each replicate, for all data sets or by name; see `Fitness`.

    Raises:
        ValueError: the table is malformed, holds names that no comparison would find, or the margin is not positive
            and finite.
    """
    found = experiments(results)
    said_by = conditions(results)
    labels = [label for one in said_by.values() for label in one.methods or ()]
    require_recognised(found, methods or labels)
    subjects: list[Subject] = []
    for one in found:
        said = said_by.get((one.study, one.network, one.dataset), Conditions())
        stated = _of(chance, one.dataset)
        subject = _subject(
            one,
            Standard(
                margin=_first(margin, said.margin, DEFAULT_MARGIN),
                looks=looks or (said.looks if isinstance(said.looks, Looks) else None),
                images=_of(images, one.dataset) or said.images,
                metric=said.metric,
                steps=steps_of_rounding(one) if said.metric.name == "accuracy" else None,
            ),
            chance=100 / said.classes if stated is None and said.classes else stated,
            asked=questions(
                one, methods=methods or said.methods, steps_per_epoch=steps_per_epoch or said.steps_per_epoch
            ),
            runs=_of(runs, one.dataset) or said.runs,
        )
        if looks is None and said.looks is None:
            subject = replace(subject, notes=(*subject.notes, _UNTOLD))
        subjects.append(subject)
    return Judged(subjects=tuple(subjects))


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _of(given: ByDataset[T], dataset: str) -> T | None:
    return given.get(dataset) if isinstance(given, Mapping) else given


def _subject(
    experiment: Experiment,
    standard: Standard,
    *,
    chance: float | None,
    asked: list[Question],
    runs: Sequence[DenseRun],
) -> Subject:
    ranges = ranges_of(experiment, standard)
    evidence = Evidence(experiment=experiment, ranges=ranges, standard=standard, chance=chance)
    findings: list[Finding] = []
    conclusions: dict[str, Conclusion] = {}
    first: dict[str, list[Finding]] = {name: [] for name in CLAIMS}
    spans = _ranges(ranges, asked)
    for range_, sparsities in spans.items():
        by_claim: dict[str, list[Finding]] = {}
        for name, claim in CLAIMS.items():
            mine = [q for q in asked if q.claim == name]
            if claim.kind == "conclusion" or not mine:
                continue
            each = told_apart(evidence, [of_each(evidence, q, range_, sparsities) for q in mine], mine)
            by_claim[name] = [*each, *([of_all(evidence, each, mine)] if claim.together else [])]
        conclusions[range_] = _conclude(evidence, range_, by_claim, asked, sparsities)
        found = conclusions[range_]
        first["C0"] += [found.whole, found.methods, found.mark, found.contrast]
        for name, items in by_claim.items():
            first[name] += items
    for name, claim in CLAIMS.items():
        if not first[name]:
            because = "the study has no such comparison"
            first[name] = [evidence.blank(name, ALL[claim.of], "all", claim.predicate, (), because)]
        findings += first[name]
    cells = tuple(
        evidence.finding(q.claim, q.subject, ranges.of(s), q.predicate, {s: contrast})
        for q in asked
        for s, contrast in q.contrasts.items()
    )
    fit = fitness(evidence, runs, spans)
    if not fit.fit:
        findings = [_withheld(finding, fit.sentence) for finding in findings]
    return Subject(
        study=experiment.study,
        network=experiment.network,
        dataset=experiment.dataset,
        standard=standard,
        ranges=ranges,
        findings=tuple(findings),
        cells=cells,
        conclusions=conclusions,
        fitness=fit,
        headline=standard.metric.reworded(fit.sentence or _headline(conclusions, findings)),
        notes=tuple(map(standard.metric.reworded, _notes(findings, cells))),
    )


def _withheld(finding: Finding, why: str) -> Finding:
    """The finding with its numbers but without a verdict."""
    members = tuple(_withheld(member, why) for member in finding.members)
    return replace(finding, state="untested", because=why, members=members, prospect=None)


def _ranges(ranges: Ranges, asked: list[Question]) -> dict[str, tuple[float, ...]]:
    found = {name: inside for name, inside in (("matching", ranges.matching), ("extreme", ranges.extreme)) if inside}
    if found:
        return found
    sparsities = sorted({s for question in asked for s in question.contrasts})
    beyond = tuple(s for s in sparsities if s not in ranges.trivial)
    return {"all": beyond or tuple(sparsities)}


def _conclude(
    evidence: Evidence,
    range_: str,
    by_claim: Mapping[str, list[Finding]],
    asked: list[Question],
    sparsities: tuple[float, ...],
) -> Conclusion:
    shuffled = by_claim.get("C3", [])
    mark = next((q for q in asked if (q.claim, q.subject) == ("C6a", MAGNITUDE_AFTER_TRAINING)), None)
    return conclude(
        evidence,
        range_,
        shuffled[:-1],
        [q for q in asked if q.claim == "C3"],
        shuffled[-1] if shuffled else None,
        mark,
        sparsities,
    )


def _headline(conclusions: Mapping[str, Conclusion], findings: list[Finding]) -> str:
    """C0 where the claims are about: at matching sparsities if it is tested there; else C2, else that it is not."""
    tested = [one for one in conclusions.values() if one.whole.state != "untested"]
    if tested:
        return conclusion_sentence(tested[0])
    range_ = next(iter(conclusions))
    about_the_mark = mark_sentence([f for f in findings if f.claim == "C2" and f.range == range_ and not f.members])
    return about_the_mark or conclusion_sentence(conclusions[range_])


def _notes(findings: list[Finding], cells: tuple[Finding, ...]) -> list[str]:
    notes = [
        f"{one.claim} ({one.range}): {one.subject} shares its trainings with {one.same_as}; they count once."
        for one in findings
        if one.same_as
    ]
    left_out: dict[str, int] = {}
    for cell in cells:
        if cell.state == "untested":
            left_out[cell.because] = left_out.get(cell.because, 0) + 1
    notes += [
        f"{count} comparison{' counts' if count == 1 else 's count'} in nothing: {why}."
        for why, count in left_out.items()
    ]
    off = [f for f in findings if f.effect and f.effect.outlier is not None and not f.members]
    for finding in off:
        found = finding.effect
        assert found is not None
        without = f"{found.difference_without:+.2f}"
        if math.isfinite(found.low_without):
            without += f" [{found.low_without:+.2f}, {found.high_without:+.2f}]"
        notes.append(
            f"{finding.claim} ({finding.range}), {finding.subject}: replicate {found.outlier} is more than five "
            f"median deviations off; without it the difference is {without} points."
        )
    return list(dict.fromkeys(notes))
