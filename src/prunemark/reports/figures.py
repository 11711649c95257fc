"""All figures of a report, with their captions: E1 to E6 of one network and data set, and the ranges of all (E7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from prunemark.reports import charts, curves, theme, words
from prunemark.reports.curves import Point
from prunemark.reports.families import families
from prunemark.reports.figure import Figure, figure
from prunemark.reports.layer_charts import (
    dead_unit_panels,
    followed,
    kept_inputs_panels,
    layer_density_panels,
    on_path_panels,
    shown_sparsity,
)
from prunemark.reports.layers import KeptLayers, kept_layers, repeated
from prunemark.reports.learning_curves import learning_curve_panels, learning_curves
from prunemark.reports.pruning_step import placed, pruning_step_chart, swept
from prunemark.reports.range_bars import range_bars
from prunemark.reports.references import references, sentence
from prunemark.stats import Finding, Ranges
from prunemark.stats.effects import Standard
from prunemark.terms.ablations import UNMODIFIED
from prunemark.terms.numbers import percent, percent_number, pp

if TYPE_CHECKING:
    from pandas import DataFrame

_BAND = (
    "The band is the matching range: random pruning no longer reaches the dense network’s accuracy, magnitude pruning "
    "after training still does."
)


_DOTTED = "dotted: the dense network."
LEARNING_CURVES = "learning-curves"
_PAIRED = (
    "Lines whose intervals overlap may differ all the same, because runs are paired, and lines that lie together are "
    "no proof that nothing was lost: the claims above judge the differences."
)


@dataclass(frozen=True, kw_only=True)
class _Study:
    """Data that the figures of one network and data set are drawn from."""

    results: "DataFrame"
    cells: Sequence[Point]
    first: Sequence[Point]
    ranges: Ranges | None
    standard: Standard | None
    subject: str
    when: str
    replicates: str

    @property
    def marks(self) -> str:
        one = len({point.cell.sparsity for point in self.first}) == 1
        return f"Points are means over {self.replicates}, {'bars' if one else 'shaded'}: {self.interval}; {_DOTTED}"

    @property
    def interval(self) -> str:
        """Explanation of the interval about a mean."""
        if self.standard is not None and self.standard.looks is not None:
            return "the repeated interval of the last look, as in the verdicts"
        return "the 90 % interval of the mean, as in the verdicts"

    def spread(self, shown: Sequence[Point]) -> str:
        """Explanation of the marks, and of marks that are outside the frame."""
        if curves.frame(shown, curves.dense(self.cells)) is None:
            return self.marks
        return f"{self.marks} What collapses runs out of the frame; the table of numbers has it."

    @property
    def band(self) -> str:
        shown = {point.cell.sparsity for point in self.first}
        return _BAND if self.ranges and self.ranges.matching and len(shown) > 1 else ""

    @property
    def how(self) -> str:
        return f"{self.subject}, pruned {self.when}; {self.over}"

    @property
    def over(self) -> str:
        return f"mean and interval over {self.replicates}"


def figures(
    results: "DataFrame",
    *,
    subject: str,
    ranges: Ranges | None,
    standard: Standard | None = None,
    compared: Sequence[Finding] = (),
    layers: "DataFrame | None" = None,
    epochs: "DataFrame | None" = None,
    methods: Mapping[str, str] | None = None,
    prefix: str = "",
) -> list[Figure]:
    """All figures that the results of one study, network and data set allow.

    Args:
        results: as `prunemark.results` returns them.
        subject: what was pruned and trained: "resnet-20 on cifar-10".
        ranges: its sparsities by range; None where they are not known.
        standard: what verdicts are held to; None = no looks, and no rounding to test images.
        compared: what each sparsity says by itself, for the view of differences.
        layers: what was kept in each layer, if it is at hand; see `write_report`.
        epochs: how training went, if it is at hand; see `write_report`.
        methods: label -> name of the methods, to find variants; see `write_report`.
        prefix: of the figures' names.
    """
    cells = curves.points(results, standard)
    pruned = curves.pruned(cells)
    if not pruned:
        return []
    first = curves.earliest(cells)
    at = [point.cell.prune_at for point in first if not point.cell.benchmark]
    study = _Study(
        results=results,
        cells=cells,
        first=first,
        ranges=ranges,
        standard=standard,
        subject=subject,
        when=curves.step_words(at[0]) if at else "after training",
        replicates=curves.replicate_range(pruned),
    )
    found = [_accuracy(study), _differences(study, compared), *_ablations(study), _steps(study)]
    if layers is not None and len(layers):
        found += _layers(study, layers)
    found.append(_variants(study, methods))
    if epochs is not None and len(epochs):
        found.append(_training(study, epochs))
    return [replace(one, name=prefix + one.name) for one in found if one is not None]


def ranges_figure(subjects: Mapping[str, Ranges]) -> Figure | None:
    """The ranges of all subjects of a report, a bar each (E7)."""
    return figure(
        "ranges",
        "Trivial, matching and extreme sparsities",
        ", ".join(subjects),
        "Trivial: random pruning still reaches the dense network’s accuracy. Matching: magnitude pruning after "
        "training still does. Extreme: it does not. Undecided: the replicates cannot tell, or the study has no such "
        "run. Dots are the sparsities that were run; borders lie half way between them.",
        lambda title, subtitle: range_bars(subjects, title=title, subtitle=subtitle),
        " ".join(f"{name}. {words.ranges_sentence(found)}" for name, found in subjects.items()),
    )


def _accuracy(study: _Study) -> Figure | None:
    return figure(
        "accuracy",
        "Accuracy against sparsity",
        study.how,
        f"Test accuracy of the trained subnetworks against the share of weights that remains. "
        f"{study.spread(charts.unmodified(study.cells))} "
        f"{study.band} Methods prune {study.when}, benchmarks after training. {words.missing(study.results)} "
        f"{sentence(references(study.results))}",
        lambda title, subtitle: charts.accuracy_chart(
            study.results, ranges=study.ranges, standard=study.standard, title=title, subtitle=subtitle
        ),
        _extremes([point for point in study.first if point.cell.ablation == UNMODIFIED]),
    )


def _differences(study: _Study, compared: Sequence[Finding]) -> Figure | None:
    shown = [one for one in compared if one.claim == "C2" and one.effect]
    margin = shown[0].margin if shown else 0
    return figure(
        "differences",
        "How far from the mark",
        f"{study.subject}, pruned {study.when}; {study.over}",
        f"Each method minus magnitude pruning after training, in percentage points of test accuracy: paired "
        f"differences over replicates, shaded: {study.interval.replace(' of the mean', '')}. The grey band is the "
        f"margin of {margin:g} points, within which a difference counts as none; the scale is linear inside it and "
        f"logarithmic outside. {study.band}",
        lambda title, subtitle: charts.difference_chart(shown, ranges=study.ranges, title=title, subtitle=subtitle),
        f"Chart of differences to magnitude pruning after training against sparsity. {_gaps(shown)}",
    )


def _gaps(shown: Sequence[Finding]) -> str:
    if not shown:
        return ""
    most = max(one.sparsities[0] for one in shown)
    here = [one for one in shown if one.sparsities[0] == most and one.effect]
    gaps = ", ".join(f"{theme.display_name(one.subject)} {pp(one.effect.difference)}" for one in here if one.effect)
    return f"At {percent(most)} sparsity, in points: {gaps}."


def _ablations(study: _Study) -> list[Figure | None]:
    def spread(*, benchmarks: bool) -> str:
        return study.spread(charts.ablated(study.cells, benchmarks=benchmarks))

    def draw(benchmarks: bool) -> charts.Draw:
        return lambda title, subtitle: charts.ablation_panels(
            study.results,
            benchmarks=benchmarks,
            ranges=study.ranges,
            standard=study.standard,
            title=title,
            subtitle=subtitle,
        )

    return [
        figure(
            "ablations",
            "What the methods know: shuffled, reinitialised, inverted",
            study.how,
            f"One panel per method, all on one scale: what is left when the method’s choice of weights within layers "
            f"is shuffled, their values are drawn afresh, or its ranking is inverted. {spread(benchmarks=False)} "
            f"{_PAIRED} {study.band}",
            draw(benchmarks=False),
            _panels([point for point in study.first if not point.cell.benchmark]),
        ),
        figure(
            "benchmark-ablations",
            "What pruning after training knows",
            f"{study.subject}, pruned after training; {study.over}",
            f"The same ablations of the benchmarks, where they are expected to hurt. {spread(benchmarks=True)} "
            f"{study.band}",
            draw(benchmarks=True),
            _panels([point for point in study.first if point.cell.benchmark]),
        ),
    ]


def _steps(study: _Study) -> Figure | None:
    at = swept(study.cells)
    if not at:
        return None
    lines = [one for sparsity in at for one in placed(study.cells, sparsity)]
    rewound = any(one.point.cell.benchmark and one.step for one in lines)
    highest = study.ranges.highest_matching if study.ranges else None
    which = f"{percent_number(highest)} % is the highest matching sparsity. " if highest in at and highest else ""
    texts = ", ".join(percent_number(sparsity) for sparsity in at)
    return figure(
        "pruning-step",
        "Accuracy against the step of pruning",
        f"{study.subject} at {texts} % sparsity; {study.over}",
        f"Methods prune the dense network in training at the step shown; the subnetwork then trains with the whole "
        f"schedule. {_REWOUND if rewound else ''}Benchmarks that know no step run across. {which}{study.marks}",
        lambda title, subtitle: pruning_step_chart(
            study.results, sparsities=at, standard=study.standard, title=title, subtitle=subtitle
        ),
        f"Line chart of {_list([one.line for one in lines])} at {texts} % sparsity.",
    )


_REWOUND = "Rewinding prunes after training and takes the weights back to that step. "


_DEAD = {True: "that lie on no path from input to output", False: "that keep none of their inputs"}


def _layers(study: _Study, layers: "DataFrame") -> list[Figure | None]:
    everything = kept_layers(layers)
    twice = repeated(everything)
    shown = [one for one in everything if one.cell.benchmark not in twice]
    if not shown:
        return []
    highest = study.ranges.highest_matching if study.ranges else None
    at = shown_sparsity(shown, highest)
    which = "the highest matching sparsity" if at == highest else "the highest sparsity of the study"
    same = f" Not drawn twice, with the masks of another benchmark: {_list(twice)}." if twice else ""
    subject = f"{study.subject}, pruned {study.when}"
    spread = f"Points are means over {study.replicates}, shaded: the 90 % interval of the mean."
    return [
        figure(
            "layer-density",
            "Where the weights remain",
            f"{subject}; mean of {study.replicates}",
            f"Share of each layer’s weights that is kept, layers in the network’s order. The scale is linear below "
            f"0.1 % and logarithmic above; 0 is a collapsed layer.{same}",
            lambda title, subtitle: layer_density_panels(shown, title=title, subtitle=subtitle),
            "Dots of the share of weights kept in each layer, a panel per sparsity.",
        ),
        figure(
            "on-path",
            "How much of it is connected",
            f"{subject}; {study.over}",
            f"Effective density: the share of the kept weights that lies on a path from input to output, a panel per "
            f"mask. Weights on no path do nothing, so that a network is sparser than its mask says. {spread} "
            f"{study.band}{same}",
            lambda title, subtitle: on_path_panels(shown, ranges=study.ranges, title=title, subtitle=subtitle),
            f"Charts of the share of kept weights on a path against sparsity. {_connected(shown, at)}",
        ),
        figure(
            "kept-inputs",
            "How many inputs a unit keeps",
            f"{subject}, at {percent_number(at)} % sparsity; {study.replicates} together",
            f"Of all units (neurons, output channels) the share that keeps at most so many of its inputs, at {which}. "
            f"Where a line starts, at 0, is the share of units that keep none. A shuffled mask keeps as many weights "
            f"in each layer, spread by chance: where the line of the unmodified mask starts higher and ends later, the "
            f"method crowds its weights into few units.{same}",
            lambda title, subtitle: kept_inputs_panels(shown, sparsity=at, title=title, subtitle=subtitle),
            f"Cumulative distributions of kept inputs per unit. {_dead(shown, at)}",
        ),
        figure(
            "dead-units",
            "Dead units",
            f"{subject}; {study.over}",
            f"Neuron collapse: the share of all units {_DEAD[followed(shown)]}, a panel per mask. {spread} "
            f"{study.band}{same}",
            lambda title, subtitle: dead_unit_panels(shown, ranges=study.ranges, title=title, subtitle=subtitle),
            f"Charts of the share of dead units against sparsity. {_dead(shown, at)}",
        ),
    ]


def _training(study: _Study, epochs: "DataFrame") -> Figure | None:
    found = learning_curves(epochs)
    pruned = curves.pruned(found)
    if not pruned:
        return None
    highest = study.ranges.highest_matching if study.ranges else None
    at = shown_sparsity(pruned, highest)
    which = "the highest matching sparsity" if at == highest else "the highest sparsity of the study"
    last = max(epoch for one in pruned for epoch in one.epochs)
    accuracy = any(measured["test_accuracy"] for one in pruned for measured in one.epochs.values())
    return figure(
        LEARNING_CURVES,
        "How training went",
        f"{study.subject} at {percent(at)} sparsity, pruned {study.when}; mean over {study.replicates}",
        f"Loss on the training set, averaged over each epoch as it went, and loss{' and accuracy' if accuracy else ''} "
        f"on the test set at the end of each epoch, at {which}. Lines are means over the replicates that reached the "
        f"epoch; a run that diverged ends where it stopped. Losses are on a logarithmic scale.",
        lambda title, subtitle: learning_curve_panels(found, sparsity=at, title=title, subtitle=subtitle),
        f"Line charts of train loss{', test loss and test accuracy' if accuracy else ' and test loss'} over {last} "
        f"epochs for "
        f"{_list([one.series for one in pruned if one.cell.sparsity == at])}.",
    )


def _variants(study: _Study, methods: Mapping[str, str] | None) -> Figure | None:
    labels = [point.cell.method for point in study.first if not point.cell.benchmark]
    kin = families(labels, methods)
    named = "; ".join(f"{theme.display_name(family)}: {_list(members)}" for family, members in kin.items())
    return figure(
        "variants",
        "Variants of a method",
        study.how,
        f"One panel a method, each on its own scale of accuracy; one line a variant. Variants with less than half "
        f"of the dense network’s accuracy run out of the frame where they would squeeze the others. {study.marks} "
        f"{study.band}",
        lambda title, subtitle: charts.variant_panels(
            study.results,
            families=kin,
            ranges=study.ranges,
            standard=study.standard,
            title=title,
            subtitle=subtitle,
        ),
        f"Charts of test accuracy against sparsity of variants. {named}.",
    )


def _extremes(shown: Sequence[Point]) -> str:
    if not shown:
        return ""
    ends = sorted({min(p.cell.sparsity for p in shown), max(p.cell.sparsity for p in shown)})
    sentences: list[str] = []
    for sparsity in ends:
        here = sorted((p for p in shown if p.cell.sparsity == sparsity), key=lambda p: -p.mean)
        reached = ", ".join(f"{theme.display_name(p.series)} {p.mean:.1f} {p.unit}" for p in here)
        sentences.append(f"At {percent_number(sparsity)} % sparsity: {reached}.")
    return f"Chart of test accuracy against sparsity. {' '.join(sentences)}"


def _panels(shown: Sequence[Point]) -> str:
    ablations = _list([point.cell.ablation for point in shown])
    return f"Charts of test accuracy against sparsity for {_list([p.series for p in shown])}: {ablations}."


def _connected(shown: Sequence[KeptLayers], sparsity: float) -> str:
    here = [one for one in shown if one.cell.sparsity == sparsity and one.cell.ablation == UNMODIFIED and one.on_path]
    shares = ", ".join(f"{theme.display_name(one.series)} {fmean(one.on_path.values()):.1f} %" for one in here)
    return f"On a path at {percent_number(sparsity)} % sparsity: {shares}." if here else ""


def _dead(shown: Sequence[KeptLayers], sparsity: float) -> str:
    here = [one for one in shown if one.cell.sparsity == sparsity and one.cell.ablation == UNMODIFIED]
    dead = ", ".join(f"{theme.display_name(one.series)} {one.at_most(0):.1f} %" for one in here)
    return f"Units without a kept input at {percent_number(sparsity)} % sparsity: {dead}."


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(theme.display_name(name) for name in names))
