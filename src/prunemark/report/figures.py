"""The figures of a report: each a chart with its words, drawn once to SVG and from that to PNG."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunemark.report import charts, curves, theme, words
from prunemark.report.curves import Point, sparsity_text
from prunemark.stats import ranges

if TYPE_CHECKING:
    import altair as alt
    from pandas import DataFrame

PNG_SCALE = 2.0
_SPREAD = "Points are means over {replicates}, shaded from the worst replicate to the best; dotted: the dense network."
_BARS = (
    "Points are means over {replicates}, bars reach from the worst replicate to the best; dotted: the dense network."
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart ready to be shown: `name` of its files, `title`, `caption`, `description` in words, Vega-Lite `spec`."""

    name: str
    title: str
    caption: str
    description: str
    spec: dict[str, Any]

    def svg(self) -> str:
        """The chart as SVG text on white."""
        import vl_convert

        return vl_convert.vegalite_to_svg(self.spec | {"background": "white"}, vl_version=vega_lite_version())

    def save(self, folder: Path) -> str:
        """Write `name`.svg and `name`.png (twice the size) into the folder; returns the SVG text."""
        import vl_convert

        svg = self.svg()
        (folder / f"{self.name}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{self.name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=PNG_SCALE))
        return svg


def vega_lite_version() -> str:
    """The Vega-Lite that altair writes for, as vl-convert names it: "6.4"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def figures(
    results: "DataFrame", *, subject: str, margin: float, layers: "DataFrame | None" = None, prefix: str = ""
) -> list[Figure]:
    """All figures that the results of one study, network and data set allow.

    Args:
        results: as `prunemark.results` returns them.
        subject: what was pruned and trained: "resnet-20 on cifar-10".
        margin: of the sparsity ranges, in percentage points.
        layers: per-layer counts (see `charts.layer_density_panels`), if they are at hand.
        prefix: of the figures' names.
    """
    cells = curves.points(results)
    pruned = curves.pruned(cells)
    if not pruned:
        return []
    first = curves.earliest(cells)
    methods = [point for point in first if not point.cell.benchmark]
    when = curves.step_words(methods[0].cell.prune_at) if methods else "after training"
    n = curves.replicate_range(pruned)
    one = len({point.cell.sparsity for point in first}) == 1
    spread = (_BARS if one else _SPREAD).format(replicates=n)
    how = f"{subject}, pruned {when}; mean and range of {n}"
    lost = words.missing(results)
    found = [
        _figure(
            "accuracy",
            "Accuracy against sparsity",
            how,
            f"Test accuracy of the trained subnetworks against the share of weights that remains. {spread} "
            f"Methods prune {when}, benchmarks after training. {lost}",
            lambda title, subtitle: charts.accuracy_chart(results, title=title, subtitle=subtitle),
            _extremes([point for point in first if point.cell.ablation == "unmodified"]),
        ),
        _figure(
            "ablations",
            "What the methods know: shuffled, reinitialised, inverted",
            how,
            f"One panel a method, all on one scale. Where lines coincide, the method’s choice of weights within layers "
            f"(shuffled) or their values (reinitialised) do not matter. {spread}",
            lambda title, subtitle: charts.ablation_panels(results, title=title, subtitle=subtitle),
            _panels(methods),
        ),
        _figure(
            "benchmark-ablations",
            "What pruning after training knows",
            f"{subject}, pruned after training; mean and range of {n}",
            f"The same ablations of the benchmarks, where they are expected to hurt. {spread}",
            lambda title, subtitle: charts.ablation_panels(results, benchmarks=True, title=title, subtitle=subtitle),
            _panels([point for point in first if point.cell.benchmark]),
        ),
    ]
    if len(curves.steps(cells)) > 1:
        highest = next((r.highest_matching for r in ranges(results, margin=margin)), None)
        at = highest if highest is not None else max(point.cell.sparsity for point in pruned)
        found.append(
            _figure(
                "pruning-step",
                "Accuracy against the step of pruning",
                f"{subject} at {sparsity_text(at)} % sparsity; mean and range of {n}",
                f"Methods prune the dense network in training at the step shown; the subnetwork then trains with the "
                f"whole schedule. Benchmarks run across. {spread}",
                lambda title, subtitle: charts.pruning_step_chart(results, sparsity=at, title=title, subtitle=subtitle),
                f"Line chart of {_list([point.series for point in pruned])} at {sparsity_text(at)} % sparsity.",
            )
        )
    if layers is not None:
        found.append(
            _figure(
                "layer-density",
                "Where the weights remain",
                f"{subject}, pruned {when}",
                "Share of each layer’s weights that a method keeps, in the order of layers; 0 is a collapsed layer.",
                lambda title, subtitle: charts.layer_density_panels(layers, title=title, subtitle=subtitle),
                "Line charts of the share of weights kept in each layer, a panel a sparsity.",
            )
        )
    return [replace(figure, name=prefix + figure.name) for figure in found if figure is not None]


def _figure(
    name: str,
    title: str,
    subtitle: str,
    caption: str,
    draw: "Callable[[str, str], alt.LayerChart | alt.FacetChart | None]",
    description: str,
) -> Figure | None:
    chart = draw(title, subtitle)
    if chart is None:
        return None
    spec: dict[str, Any] = chart.to_dict() | {"description": description}
    return Figure(name=name, title=title, caption=caption.strip(), description=description, spec=spec)


def _extremes(shown: Sequence[Point]) -> str:
    if not shown:
        return ""
    ends = sorted({min(p.cell.sparsity for p in shown), max(p.cell.sparsity for p in shown)})
    sentences: list[str] = []
    for sparsity in ends:
        here = sorted((p for p in shown if p.cell.sparsity == sparsity), key=lambda p: -p.mean)
        reached = ", ".join(f"{theme.label(p.series)} {p.mean:.1f} %" for p in here)
        sentences.append(f"At {sparsity_text(sparsity)} % sparsity: {reached}.")
    return f"Chart of test accuracy against sparsity. {' '.join(sentences)}"


def _panels(shown: Sequence[Point]) -> str:
    ablations = _list([point.cell.ablation for point in shown])
    return f"Charts of test accuracy against sparsity for {_list([p.series for p in shown])}: {ablations}."


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(theme.label(name) for name in names))


def slug(text: str) -> str:
    """A text as part of a file's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"
