import math

import pytest

from prunemark.reports.range_bars import range_bars
from prunemark.stats import ranges
from tests.reports.conftest import make_results
from tests.reports.specs import WORDS, layers, values
from tests.reports.test_charts import ranges_with

FOUND = ranges_with(trivial=(0.2,), matching=(0.5, 0.8), extreme=(0.9,), undecided=(0.95,))


def stretches(chart: object, subject: str) -> list[tuple[str, float, float]]:
    return [(v["range"], v["from"], v["to"]) for v in values(chart) if v.get("subject") == subject]


def test_a_bar_is_divided_half_way_between_ranges_and_has_no_gap() -> None:
    found = stretches(range_bars({"it": FOUND}, **WORDS), "it")
    assert [kind for kind, _, _ in found] == ["trivial", "matching", "extreme", "undecided"]
    ends = [end for _, _, end in found]
    assert [start for _, start, _ in found][1:] == ends[:-1]
    assert ends[:3] == pytest.approx([math.sqrt(80 * 50), math.sqrt(20 * 10), math.sqrt(10 * 5)])
    assert found[0][1] > 80
    assert ends[3] < 5


def test_each_subject_has_a_row_that_says_its_highest_matching_sparsity() -> None:
    odd = "FILE.py:<net> on d'\"ata"
    (real,) = ranges(make_results())
    chart = range_bars({odd: FOUND, "other": real}, **WORDS)
    heads = [v["head"] for v in values(chart) if "head" in v]
    assert heads == [
        f"{odd}: highest matching sparsity: none established",
        f"other: highest matching sparsity: {100 * (real.highest_matching or 0):g} %",
    ]
    assert stretches(chart, odd)
    assert stretches(chart, "other")
    dots = [(round(v["remaining"], 6), int(v["row"])) for v in values(chart) if set(v) == {"row", "remaining"}]
    assert [share for share, row in dots if row == 0] == [80, 50, 20, 10, 5]
    x = layers(chart)[0]["encoding"]["x"]
    assert x["scale"]["type"] == "log"
    assert x["scale"]["domain"][0] > x["scale"]["domain"][1]


def test_a_subject_with_one_sparsity_beside_another() -> None:
    (one,) = stretches(range_bars({"it": FOUND, "one": ranges_with(extreme=(0.9,))}, **WORDS), "one")
    assert one[0] == "extreme"
    assert one[1] > 10 > one[2]


def test_nothing_decided_or_no_axis_is_no_chart() -> None:
    assert range_bars({}, **WORDS) is None
    assert range_bars({"it": ranges_with(undecided=(0.5, 0.9))}, **WORDS) is None
    assert range_bars({"it": ranges_with(extreme=(0.9,))}, **WORDS) is None
    assert range_bars({"it": ranges_with()}, **WORDS) is None
