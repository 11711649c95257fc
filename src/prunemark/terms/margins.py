"""The margin: the difference in accuracy that counts as none."""

import math
from numbers import Real

DEFAULT_MARGIN = 0.5
"""Percentage points of test accuracy."""


def check_margin(margin: float) -> None:
    """Raise ValueError unless the margin is a positive, finite number of percentage points."""
    number = isinstance(margin, Real) and not isinstance(margin, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not (number and math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a positive, finite number of percentage points, not {margin!r}")
