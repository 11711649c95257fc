import math
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from prunemark.reports import charts, theme
from prunemark.reports.families import families
from prunemark.stats import Ranges, judge, ranges
from tests.reports.conftest import BENCHMARKS, METHODS, SPARSITIES, frame, make_results, row
from tests.reports.specs import WORDS, horizontal, layers, values


def ranges_with(**sparsities: tuple[float, ...]) -> Ranges:
    kinds = {"trivial": (), "matching": (), "extreme": (), "undecided": ()} | sparsities
    return Ranges(study="s", network="n", dataset="d", margin=0.5, highest_matching=None, **kinds)  # pyright: ignore


def bands(chart: Any) -> list[tuple[float, float]]:
    return [(v["from"], v["to"]) for v in values(chart) if "from" in v]


def test_accuracy_chart_carries_the_numbers_given(results: pd.DataFrame) -> None:
    found = values(charts.accuracy_chart(results, **WORDS))
    mine = results[
        (results.method == "grasp") & (results.ablation == "unmodified") & (results.sparsity == 0.95)
    ].test_accuracy
    (datum,) = {v["mean"]: v for v in found if v.get("line") == "GraSP" and v.get("sparsity") == "95 %"}.values()
    assert datum["mean"] == pytest.approx(100 * mine.mean(), abs=1e-3)
    half = 2.131846786 * 100 * mine.std() / math.sqrt(5)  # Student's t at 0.95 with four degrees of freedom
    assert datum["low"] == pytest.approx(100 * mine.mean() - half, abs=1e-3)
    assert datum["high"] == pytest.approx(100 * mine.mean() + half, abs=1e-3)
    assert (datum["remaining"], datum["replicates"]) == (pytest.approx(5.0), 5)
    dense = 100 * results[results.method == "dense"].test_accuracy.mean()
    assert [v["dense"] for v in found if "dense" in v] == [pytest.approx(dense, abs=1e-3)]
    assert len({v["line"] for v in found if "line" in v}) == len(METHODS) + len(BENCHMARKS)


def test_weights_remaining_fall_to_the_right_on_a_logarithmic_scale(results: pd.DataFrame) -> None:
    encodings = [layer["encoding"]["x"] for layer in layers(charts.accuracy_chart(results, **WORDS))[:3]]
    assert [x["field"] for x in encodings] == ["remaining"] * 3
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


def test_the_band_reaches_half_way_to_the_neighbours(results: pd.DataFrame) -> None:
    found = ranges_with(trivial=(0.2,), matching=(0.512, 0.8), extreme=(0.9, 0.95), undecided=(0.98,))
    ((start, end),) = bands(charts.accuracy_chart(results, ranges=found, **WORDS))
    assert start == pytest.approx(math.sqrt(80 * 48.8))
    assert end == pytest.approx(math.sqrt(20 * 10))


def test_the_band_ends_with_the_axis(results: pd.DataFrame) -> None:
    chart = charts.accuracy_chart(results, ranges=ranges_with(matching=SPARSITIES), **WORDS)
    (band,) = bands(chart)
    first, *_ = horizontal(chart, "from")
    assert list(band) == pytest.approx(first["scale"]["domain"])
    assert first["axis"] is None


def test_no_matching_sparsity_no_band(results: pd.DataFrame) -> None:
    for found in (None, ranges_with(extreme=SPARSITIES), ranges_with(undecided=SPARSITIES)):
        assert bands(charts.accuracy_chart(results, ranges=found, **WORDS)) == []
    one = charts.accuracy_chart(make_results(sparsities=(0.9,)), ranges=ranges_with(matching=(0.9,)), **WORDS)
    assert bands(one) == []


def test_every_panel_has_the_band(results: pd.DataFrame) -> None:
    (found,) = ranges(results)
    assert found.matching
    chart = charts.ablation_panels(results, ranges=found, **WORDS)
    assert {v["panel"] for v in values(chart) if "from" in v} == {"magnitude", "SNIP", "GraSP", "SynFlow"}
    assert len(set(bands(chart))) == 1


def test_the_name_of_the_dense_rule_stands_outside_the_plot(results: pd.DataFrame) -> None:
    chart = charts.accuracy_chart(results, **WORDS)
    (name,) = (layer for layer in layers(chart) if layer["encoding"].get("text", {}).get("field") == "text")
    assert name["encoding"]["y"] == {"value": 0}
    (above,) = (x["axis"] for x in horizontal(chart, "remaining") if x["axis"] and "offset" in x["axis"])
    assert above["orient"] == "top"
    assert above["offset"] > name["mark"]["fontSize"] - name["mark"]["dy"]


def test_rewinding_to_further_steps_is_left_to_the_chart_of_steps() -> None:
    names = ("imp", "imp-rewinding", "imp-rewinding:0ep", "lottery-rewinding", "lottery-rewinding:2ep")
    table = make_results(benchmarks=names, methods=("snip",), replicates=1)
    shown = {v["line"] for v in values(charts.accuracy_chart(table, **WORDS)) if "line" in v}
    assert shown == {
        *("SNIP", "lottery ticket rewinding", "iterative magnitude pruning", "iterative, with rewinding"),
    }
    panels = {v["panel"] for v in values(charts.ablation_panels(table, benchmarks=True, **WORDS)) if "line" in v}
    assert panels == shown - {"SNIP"}


def test_rewinding_to_one_step_only_is_shown_with_it() -> None:
    table = make_results(benchmarks=("lottery-rewinding:2ep",), methods=("snip",), replicates=1)
    shown = {v["line"] for v in values(charts.accuracy_chart(table, **WORDS)) if "line" in v}
    assert shown == {"SNIP", "lottery ticket rewinding (2ep)"}


def test_lines_below_the_frame_are_named_in_their_panel() -> None:
    accuracies = {"unmodified": 0.95, "shuffle": 0.94, "invert": 0.1}
    rows = [
        row(method=method, sparsity=s, ablation=ablation, test_accuracy=accuracy)
        for method in ("snip", "synflow")
        for s in (0.5, 0.9)
        for ablation, accuracy in accuracies.items()
        if (method, ablation) != ("snip", "invert") or s == 0.9
    ]
    rows.append(row(method="snip", sparsity=0.5, ablation="invert", test_accuracy=0.94))
    chart = charts.ablation_panels(frame(rows), **WORDS)
    assert {v["panel"]: v["below"] for v in values(chart) if "below" in v} == {
        "SynFlow": "below: inverted, at most 10 %"
    }
    assert layers(chart)[-1]["encoding"]["text"]["field"] == "below"


def test_variants_are_lines_and_families_are_panels() -> None:
    odd = "snip, 1 <b>per</b> class's %"
    table = make_results(
        methods=("random", "snip", odd, "grasp:reversed", "graspabs", "synflow"),
        prune_at=("0ep", "5ep"),
        sparsities=(0.5, 0.9),
        replicates=3,
    )
    kin = families(table.method.unique(), {odd: "snip"})
    chart = charts.variant_panels(table, families=kin, **WORDS)
    panels = chart.to_dict()["concat"]
    assert [panel["title"]["text"] for panel in panels] == ["SNIP", "GraSP"]
    found = [v for v in values(chart) if "line" in v]
    assert {(v["panel"], v["line"]) for v in found} == {
        ("SNIP", theme.ITSELF), ("SNIP", "1 <b>per</b> class's %"), ("GraSP", "reversed"), ("GraSP", "graspabs"),
    }  # fmt: skip
    assert len(found) == 4 * 2
    mine = table.query("method == 'graspabs' and sparsity == 0.9 and prune_at == '0ep' and ablation == 'unmodified'")
    (datum,) = (v for v in found if (v["line"], v["sparsity"]) == ("graspabs", "90 %"))
    assert datum["mean"] == pytest.approx(100 * mine.test_accuracy.mean(), abs=1e-3)
    assert sum("dense" in v for v in values(chart)) == 2
    assert charts.variant_panels(table, families={}, **WORDS) is None


def test_a_variant_that_failed_leaves_the_others() -> None:
    rows = [row(sparsity=s) for s in (0.5, 0.9)]
    rows += [row(method="snip:official", sparsity=s, status="failed", test_accuracy=math.nan) for s in (0.5, 0.9)]
    chart = charts.variant_panels(frame(rows), families={"snip": ["snip", "snip:official"]}, **WORDS)
    assert {v["line"] for v in values(chart)} == {theme.ITSELF}


def test_a_variant_that_collapses_leaves_the_frame_of_its_panel_only() -> None:
    accuracies = {"snip": 0.97, "snip:official": 0.9, "synflow": 0.97, "synflow, 1 round": 0.1}
    rows = [row(method=m, sparsity=s, test_accuracy=a) for m, a in accuracies.items() for s in (0.5, 0.9)]
    kin = {"snip": ["snip", "snip:official"], "synflow": ["synflow", "synflow, 1 round"]}
    snip, synflow = charts.variant_panels(frame(rows), families=kin, **WORDS).to_dict()["concat"]
    domains = [
        {
            tuple(layer["encoding"]["y"]["scale"].get("domain", ()))
            for layer in panel["layer"]
            if "y2" in layer["encoding"]
        }
        for panel in (snip, synflow)
    ]
    assert domains[0] == {()}
    ((low, high),) = domains[1]
    assert 10 < low < 97 < high


@pytest.mark.parametrize("dense", [0.51, None])
def test_variants_of_a_hard_data_set_stay_in_their_frame(dense: float | None) -> None:
    accuracies = {"snip": 0.49, "snip:official": 0.47}
    rows = [row(method=m, sparsity=s, test_accuracy=a - s / 20) for m, a in accuracies.items() for s in (0.2, 0.5, 0.9)]
    rows += [row(method="dense", sparsity=0.0, prune_at="", test_accuracy=dense)] if dense else []
    chart = charts.variant_panels(frame(rows), families={"snip": list(accuracies)}, **WORDS)
    (panel,) = chart.to_dict()["concat"]  # pyright: ignore[reportOptionalMemberAccess]
    scales = [layer["encoding"]["y"]["scale"] for layer in panel["layer"] if "y2" in layer["encoding"]]
    assert scales
    assert all("domain" not in scale for scale in scales)


def test_the_frame_is_on_every_layer_and_clips_what_leaves_it() -> None:
    rows = [row(sparsity=s, test_accuracy=0.95) for s in (0.5, 0.9)]
    rows += [row(sparsity=s, method="random", test_accuracy=a) for s, a in ((0.5, 0.95), (0.9, 0.1))]
    chart = charts.accuracy_chart(frame([*rows, row(method="dense", sparsity=0.0, prune_at="")]), **WORDS)
    drawn = [layer for layer in layers(chart) if layer["encoding"].get("y", {}).get("scale")]
    domains = {tuple(layer["encoding"]["y"]["scale"]["domain"]) for layer in drawn}
    assert len(domains) == 1
    assert all(layer["mark"].get("clip") for layer in drawn if layer["mark"]["type"] != "rule")
    assert min(v["mean"] for v in values(chart) if "mean" in v) == 10, "the data are whole all the same"


def test_differences_are_those_of_the_verdicts_with_the_margin_as_a_band(results: pd.DataFrame) -> None:
    (subject,) = judge(results).subjects
    chart = charts.difference_chart(subject.cells, **WORDS)
    found = {(v["line"], v["sparsity"]): v for v in values(chart) if "mean" in v}
    compared = [one for one in subject.cells if one.claim == "C2" and one.effect]
    assert len(found) == len(compared) == 4 * len(SPARSITIES)
    one = next(f for f in compared if (f.subject, f.sparsities) == ("grasp", (0.95,)))
    assert one.effect is not None
    datum = found["GraSP", "95 %"]
    assert (datum["mean"], datum["low"]) == pytest.approx((one.effect.difference, one.effect.low), abs=1e-3)
    assert [(v["from"], v["to"]) for v in values(chart) if "margin" in v] == [(-0.5, 0.5)]
    scale = next(layer["encoding"]["y"]["scale"] for layer in layers(chart) if layer["encoding"]["y"].get("scale"))
    assert (scale["type"], scale["constant"]) == ("symlog", 0.5)
    assert scale["domain"][0] < min(v["low"] for v in found.values()) < 0.5 < scale["domain"][1]
    assert charts.difference_chart([f for f in subject.cells if f.claim != "C2"], **WORDS) is None


def test_lines_are_named_at_their_ends_or_else_in_a_legend() -> None:
    def chart(*accuracies: float) -> Any:
        rows = [row(method=f"m{i}", sparsity=s, test_accuracy=a) for i, a in enumerate(accuracies) for s in (0.5, 0.9)]
        return charts.accuracy_chart(frame(rows), **WORDS)

    apart = chart(0.95, 0.9, 0.85)
    assert [v["name"] for v in values(apart) if "name" in v] == ["m0", "m1", "m2"]
    assert apart.to_dict()["usermeta"]["legend"]["title"] == "pruned by"
    assert not any(layer["encoding"].get("color", {}).get("legend") for layer in layers(apart))
    together = chart(*(0.9 + i / 1e4 for i in range(8)), 0.5)
    assert not any("name" in v for v in values(together))
    assert "usermeta" not in together.to_dict()
    assert any(layer["encoding"].get("color", {}).get("legend") for layer in layers(together))
