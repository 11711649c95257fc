import math
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from prunemark.report import charts
from tests.report.conftest import BENCHMARKS, METHODS, SPARSITIES, frame, make_results, row

WORDS = {"title": "what is seen", "subtitle": "of what"}


def values(chart: Any) -> list[dict[str, Any]]:
    """All data that a chart carries."""
    return [value for one in chart.to_dict()["datasets"].values() for value in one]


def layers(chart: Any) -> list[dict[str, Any]]:
    spec = chart.to_dict()
    return spec["layer"] if "layer" in spec else spec["spec"]["layer"]


def test_accuracy_chart_carries_the_numbers_given(results: pd.DataFrame) -> None:
    found = values(charts.accuracy_chart(results, **WORDS))
    mine = results[
        (results.method == "grasp") & (results.ablation == "unmodified") & (results.sparsity == 0.95)
    ].test_accuracy
    (datum,) = {v["mean"]: v for v in found if v.get("line") == "GraSP" and v["sparsity"] == "95 %"}.values()
    assert datum["mean"] == pytest.approx(100 * mine.mean(), abs=1e-3)
    assert datum["low"] == pytest.approx(100 * mine.min(), abs=1e-3)
    assert datum["high"] == pytest.approx(100 * mine.max(), abs=1e-3)
    assert (datum["remaining"], datum["replicates"]) == (pytest.approx(5.0), 5)
    dense = 100 * results[results.method == "dense"].test_accuracy.mean()
    assert [v["dense"] for v in found if "dense" in v] == [pytest.approx(dense, abs=1e-3)]
    assert len({v["line"] for v in found if "line" in v}) == len(METHODS) + len(BENCHMARKS)


def test_weights_remaining_fall_to_the_right_on_a_logarithmic_scale(results: pd.DataFrame) -> None:
    encodings = [layer["encoding"]["x"] for layer in layers(charts.accuracy_chart(results, **WORDS))[:3]]
    for x in encodings:
        assert x["scale"]["type"] == "log"
        assert x["scale"]["domain"][0] > 80 > 2 > x["scale"]["domain"][1]
    below, above = encodings[0]["axis"], encodings[1]["axis"]
    assert (below["title"], above["title"]) == ("weights remaining (%)", "sparsity (%)")
    assert below["values"] == above["values"] == pytest.approx([100 * (1 - s) for s in SPARSITIES])
    assert "'98'" in above["labelExpr"]
    assert "'2'" in below["labelExpr"]


def test_ticks_of_many_sparsities_leave_room_for_their_labels() -> None:
    grid = tuple(1 - 0.8**k for k in range(1, 30))
    chart = charts.accuracy_chart(make_results(sparsities=grid, replicates=1, ablations=("unmodified",)), **WORDS)
    ticks = layers(chart)[0]["encoding"]["x"]["axis"]["values"]
    gaps = [math.log(a / b) for a, b in pairwise(ticks)]
    assert 5 <= len(ticks) <= 11
    assert min(gaps) >= math.log(ticks[0] / ticks[-1]) / 11


def test_panels_are_methods_and_lines_are_ablations(results: pd.DataFrame) -> None:
    chart = charts.ablation_panels(results, **WORDS)
    spec = chart.to_dict()  # pyright: ignore[reportOptionalMemberAccess]
    found = [v for v in values(chart) if "line" in v]
    assert spec["facet"]["sort"] == ["magnitude", "SNIP", "GraSP", "SynFlow"]  # random has no ablation
    assert {v["line"] for v in found} == {"unmodified", "shuffled in each layer", "reinitialised", "inverted"}
    assert len(found) == 4 * 4 * len(SPARSITIES)
    assert {v["panel"] for v in values(chart) if "dense" in v} == set(spec["facet"]["sort"])
    mine = results[(results.method == "snip") & (results.ablation == "invert") & (results.sparsity == 0.8)]
    (datum,) = (v for v in found if (v["panel"], v["line"], v["sparsity"]) == ("SNIP", "inverted", "80 %"))
    assert datum["mean"] == pytest.approx(100 * mine.test_accuracy.mean(), abs=1e-3)


def test_panels_of_benchmarks(results: pd.DataFrame) -> None:
    spec = charts.ablation_panels(results, benchmarks=True, **WORDS).to_dict()  # pyright: ignore
    assert spec["facet"]["sort"] == ["magnitude after training", "lottery ticket rewinding"]


def test_nothing_to_draw_is_none() -> None:
    empty = frame([])
    failed = frame([row(test_accuracy=math.nan, status="failed"), row(method="dense", sparsity=0.0, prune_at="")])
    for table in (empty, failed):
        assert charts.accuracy_chart(table, **WORDS) is None
        assert charts.ablation_panels(table, **WORDS) is None
        assert charts.pruning_step_chart(table, sparsity=0.9, **WORDS) is None
    plain = make_results(ablations=("unmodified",), benchmarks=(), replicates=1)
    assert charts.ablation_panels(plain, **WORDS) is None
    assert charts.ablation_panels(plain, benchmarks=True, **WORDS) is None


def test_one_sparsity_gives_a_column_a_method() -> None:
    chart = charts.accuracy_chart(make_results(sparsities=(0.9,)), **WORDS)
    marks = [layer["mark"]["type"] for layer in layers(chart)]
    assert "line" not in marks
    assert layers(chart)[0]["encoding"]["x"]["field"] == "line"
    assert layers(chart)[0]["encoding"]["x"]["axis"]["title"] == "10 % of the weights remaining"


def test_names_travel_as_data_never_as_expressions() -> None:
    name = "');alert(1);//<b>"
    chart = charts.accuracy_chart(frame([row(method=name), row(method=name, sparsity=0.5)]), **WORDS)
    assert {v["line"] for v in values(chart)} == {name}
    assert name not in layers(chart)[0]["encoding"]["x"]["axis"]["labelExpr"]


def test_step_chart_places_steps_of_one_unit_by_their_count() -> None:
    table = make_results(prune_at=("0ep", "500it", "2000it"), replicates=2, ablations=("unmodified",))
    chart = charts.pruning_step_chart(table, sparsity=0.95, **WORDS)
    x = layers(chart)[0]["encoding"]["x"]
    assert (x["field"], x["axis"]["values"], x["scale"]["constant"]) == ("count", [0, 500, 2000], 500)
    found = [v for v in values(chart) if "line" in v]
    assert {v["sparsity"] for v in found} == {"95 %"}
    level = [v["mean"] for v in found if v["line"] == "lottery ticket rewinding"]
    assert len(level) == 3
    assert len(set(level)) == 1


def test_step_chart_spaces_mixed_units_evenly() -> None:
    table = make_results(prune_at=("0ep", "10ep", "end"), replicates=1, ablations=("unmodified",))
    x = layers(charts.pruning_step_chart(table, sparsity=0.95, **WORDS))[0]["encoding"]["x"]
    assert (x["field"], x["sort"]) == ("step", ["0ep", "10ep", "end"])


def test_one_step_is_no_step_chart(results: pd.DataFrame) -> None:
    assert charts.pruning_step_chart(results, sparsity=0.95, **WORDS) is None


def layer_counts() -> pd.DataFrame:
    rows = [
        {"method": method, "sparsity": s, "replicate": r, "layer": layer, "kept": kept + r, "total": 200}
        for method in ("snip", "mine")
        for s in (0.8, 0.95)
        for r in (0, 1)
        for layer, kept in (("stem.weight", 100), ("fc.weight", 0))
    ]
    return pd.DataFrame(rows)


def test_layer_density_is_a_share_of_the_layer_averaged_over_replicates() -> None:
    chart = charts.layer_density_panels(layer_counts(), **WORDS)
    found = {(v["line"], v["panel"], v["layer"]): v["density"] for v in values(chart)}
    assert len(found) == 2 * 2 * 2
    assert found["SNIP", "sparsity 80 %", "stem"] == pytest.approx(50.25)
    assert found["mine", "sparsity 95 %", "fc"] == pytest.approx(0.25)
    assert layers(chart)[0]["encoding"]["x"]["sort"] == ["stem", "fc"]
    assert charts.layer_density_panels(layer_counts().iloc[:0], **WORDS) is None
