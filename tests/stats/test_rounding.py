import math

import numpy as np
import pytest

from prunemark.stats import judge
from prunemark.stats.cells import experiments
from prunemark.stats.rounding import steps_of_rounding
from tests.stats.tables import dense, rows, table, trained


@pytest.mark.parametrize(
    ("accuracies", "steps"),
    [
        ([90.0, 91.0], 100),
        ([90.0, 90.1], 1000),
        ([90.0, 90.12], 10_000),
        ([90.0, 90.123], None),
        ([100 * 4501 / 5003], None),
        ([100 * 451 / 500, 100 * 452 / 500], 1000),
    ],
)
def test_steps_of_rounding(accuracies: list[float], steps: int | None) -> None:
    (experiment,) = experiments(table(rows("snip", accuracies)))
    assert steps_of_rounding(experiment) == steps


def test_runs_that_failed_say_nothing_of_rounding() -> None:
    (experiment,) = experiments(table(rows("snip", [math.nan], status="failed")))
    assert steps_of_rounding(experiment) is None


def test_rounding_to_whole_percents_is_in_the_intervals() -> None:
    random = np.random.default_rng(0)
    exact = {name: (accuracy + random.normal(0, 0.1, 5)).round(6) for name, accuracy in (("a", 92.0), ("b", 90.0))}
    widths: list[float] = []
    for decimals in (6, 0):
        a, b = (list(exact[name].round(decimals)) for name in "ab")
        judged = judge(table(dense(a), rows("random", b), rows("snip", b), trained(a)))
        row = judged.claims.query("claim == 'C2' and subject == 'snip'").iloc[0]
        widths.append(row["high"] - row["low"])
    # t(0.95; 4) = 2.132 times the square root of 2 / 12 / 5, twice.
    assert widths[1] == pytest.approx(2 * 2.131847 * (2 / 12 / 5) ** 0.5, rel=1e-5)
    assert widths[0] < widths[1]


def test_the_number_of_images_says_it_better() -> None:
    parts = [*dense([90.0] * 3), *rows("snip", [90.0] * 3), *trained([91.0] * 3)]
    judged = judge(table(parts), images=500)
    row = judged.claims.query("claim == 'C2' and subject == 'snip'").iloc[0]
    assert row["high"] - row["low"] == pytest.approx(2 * 2.919986 * (2 * 0.2**2 / 12 / 3) ** 0.5, rel=1e-5)
