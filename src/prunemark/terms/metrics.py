"""What trained networks are judged by: a number each, its direction and its unit. No torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prunemark.registry import unknown
from prunemark.terms.tasks import TASKS

Direction = Literal["higher", "lower"]
DIRECTIONS = ("higher", "lower")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric.

    Attributes:
        name: a name in METRICS, or "FILE.py:metric".
        direction: which is better.
        unit: of differences and of the margin.
        factor: how many units the number 1 has.
        noun: what sentences call it.
    """

    name: str
    direction: Direction
    unit: str
    factor: float = 1.0
    noun: str = "score"

    @property
    def legend(self) -> str:
        """The sentence on what all numbers are where this metric is judged; empty for accuracy."""
        if self.name == "accuracy":
            return ""
        sign = "" if self.direction == "higher" else "minus "
        return (
            f"Judged by the {self.noun}, of which {self.direction} is better: all numbers are {sign}the {self.noun}, "
            f"in {self.unit}, so that higher is better."
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of what a score can be: those of percent of accuracy; none of other metrics."""
        return (0.0, 100.0) if self.name == "accuracy" else (-math.inf, math.inf)

    def score(self, value: float) -> float:
        """A value in units, turned so that higher is better."""
        return (self.factor if self.direction == "higher" else -self.factor) * value

    def reworded(self, text: str) -> str:
        """A sentence about accuracy in points as one about this metric in its unit."""
        if self.name == "accuracy":
            return text
        mean = f"mean {'' if self.direction == 'higher' else 'minus '}{self.noun}"
        changed = f"changes {'' if self.direction == 'higher' else 'minus '}the {self.noun}"
        for words, instead in (
            ("mean test accuracy in percentage points", f"{mean} in {self.unit}"),
            ("mean test accuracy in percent", f"{mean} in {self.unit}"),
            ("mean test accuracies are", f"values of {mean}, in {self.unit}, are"),
            ("test accuracy (%)", f"{mean.removeprefix('mean ')} ({self.unit})"),
            # A number follows, whose sign is that of the score.
            ("changes the accuracy", changed),
            ("changes accuracy", changed),
            ("Test accuracy", self.noun.capitalize()),
            ("Test accuracies", self.noun.capitalize()),
            ("Accuracy", self.noun.capitalize()),
            ("test accuracy", self.noun),
            ("accuracy", self.noun),
            ("(points)", f"({self.unit})"),
            ("percentage points", self.unit),
            (" points", f" {self.unit}"),
        ):
            text = text.replace(words, instead)
        return text


METRICS: dict[str, Metric] = {
    "accuracy": Metric(name="accuracy", direction="higher", unit="points", factor=100.0, noun="accuracy"),
    "loss": Metric(name="loss", direction="lower", unit="thousandths", factor=1000.0, noun="test loss"),
}


def metric_of(given: str | Mapping[str, Any] | None, *, task: str = "classification") -> Metric:
    """The metric that a study names; its task's usual one where it names none.

    Args:
        given: a name in METRICS; or {"name": "FILE.py:metric", "direction": "lower", "unit": "dB"}, of which the unit
            may be missing.
        task: a name in `prunemark.terms.tasks.TASKS`.

    Raises:
        ValueError: an unknown name or field, a direction that is missing or is none.
    """
    given = given or TASKS[task].metric
    fields: Mapping[str, Any] = {"name": given} if isinstance(given, str) else given
    name = fields.get("name")
    if not isinstance(name, str) or fields.keys() - {"name", "direction", "unit"}:
        raise ValueError(f"a metric is a name, or a table of name, direction and unit; not {dict(fields)}")
    own = name.rpartition(":")[0].endswith(".py")
    if not own:
        if name not in METRICS:
            raise ValueError(f'{unknown("metric", name, METRICS)}; one of your own is "FILE.py:metric"')
        if fields.keys() != {"name"}:
            raise ValueError(f"the direction and unit of {name} are known: leave them out")
        return METRICS[name]
    direction = fields.get("direction")
    if direction not in DIRECTIONS:
        got = "has no direction" if direction is None else f"has the direction {direction!r}"
        raise ValueError(f'{name} {got}: {{ name = "{name}", direction = "higher" }} or "lower" says which is better')
    return Metric(name=name, direction=direction, unit=str(fields.get("unit", "units")), noun=name.rpartition(":")[2])
