"""Tables of named things that are imported only when they are used, and the error for an unknown name."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from prunemark.plugins import Package


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a table: where the thing lives, what it is, whom it comes from.

    `target` is "package.module:attribute" and is imported by `load`, so a table can be read, listed and
    checked against without importing torch. `options` are the keyword arguments that make this entry
    out of the target. `package` is set for entries of other packages, see `prunemark.plugins`.
    """

    target: str
    summary: str
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    package: "Package | None" = None

    def load(self) -> Any:
        """Import and return the target."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


_MOST_NAMES = 40

E_co = TypeVar("E_co", bound=Entry, covariant=True)


def unknown(kind: str, got: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: what was got, what is known (of many, the nearest), what was probably meant."""
    names = sorted(known)
    close = get_close_matches(got.lower(), names, n=1, cutoff=0.5)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    shown, rest = names, ""
    if len(names) > _MOST_NAMES:
        shown = get_close_matches(got.lower(), names, n=5, cutoff=0)
        rest = f" and {len(names) - len(shown)} more"
    return f'unknown {kind} "{got}"; known: {", ".join(shown)}{rest}{hint}'


def find(table: Mapping[str, E_co], kind: str, name: str) -> E_co:
    """The entry of that name.

    Raises:
        ValueError: there is none; the message lists the known names and the nearest one.
    """
    if name not in table:
        raise ValueError(unknown(kind, name, table))
    return table[name]
