import pandas as pd
import pytest

from prunemark.reports.layers import kept_layers, repeated
from tests.reports.conftest import layer_rows, make_layers


def test_a_wiring_sums_layers_and_replicates() -> None:
    (one,) = kept_layers(pd.DataFrame(layer_rows()))
    assert dict(one.densities) == {"stem": pytest.approx(50.25), "fc": pytest.approx(0.25)}
    assert dict(one.units) == {0: 24, 10: 4, 60: 2}
    assert one.dead == {0: 80.0, 1: 80.0}
    assert [one.at_most(k) for k in (0, 9, 10, 59, 60, 999)] == pytest.approx([80, 80, 280 / 3, 280 / 3, 100, 100])


def test_other_steps_and_repeated_masks_are_left_out() -> None:
    found = kept_layers(make_layers())
    kinds = {(one.series, one.cell.ablation, one.cell.prune_at) for one in found}
    assert kinds == {
        ("random", "unmodified", "0ep"),
        *((name, ablation, "0ep") for name in ("snip", "mine") for ablation in ("unmodified", "shuffle")),
        *((name, "unmodified", "end") for name in ("magnitude-after-training", "lottery-rewinding")),
    }
    assert repeated(found) == ["lottery-rewinding"]


def test_iterative_pruning_that_keeps_other_weights_is_not_repeated() -> None:
    rows = layer_rows(method="magnitude", benchmark="magnitude-after-training", prune_at="end")
    rows += layer_rows(method="magnitude", benchmark="imp", prune_at="end", units=({0: 3, 10: 1, 60: 1}, {0: 10}))
    assert repeated(kept_layers(pd.DataFrame(rows))) == []


def test_no_units_of_a_unit_that_is_dead_are_none() -> None:
    rows = layer_rows(units=({5: 4}, {1: 10}), replicates=1)
    (one,) = kept_layers(pd.DataFrame(rows))
    assert one.dead == {0: 0.0}
    assert one.at_most(0) == 0


def test_what_lies_on_a_path_is_a_share_of_all_layers_where_paths_were_followed() -> None:
    known = {"effective": 20, "dead_units": 3, "units": 12}
    (one,) = kept_layers(pd.DataFrame([row | known for row in layer_rows(kept=(30, 50), replicates=1)]))
    assert one.on_path == {0: pytest.approx(50)}
    assert one.off_path == {0: pytest.approx(25)}
    rows = [row | known for row in layer_rows(kept=(30, 50), replicates=2)]
    rows[3] |= {"effective": None, "dead_units": None}
    (one,) = kept_layers(pd.DataFrame(rows))
    assert set(one.on_path) == set(one.off_path) == {0}
    (old,) = kept_layers(pd.DataFrame(layer_rows()))
    assert not old.on_path
    assert not old.off_path
