"""Provenance, to repeat a study: its whole recipe, its command, its data, and the date and machine. No torch."""

from collections.abc import Mapping
from typing import Any

from prunemark.own_code import short_name
from prunemark.recipes import Recipe, recipe_for
from prunemark.study.processor import processor
from prunemark.study.store import Store


def provenance(store: Store, name: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """Facts by their names, in the order in which a report shows them.

    Args:
        store: of the results.
        name: the study's.
        spec: its fields.
    """
    facts = {"Recipe": _recipe(spec), "Command": f"prunemark run {name}.toml, with the study below as {name}.toml"}
    prints = {
        place.removeprefix("data set "): value
        for place, value in store.facts().items()
        if place.startswith("data set ")
    }
    mine = [value for place, value in prints.items() if place.partition(", normalise")[0] == spec["dataset"]]
    facts["Data fingerprint"] = ", ".join(dict.fromkeys(mine)) or "not recorded"
    if packages := store.packages(name):
        facts["Other packages"] = "; ".join(f"{entry} of {package} {version}" for entry, package, version in packages)
    dates = store.dates(name)
    facts["Trained"] = "not recorded" if dates is None else " to ".join(dict.fromkeys(date[:10] for date in dates))
    facts["Processor of this report’s machine"] = processor()
    return facts


def stored_recipe(spec: Mapping[str, Any]) -> Recipe:
    """The recipe of a study that was run, by its fields, but for its loss: a user's file need not be here any more."""
    own = {name: value for name, value in spec["recipe"].items() if name != "loss"}
    return recipe_for(spec["network"], spec["dataset"]).override(own)


def _recipe(spec: Mapping[str, Any]) -> str:
    own, recipe = spec["recipe"], stored_recipe(spec)
    shown = {name: getattr(recipe, name) for name in recipe.to_dict()}
    if "loss" in own:
        shown["loss"] = short_name(own["loss"])
    parts = [f"{name} = {_text(value)}" for name, value in shown.items()]
    changed = f" (set by the study: {', '.join(own)})" if own else ""
    return f"{', '.join(parts)}{changed}"


def _text(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else f"{value}"
