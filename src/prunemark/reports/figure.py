"""A figure: a chart with its words, drawn once to SVG and from that to PNG and PDF."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prunemark.artifacts import write_atomically

if TYPE_CHECKING:
    from prunemark.reports.marks import AnyChart

PNG_SCALE = 2.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart ready to be shown: `name` of its files, `title`, `caption`, `description` in words, Vega-Lite `spec`."""

    name: str
    title: str
    caption: str
    description: str
    spec: dict[str, Any]

    def reworded(self, reword: Callable[[str], str]) -> "Figure":
        """The figure with each of its words put otherwise, those drawn in the chart included."""
        return replace(
            self,
            title=reword(self.title),
            caption=reword(self.caption),
            description=reword(self.description),
            spec=_reworded(self.spec, reword),
        )

    def svg(self) -> str:
        """The chart as SVG text on white."""
        import vl_convert

        return vl_convert.vegalite_to_svg(self.spec | {"background": "white"}, vl_version=vega_lite_version())

    def save(self, folder: Path) -> str:
        """Write `name`.svg, `name`.png (twice the size) and `name`.pdf into the folder; returns the SVG text."""
        import vl_convert

        svg = self.svg()
        # By renaming, so that no link in a folder that comes from elsewhere is written through.
        write_atomically(folder / f"{self.name}.svg", svg.encode())
        write_atomically(folder / f"{self.name}.png", vl_convert.svg_to_png(svg, scale=PNG_SCALE))
        write_atomically(folder / f"{self.name}.pdf", vl_convert.svg_to_pdf(svg))
        return svg


def _reworded(spec: Any, reword: Callable[[str], str], key: str = "") -> Any:
    """A specification with its texts put otherwise; names of fields and data stay."""
    if isinstance(spec, Mapping):
        named = cast("Mapping[str, Any]", spec)
        return {name: _reworded(value, reword, name) for name, value in named.items()}
    if isinstance(spec, list):
        return [_reworded(item, reword, key) for item in cast("list[Any]", spec)]
    return reword(spec) if isinstance(spec, str) and key in _TEXTS else spec


_TEXTS = ("title", "subtitle", "text", "description")


def figure(
    name: str,
    title: str,
    subtitle: str,
    caption: str,
    draw: "Callable[[str, str], AnyChart | None]",
    description: str,
) -> Figure | None:
    """The figure of what `draw(title, subtitle)` draws; None where that is nothing."""
    chart = draw(title, subtitle)
    if chart is None:
        return None
    spec: dict[str, Any] = _for_xml(chart.to_dict() | {"description": description})
    return Figure(name=name, title=title, caption=caption.strip(), description=description, spec=spec)


# What XML 1.0 has no way to write; the renderer of the drawings ends the process over it.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _for_xml(value: Any) -> Any:
    if isinstance(value, dict):
        return {_for_xml(name): _for_xml(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_xml(item) for item in value]
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def vega_lite_version() -> str:
    """The Vega-Lite that altair writes for, as vl-convert names it: "6.4"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def slug(text: str) -> str:
    """A text as part of a file's name: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"
