"""Verdicts by other metrics than accuracy: direction, unit, and what a table has to say."""

import math

import pandas as pd
import pytest

from prunemark.stats import judge


def table(values: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    mark = {"benchmark": "magnitude-after-training", "prune_at": "end"}
    rows = [
        {"method": method, "ablation": "unmodified", "sparsity": 0.5, "replicate": i, "metric_value": value, **columns}
        | (mark if method == "magnitude" else {"benchmark": "", "prune_at": "0ep"})
        for method, of_method in values.items()
        for i, value in enumerate(of_method)
    ]
    return pd.DataFrame(rows)


WORSE = {
    "magnitude": [0.20, 0.21, 0.19, 0.20],
    "snip": [0.30, 0.32, 0.29, 0.31],
    "random": [0.50, 0.52, 0.49, 0.50],
}


def claim(judged, name, subject):
    claims = judged.claims
    return claims[(claims["claim"] == name) & (claims["subject"] == subject)].iloc[0]


def test_a_loss_that_is_higher_is_worse():
    judged = judge(table(WORSE, metric="loss", margin=20.0))
    beats, misses = claim(judged, "C1", "snip"), claim(judged, "C2", "snip")
    assert beats["difference"] == pytest.approx(197.5)
    assert misses["difference"] == pytest.approx(-105)
    assert judged.subjects[0].standard.metric.unit == "thousandths"
    assert "minus the test loss, in thousandths" in judged.subjects[0].answer()
    assert "accuracy" not in judged.subjects[0].answer()


def test_a_metric_of_ones_own_goes_by_its_direction():
    own = {"metric": "mine.py:error", "metric_unit": "dB", "margin": 0.01}
    up = claim(judge(table(WORSE, metric_direction="higher", **own)), "C1", "snip")
    down = claim(judge(table(WORSE, metric_direction="lower", **own)), "C1", "snip")
    assert up["difference"] == pytest.approx(-0.1975)
    assert down["difference"] == pytest.approx(0.1975)


def test_accuracy_as_a_metric_is_accuracy():
    plain = table(WORSE).rename(columns={"metric_value": "test_accuracy"})
    named = plain.assign(metric="accuracy", metric_value=plain["test_accuracy"])
    assert judge(plain, margin=0.5).claims.equals(judge(named, margin=0.5).claims)
    assert judge(table(WORSE, metric="accuracy"), margin=0.5).claims.equals(judge(plain, margin=0.5).claims)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"metric": "mine.py:error"}, "metric_direction '' of the metric mine.py:error is not higher or lower"),
        ({"metric": "loss", "metric_value": float("nan"), "status": "done"}, "metric_value nan of a run that is done"),
        ({"metric": "loss", "metric_direction": "higher"}, "metric_direction says higher, and of loss lower is better"),
    ],
)
def test_a_table_that_does_not_say_enough_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        judge(table(WORSE).assign(**columns), margin=0.5)


def test_what_accuracy_gained_at_last_is_no_gain_by_another_metric():
    whole = table({"dense": [0.2, 0.2, 0.2]} | WORSE).assign(last_gain=0.03, margin=0.5)
    is_dense = whole["method"] == "dense"
    whole.loc[is_dense, ["sparsity", "prune_at"]] = [0.0, ""]
    own = judge(whole.assign(metric="mine.py:dice", metric_direction="higher", metric_unit="dice")).subjects[0]
    assert math.isnan(own.fitness.gain)
    assert own.fitness.levelled is None
    plain = judge(whole.rename(columns={"metric_value": "test_accuracy"})).subjects[0]
    assert plain.fitness.levelled is False


@pytest.mark.parametrize("ended", [math.nan, math.inf])
def test_a_run_that_diverged_without_a_number_leaves_no_verdict(ended):
    lost = {"snip": [0.20, 0.21, 0.19, ended, ended, ended], "random": [0.5, 0.52, 0.49, 0.5, 0.5, ended]}
    whole = table({"magnitude": [0.20, 0.21, 0.19, 0.20, 0.20, 0.21]} | lost, metric="loss", margin=20.0)
    whole["status"] = ["done" if math.isfinite(value) else "diverged" for value in whole["metric_value"]]
    judged = judge(whole)
    for name in ("C1", "C2"):
        found = claim(judged, name, "snip")
        assert (found["state"], math.isnan(found["difference"])) == ("open", True)
    assert "without a number" in judged.subjects[0].answer()
    failed = judge(whole.assign(status=whole["status"].replace("diverged", "failed")))
    assert claim(failed, "C2", "snip")["replicates"] == 3


def test_a_table_that_names_its_metric_in_some_rows_only_is_not_judged_by_two():
    mixed = table(WORSE, metric="loss").assign(test_accuracy=lambda t: 1 - t["metric_value"])
    mixed.loc[mixed["method"] == "snip", "metric"] = None
    with pytest.raises(ValueError, match="column metric is empty in some rows"):
        judge(mixed, margin=20.0)


def test_a_metric_without_its_column_of_values_is_said_to_lack_it():
    plain = table(WORSE, metric="loss").rename(columns={"metric_value": "test_accuracy"})
    with pytest.raises(ValueError, match="missing columns: metric_value"):
        judge(plain, margin=20.0)
