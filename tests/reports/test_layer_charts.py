import pandas as pd
import pytest

from prunemark.reports.layer_charts import (
    dead_unit_panels,
    kept_inputs_panels,
    layer_density_panels,
    on_path_panels,
    shown_sparsity,
)
from prunemark.reports.layers import kept_layers
from prunemark.stats import ranges
from tests.reports.conftest import layer_rows, make_layers, make_results
from tests.reports.specs import WORDS, layers, values
from tests.reports.test_charts import ranges_with


def test_density_is_a_share_of_the_layer_averaged_over_replicates() -> None:
    chart = layer_density_panels(kept_layers(make_layers()), **WORDS)
    found = {(v["line"], v["panel"], v["layer"]): v["density"] for v in values(chart)}
    assert len(found) == 5 * 2 * 2
    assert found["SNIP", "sparsity 80 %", "stem"] == pytest.approx(50.25)
    assert found["mine", "sparsity 95 %", "fc"] == pytest.approx(0.25)
    assert found["magnitude after training", "sparsity 95 %", "fc"] == pytest.approx(30.25)
    assert layers(chart)[0]["encoding"]["y"]["sort"] == ["stem", "fc"]
    assert layers(chart)[0]["encoding"]["x"]["field"] == "density"
    assert layer_density_panels([], **WORDS) is None


def test_kept_inputs_are_cumulated_from_the_dead_units_to_all() -> None:
    chart = kept_inputs_panels(kept_layers(make_layers()), sparsity=0.95, **WORDS)
    found = {(v["panel"], v["line"], v["inputs"]): v["share"] for v in values(chart)}
    assert {panel for panel, _, _ in found} == {
        *("random", "SNIP", "mine", "magnitude after training", "lottery ticket rewinding"),
    }
    snip = [found["SNIP", "unmodified", k] for k in (0, 9, 10, 60)]
    assert snip == pytest.approx([80, 80, 280 / 3, 100], abs=1e-3)
    shuffled = [found["SNIP", "shuffled in each layer", k] for k in (0, 1, 16, 60)]
    assert shuffled == pytest.approx([100 / 15, 1100 / 15, 1100 / 15, 100], abs=1e-3)
    assert ("random", "shuffled in each layer", 0) not in found
    x = layers(chart)[0]["encoding"]["x"]
    assert (x["scale"]["type"], x["scale"]["constant"], x["scale"]["domain"]) == ("symlog", 1, [0, 60])
    assert x["axis"]["values"] == [0, 1, 3, 10, 30]
    assert kept_inputs_panels(kept_layers(make_layers()), sparsity=0.5, **WORDS) is None


def test_units_of_many_inputs_are_few_points_that_end_at_all() -> None:
    one = kept_layers(pd.DataFrame(layer_rows(units=({0: 1, 4608: 1}, dict.fromkeys(range(1000), 1)))))
    drawn = values(kept_inputs_panels(one, sparsity=0.9, **WORDS))
    inputs = [v["inputs"] for v in drawn]
    assert inputs == sorted(set(inputs))
    assert inputs[:17] == list(range(17))
    assert len(inputs) < 80
    assert (inputs[-1], drawn[-1]["share"]) == (4608, 100)


def test_where_every_unit_is_dead_there_is_still_a_chart() -> None:
    one = kept_layers(pd.DataFrame(layer_rows(units=({0: 5}, {0: 5}))))
    assert [(v["inputs"], v["share"]) for v in values(kept_inputs_panels(one, sparsity=0.9, **WORDS))] == [(0, 100)]


def test_dead_units_are_counted_replicate_by_replicate() -> None:
    rows = layer_rows(sparsity=0.9, replicates=1) + layer_rows(sparsity=0.8, replicates=1)
    more = layer_rows(sparsity=0.9, replicates=2, units=({0: 5}, {0: 10}))
    rows += [one for one in more if one["replicate"] == 1]
    table = pd.DataFrame(rows)
    chart = dead_unit_panels(kept_layers(table), ranges=ranges_with(matching=(0.8,), extreme=(0.9,)), **WORDS)
    (datum,) = (v for v in values(chart) if v.get("sparsity") == "90 %")
    assert (datum["mean"], datum["low"], datum["high"], datum["replicates"]) == (90, 90, 90, 2)
    assert datum["remaining"] == pytest.approx(10)
    assert [v["panel"] for v in values(chart) if "from" in v] == ["unmodified"]


def test_dead_units_have_a_panel_a_mask() -> None:
    chart = dead_unit_panels(kept_layers(make_layers()), **WORDS)
    assert {v["panel"] for v in values(chart)} == {"unmodified", "shuffled in each layer"}
    assert dead_unit_panels(kept_layers(make_layers(sparsities=(0.9,))), **WORDS) is None


def test_paths_have_panels_where_they_were_followed() -> None:
    rows = [
        one | {"effective": on, "dead_units": off, "units": 8}
        for s, on, off in ((0.8, 40, 2), (0.95, 20, 6))
        for one in layer_rows(sparsity=s, kept=(50, 50), replicates=1)
    ]
    cells = kept_layers(pd.DataFrame(rows))
    found = {v["sparsity"]: v["mean"] for v in values(on_path_panels(cells, **WORDS))}
    assert found == {"80 %": pytest.approx(80), "95 %": pytest.approx(40)}
    dead = dead_unit_panels(cells, **WORDS)
    assert {v["sparsity"]: v["mean"] for v in values(dead)} == {"80 %": pytest.approx(25), "95 %": pytest.approx(75)}
    titles = {layer["encoding"]["y"]["title"] for layer in layers(dead) if "title" in layer["encoding"].get("y", {})}
    assert titles == {"units on no path (%)"}
    assert on_path_panels(kept_layers(make_layers()), **WORDS) is None


def test_kept_inputs_are_shown_at_the_highest_matching_sparsity_or_else_the_highest() -> None:
    cells = kept_layers(make_layers())
    assert [shown_sparsity(cells, highest) for highest in (0.8, 0.7, None)] == [0.8, 0.95, 0.95]


def test_layers_and_results_agree_on_what_one_sparsity_is() -> None:
    # As a study writes its grid: with more digits than cells tell apart.
    grid = tuple(round(1 - 0.8**k, 12) for k in (2, 11, 17))
    rows = [one for sparsity in grid for one in layer_rows(sparsity=sparsity, replicates=1)]
    (found,) = ranges(make_results(sparsities=grid))
    cells = kept_layers(pd.DataFrame(rows))
    assert {one.cell.sparsity for one in cells} == {*found.trivial, *found.matching, *found.extreme, *found.undecided}
    assert found.highest_matching == shown_sparsity(cells, found.highest_matching)
