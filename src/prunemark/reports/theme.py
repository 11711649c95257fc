"""Look of prunemark's charts: one colour, dash and shape for one thing, in every chart."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from prunemark.terms.ablations import ABLATIONS, in_report_order
from prunemark.terms.benchmarks import BENCHMARKS

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
INK, SOFT, GRID = "#1b1f24", "#57606a", "#e4e7eb"

# Okabe and Ito's palette for the colour-blind, less its yellow, which is unreadable as a line on white.
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#7a828c"

# Grounds to write on.
RANGES = {"trivial": "#cfd9e4", "matching": "#9fd4b9", "extreme": "#f3c3a4", "undecided": "#e9ebee"}

ON_DARK = {
    RANGES["trivial"]: "#3b4a5a",
    RANGES["matching"]: "#21604a",
    RANGES["extreme"]: "#74401f",
    RANGES["undecided"]: "#2a3037",
    INK: "#e6e9ee",
    SOFT: "#a9b3be",
    GRID: "#31373f",
    GREY: "#98a2ad",
    BLUE: "#3d9fe0",
    VERMILION: "#f0833a",
    GREEN: "#1fbf92",
}
"""Replacements on a dark page: the same hues, light enough to be seen."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Look of one line of a chart; `display_name` is its name in legends."""

    display_name: str
    colour: str
    dash: tuple[int, ...] = ()
    shape: str = "circle"


SOLID, DASHED, DOTTED, DASH_DOT, LONG = (1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4)

_METHODS = {
    "random": Style(display_name="random", colour=GREY, dash=DOTTED, shape="cross"),
    "magnitude": Style(display_name="magnitude", colour=BLUE, dash=SOLID, shape="square"),
    "snip": Style(display_name="SNIP", colour=ORANGE, dash=SOLID, shape="triangle-up"),
    "grasp": Style(display_name="GraSP", colour=GREEN, dash=SOLID, shape="diamond"),
    "synflow": Style(display_name="SynFlow", colour=PURPLE, dash=SOLID, shape="triangle-down"),
}
# In the order of the tables that they style; what a table has more of gets a spare look.
_BENCHMARK_SHAPES = ("circle", "triangle-right", "square", "triangle-left")
_BENCHMARKS = {
    name: Style(
        display_name=benchmark.display_name,
        colour=VERMILION if benchmark.rewinds else INK,
        dash=DASH_DOT if benchmark.iterative else DASHED,
        shape=_BENCHMARK_SHAPES[at % len(_BENCHMARK_SHAPES)],
    )
    for at, (name, benchmark) in enumerate(BENCHMARKS.items())
}
_ABLATION_LOOKS = (
    *((INK, SOLID, "circle"), (BLUE, DASHED, "square"), (ORANGE, DOTTED, "triangle-up"), (PURPLE, DASH_DOT, "diamond")),
    *((GREEN, LONG, "triangle-down"), (SKY, DASHED, "triangle-left"), (VERMILION, DOTTED, "triangle-right")),
)
_ABLATIONS = {
    name: Style(display_name=ablation.display_name, colour=colour, dash=dash, shape=shape)
    for (name, ablation), (colour, dash, shape) in zip(ABLATIONS.items(), cycle(_ABLATION_LOOKS), strict=False)
}
ITSELF = "the method itself"
"""What a variant is called that differs in nothing from the method."""

_SPARE_COLOURS = (SKY, VERMILION, BLUE, GREEN, PURPLE, ORANGE)
_SPARE_DASHES = (DASH_DOT, DASHED, DOTTED, LONG)
_SPARE_SHAPES = ("triangle-left", "square", "diamond", "circle", "triangle-up")


def series_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each method or benchmark: its own where it has one, else one that no other has.

    Args:
        names: methods and benchmarks by their registered names; any text is allowed.

    Returns:
        The styles: the paper's methods first, then others in the order given, then the benchmarks.
    """
    given = dict.fromkeys(names)
    benchmarks = {name: style for name in given if (style := _benchmark(name)) is not None}
    styles = {name: style for name, style in _METHODS.items() if name in given}
    taken = {style.display_name for style in (_METHODS | _BENCHMARKS).values()}
    # Colours (6), dashes (4) and shapes (5) turn at different rates: 60 different combinations.
    for at, name in enumerate(name for name in given if name not in _METHODS | benchmarks):
        styles[name] = Style(
            display_name=f"{name} (another)" if name in taken else name,
            colour=_SPARE_COLOURS[at % len(_SPARE_COLOURS)],
            dash=_SPARE_DASHES[at % len(_SPARE_DASHES)],
            shape=_SPARE_SHAPES[at % len(_SPARE_SHAPES)],
        )
    kinds = list(_BENCHMARKS)
    return styles | dict(sorted(benchmarks.items(), key=lambda item: kinds.index(item[0].partition(":")[0])))


def _benchmark(name: str) -> Style | None:
    # "lottery-rewinding:2ep" is lottery rewinding, to a step of its own.
    kind, _, step = name.partition(":")
    style = _BENCHMARKS.get(kind)
    return replace(style, display_name=f"{style.display_name} ({step})") if style and step else style


def variant_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each variant, in the order given: ITSELF as plain as can be, every other with a look of its own."""
    given = list(dict.fromkeys(names))
    others = [name for name in given if name != ITSELF]
    styles = series_styles(others)
    # Grey is free: random pruning has no variants.
    colours = (*_SPARE_COLOURS, GREY)
    for at, name in enumerate(others):
        styles[name] = replace(styles[name], colour=colours[at % len(colours)])
    styles[ITSELF] = Style(display_name=ITSELF, colour=INK, dash=SOLID)
    return {name: styles[name] for name in sorted(given, key=lambda name: name != ITSELF)}


def ablation_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each ablation among `names`, in the order of the specification."""
    return {name: _ABLATIONS[name] for name in in_report_order(names)}


def display_name(name: str) -> str:
    """A method's, benchmark's or ablation's name as a reader of the paper knows it."""
    style = (_METHODS | _ABLATIONS).get(name) or _benchmark(name)
    return style.display_name if style else name


def config() -> dict[str, Any]:
    """The Vega-Lite configuration that every chart carries."""
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 8,
        "view": {"stroke": None},
        "axis": {
            "labelColor": SOFT,
            "labelFontSize": 12,
            "titleColor": INK,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "domainColor": SOFT,
            "tickColor": SOFT,
            "gridColor": GRID,
            "labelPadding": 4,
        },
        "legend": {
            "labelColor": INK,
            "labelFontSize": 12,
            "labelLimit": 260,
            "titleColor": INK,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "symbolSize": 80,
            "symbolStrokeWidth": 2,
            "rowPadding": 5,
        },
        "header": {
            "labelColor": INK,
            "labelFontSize": 14,
            "labelFontWeight": "bold",
            "labelAnchor": "start",
            "labelLimit": 250,
            "labelPadding": 6,
            "title": None,
        },
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": INK,
            "fontSize": 17,
            "fontWeight": "bold",
            "subtitleColor": SOFT,
            "subtitleFontSize": 12.5,
            "subtitlePadding": 6,
            "offset": 14,
        },
    }
