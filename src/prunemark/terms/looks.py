"""Looks at a growing number of replicates: when a study looks at its results, and until what is settled."""

from dataclasses import dataclass
from typing import Literal, Self

Until = Literal["claims", "cells"]

SIZES = (3, 5, 8, 12, 20)
GROWTH = 1.6
"""By how much a look beyond the last of SIZES exceeds the one before it."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Looks of a study at its results, and what must be settled before it stops.

    Replicates grow from `min` to `max` through `sizes`; each look's repeated confidence interval goes into the same
    predicates as that of a study with a fixed number. `until` says what must be settled to stop: "claims" or "cells".

    Raises:
        ValueError: min is below 3 or above max, or `until` is neither.
    """

    min: int = SIZES[0]
    max: int = SIZES[-1]
    until: Until = "claims"

    def __post_init__(self) -> None:
        if not SIZES[0] <= self.min <= self.max:
            raise ValueError(f"looks need {SIZES[0]} <= min <= max, not min = {self.min} and max = {self.max}")
        if self.until not in ("claims", "cells"):
            raise ValueError(f'until must be "claims" or "cells", not {self.until!r}')

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of replicates at which there is a look: min, max, and those of 3, 5, 8, 12, 20, 32, ... between."""
        grown: list[int] = list(SIZES)
        while grown[-1] < self.max:
            grown.append(round(grown[-1] * GROWTH))
        return (*sorted({self.min, self.max, *(n for n in grown if self.min < n < self.max)}),)

    def look_of(self, replicates: int) -> int | None:
        """Index of the look (0, 1, ...) that this number of replicates has reached; None before the first."""
        reached = sum(size <= replicates for size in self.sizes)
        return reached - 1 if reached else None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "3 to 20", as the column `looks` of a table of results has it.

        Raises:
            ValueError: it is not of that form, or they are no looks.
        """
        least, to, most = text.partition(" to ")
        if not to or not (least.isdecimal() and most.isdecimal()):
            raise ValueError(f'looks are written like "3 to 20", or "fixed" where there are none, not {text!r}')
        return cls(min=int(least), max=int(most))

    @property
    def span(self) -> str:
        """What `parse` reads: the looks follow from their ends."""
        return f"{self.min} to {self.max}"

    def __str__(self) -> str:
        sizes = self.sizes
        if len(sizes) == 1:
            return f"{sizes[0]} replicates, one look"
        return f"{self.min} to {self.max} replicates, looks at {', '.join(map(str, sizes))}"
