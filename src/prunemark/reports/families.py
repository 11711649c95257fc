"""Families of methods: those of a study that are variants of one another."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from prunemark.own_code import is_own_code
from prunemark.reports.theme import ITSELF

# Variants whose names do not begin with their family's.
_FAMILIES = {"graspabs": "grasp", "iter-snip": "snip"}


def families(labels: Iterable[str], methods: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """The methods' labels by family, for families with at least two of them.

    A method and its named settings are one family ("grasp", "grasp:halves", "grasp:reversed"), and so are two labels of
    one method, such as the same with other rounds. A user's own function, "FILE.py:function", is one of itself.

    Args:
        labels: as they stand in the results.
        methods: label -> the method's name in METHODS, or "FILE.py:function"; a label missing in it is a name.
    """
    found: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        found.setdefault(family_of((methods or {}).get(label, label)), []).append(label)
    return {family: members for family, members in found.items() if len(members) > 1}


def variants(family: str, labels: Iterable[str]) -> dict[str, str]:
    """Names of a family's members within it: label -> variant, each different.

    "snip, 10 rounds" and "snip:official" are "10 rounds" and "official" of SNIP, and "snip" is ITSELF, so that what
    is the same in several families has one name. Other labels stay as they are.
    """
    given = list(dict.fromkeys(labels))
    short = {label: _within(family, label) for label in given}
    counts = Counter(short.values())
    return {label: name if counts[name] == 1 else label for label, name in short.items()}


def _within(family: str, label: str) -> str:
    if label == family:
        return ITSELF
    for separator in (", ", ":"):
        start, _, rest = label.partition(separator)
        if start == family and rest:
            return rest
    return label


def family_of(name: str) -> str:
    """The method that a name is a setting or variant of: "grasp" of "graspabs" and "grasp:halves"."""
    if is_own_code(name):
        path, _, attribute = name.rpartition(":")
        return f"{PurePath(path).name}:{attribute}"
    stem = name.partition(":")[0]
    return _FAMILIES.get(stem, stem)
