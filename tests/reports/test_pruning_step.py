import math

import pandas as pd
import pytest

from prunemark.reports import curves
from prunemark.reports.pruning_step import pruning_step_chart
from prunemark.reports.pruning_step import swept as swept_sparsities
from tests.reports.conftest import frame, make_results, row
from tests.reports.specs import WORDS, layers, values


def places(table: pd.DataFrame, line: str, sparsity: float = 0.95) -> dict[str, float]:
    """Step -> mean accuracy of a line."""
    chart = pruning_step_chart(table, sparsities=[sparsity], **WORDS)
    found = [(v["step"], v["mean"]) for v in values(chart) if v.get("line") == line]
    assert len(found) == len(dict(found)), "two points of a line at one step"
    return dict(found)


def swept(**study: object) -> pd.DataFrame:
    settings: dict[str, object] = {"prune_at": ("0ep", "2ep", "10ep"), "replicates": 2, "ablations": ("unmodified",)}
    return make_results(**(settings | study))  # pyright: ignore[reportArgumentType]


def test_steps_of_one_unit_are_placed_by_their_count() -> None:
    chart = pruning_step_chart(swept(prune_at=("0ep", "500it", "2000it")), sparsities=[0.95], **WORDS)
    x = layers(chart)[0]["encoding"]["x"]
    assert (x["field"], x["axis"]["values"], x["scale"]["constant"]) == ("count", [0, 500, 2000], 500)
    assert {v["sparsity"] for v in values(chart) if "line" in v} == {"95 %"}


def test_steps_of_mixed_units_are_spaced_evenly() -> None:
    chart = pruning_step_chart(swept(prune_at=("0ep", "10ep", "500it", "end")), sparsities=[0.95], **WORDS)
    x = layers(chart)[0]["encoding"]["x"]
    assert (x["field"], x["sort"]) == ("step", ["0ep", "10ep", "500it", "end"])


def test_rewinding_stands_at_the_step_that_it_goes_back_to() -> None:
    names = ("magnitude-after-training", "lottery-rewinding", "imp", "imp-rewinding")
    names += tuple(f"lottery-rewinding:{step}" for step in ("0it", "2ep", "10ep", "20ep"))
    table = swept(benchmarks=names)
    rewinding = places(table, "rewinding to that step")
    # "0it" is initialisation, which the methods write "0ep".
    assert list(rewinding) == ["0ep", "2ep", "10ep", "20ep"]
    own = table[(table.benchmark == "lottery-rewinding:10ep") & (table.sparsity == 0.95)].test_accuracy
    assert rewinding["10ep"] == pytest.approx(100 * own.mean(), abs=1e-3)
    assert "lottery ticket rewinding" not in {
        v.get("line") for v in values(pruning_step_chart(table, sparsities=[0.95], **WORDS))
    }
    for line in ("magnitude after training", "iterative magnitude pruning", "iterative, with rewinding"):
        level = places(table, line)
        assert list(level) == ["0ep", "2ep", "10ep", "20ep"]
        assert len(set(level.values())) == 1
    assert list(places(table, "SNIP")) == ["0ep", "2ep", "10ep"]


def test_iterative_rewinding_has_a_line_of_its_own() -> None:
    table = swept(benchmarks=("imp-rewinding:0ep", "imp-rewinding:2ep", "lottery-rewinding"))
    assert list(places(table, "iterative, rewinding to it")) == ["0ep", "2ep"]
    assert len(set(places(table, "lottery ticket rewinding").values())) == 1


def test_a_step_without_a_result_is_a_gap() -> None:
    table = swept(benchmarks=("lottery-rewinding:2ep", "lottery-rewinding:10ep"))
    lost = (table.method == "snip") & (table.prune_at == "2ep")
    table.loc[lost, ["status", "test_accuracy"]] = ["failed", math.nan]
    assert list(places(table, "SNIP")) == ["0ep", "10ep"]
    assert list(places(table, "rewinding to that step")) == ["2ep", "10ep"]


def test_fewer_than_two_steps_are_no_chart() -> None:
    assert pruning_step_chart(make_results(), sparsities=[0.95], **WORDS) is None
    assert pruning_step_chart(swept(), sparsities=[0.7], **WORDS) is None
    assert pruning_step_chart(frame([]), sparsities=[0.9], **WORDS) is None
    failed = frame([row(prune_at=at, test_accuracy=math.nan, status="failed") for at in ("0ep", "1ep")])
    assert pruning_step_chart(failed, sparsities=[0.9], **WORDS) is None


def test_several_sparsities_are_panels_with_their_own_scales() -> None:
    # As a study writes its grid: with more digits than cells tell apart.
    grid = [round(1 - 0.8**k, 12) for k in (11, 17)]
    table = swept(sparsities=tuple(grid))
    found = swept_sparsities(curves.points(table))
    assert found == pytest.approx(grid)
    chart = pruning_step_chart(table, sparsities=found, **WORDS)
    assert {v["panel"] for v in values(chart)} == {"sparsity 91.4 %", "sparsity 97.7 %"}
    assert {v["panel"] for v in values(chart) if "dense" in v} == {"sparsity 91.4 %", "sparsity 97.7 %"}
    assert chart.to_dict()["resolve"]["scale"]["y"] == "independent"


def test_only_sparsities_with_several_steps_are_swept() -> None:
    table = swept(sparsities=(0.5, 0.9))
    late = (table.sparsity == 0.9) & (table.prune_at != "0ep") & (table.benchmark == "")
    assert swept_sparsities(curves.points(table[~late])) == [0.5]
