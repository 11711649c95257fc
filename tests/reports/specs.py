"""Reading what a chart carries from its specification."""

from typing import Any

WORDS = {"title": "what is seen", "subtitle": "of what"}


def values(chart: Any) -> list[dict[str, Any]]:
    """All data that a chart carries."""
    return [value for one in chart.to_dict()["datasets"].values() for value in one]


def layers(chart: Any) -> list[dict[str, Any]]:
    """The layers of a chart, or of each of its panels."""
    spec = chart.to_dict()
    return spec["layer"] if "layer" in spec else spec["spec"]["layer"]


def horizontal(chart: Any, field: str) -> list[dict[str, Any]]:
    """The horizontal encodings of that field, layer by layer."""
    found = [layer["encoding"].get("x", {}) for layer in layers(chart)]
    return [x for x in found if x.get("field") == field]
