"""A point in training: "1000it", "10ep" or "end", never a bare number."""

import re
from dataclasses import dataclass
from typing import Literal, Self

_PATTERN = re.compile(r"(?P<count>[0-9]{1,15}(?:\.[0-9]{1,15})?)(?P<unit>it|ep)|end")


@dataclass(frozen=True)
class Step:
    """A step of training: after `count` iterations ("it") or epochs ("ep"), or at the "end"."""

    count: float
    unit: Literal["it", "ep", "end"]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "1000it" (iterations), "10ep" or "0.5ep" (epochs) or "end".

        Raises:
            ValueError: anything else, a fraction of an iteration included.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f'a step is written like "1000it", "10ep" or "end", not {text!r}')
        if match["unit"] is None:
            return cls(0, "end")
        if match["unit"] == "it" and "." in match["count"]:
            raise ValueError(f"iterations are whole numbers, not {text!r}")
        return cls(float(match["count"]), match["unit"])  # pyright: ignore[reportArgumentType]

    def at(self, *, steps_per_epoch: int, total_steps: int) -> int:
        """The number of optimizer steps taken when this point is reached, in [0, total_steps].

        Raises:
            ValueError: the point is after the end of training.
        """
        if self.unit == "end":
            return total_steps
        step = round(self.count * steps_per_epoch) if self.unit == "ep" else int(self.count)
        if step > total_steps:
            raise ValueError(f"{self} is step {step}, after the end of training (step {total_steps})")
        return step

    def __str__(self) -> str:
        if self.unit == "end":
            return "end"
        return f"{int(self.count) if self.count == int(self.count) else self.count}{self.unit}"
