import math
import re
from pathlib import Path

import pandas as pd
import pytest

from prunemark.reports.learning_curves import learning_curve_panels, learning_curves
from prunemark.reports.page import write_report
from prunemark.stats import judge
from tests.reports.conftest import make_results, row
from tests.reports.specs import WORDS

MEASURES = ["train loss", "test loss", "test accuracy (%)"]


def epochs(method: str, *, epochs: int = 3, replicates: int = 2, loss: float = 1.0, **changes: object) -> pd.DataFrame:
    """Losses that halve with each epoch, and are a tenth larger in each replicate; accuracy rises by 0.1."""
    cell = {name: row(method=method)[name] for name in ("study", "network", "dataset", "ablation", "benchmark")}
    cell |= {"method": method, "prune_at": "0ep", "sparsity": 0.9} | changes
    rows = [
        cell
        | {"replicate": r, "epoch": e, "step": 10 * e, "train_loss": loss * (1 + r / 10) / 2**e}
        | {"test_loss": 2 * loss / 2**e, "test_accuracy": e / 10, "job_key": "0" * 64}
        for r in range(replicates)
        for e in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows)


def table() -> pd.DataFrame:
    parts = [
        epochs("dense", sparsity=0.0, prune_at=""),
        epochs("snip"),
        epochs("snip", ablation="shuffle", loss=9.0),
        epochs("snip", sparsity=0.5, loss=7.0),
        epochs("snip", prune_at="10ep", loss=5.0),
        epochs("magnitude", benchmark="lottery-rewinding", prune_at="end"),
    ]
    return pd.concat(parts, ignore_index=True)


def drawn(chart: object) -> list[dict[tuple[str, int], tuple[float, int]]]:
    """Panel by panel: (line, epoch) -> mean, replicates."""
    spec = chart.to_dict()  # pyright: ignore[reportAttributeAccessIssue]
    titles = [panel["layer"][0]["encoding"]["y"]["axis"]["title"] for panel in spec["concat"]]
    assert titles == MEASURES
    data = [spec["datasets"][panel["data"]["name"]] for panel in spec["concat"]]
    return [{(v["line"], v["epoch"]): (v["mean"], v["replicates"]) for v in one} for one in data]


def test_one_line_per_method_at_one_sparsity_over_its_replicates() -> None:
    train, test, accuracy = drawn(learning_curve_panels(learning_curves(table()), sparsity=0.9, **WORDS))
    lines = {"SNIP", "lottery ticket rewinding", "dense network"}
    assert {line for line, _ in train} == {line for line, _ in accuracy} == lines
    assert train["SNIP", 1] == pytest.approx((0.525, 2))
    assert test["SNIP", 3] == pytest.approx((0.25, 2))
    assert accuracy["SNIP", 3] == pytest.approx((30, 2))
    assert ("SNIP", 4) not in train


def test_what_is_missing_is_left_out_and_what_stopped_ends() -> None:
    found = table()
    stopped = (found["method"] == "snip") & (found["replicate"] == 1) & (found["epoch"] > 1)
    found = found[~stopped]
    # Dense training that stopped within an epoch knows no mean over it; a loss may be infinite.
    found.loc[(found["method"] == "dense") & (found["epoch"] == 2), "train_loss"] = float("nan")
    found.loc[(found["method"] == "snip") & (found["epoch"] == 3), "test_loss"] = float("inf")
    train, test, accuracy = drawn(learning_curve_panels(learning_curves(found), sparsity=0.9, **WORDS))
    assert train["SNIP", 2] == pytest.approx((0.25, 1))
    assert ("dense network", 2) not in train
    assert ("dense network", 3) in train
    assert ("SNIP", 3) not in test
    assert ("SNIP", 3) in accuracy


def test_without_a_curve_at_the_sparsity_there_is_no_chart() -> None:
    assert learning_curve_panels(learning_curves(table()), sparsity=0.8, **WORDS) is None
    only_dense = learning_curves(epochs("dense", sparsity=0.0, prune_at=""))
    assert learning_curve_panels(only_dense, sparsity=0.0, **WORDS) is None


def test_a_task_without_accuracy_has_no_panel_of_it() -> None:
    chart = learning_curve_panels(learning_curves(table().assign(test_accuracy=math.nan)), sparsity=0.9, **WORDS)
    assert chart is not None
    titles = [panel["layer"][0]["encoding"]["y"]["axis"]["title"] for panel in chart.to_dict()["concat"]]
    assert titles == MEASURES[:2]


def test_curves_of_accuracy_are_called_so_in_a_study_that_is_judged_by_its_loss(tmp_path: Path) -> None:
    results = make_results().assign(metric="loss", metric_value=lambda t: 1 - t["test_accuracy"])
    out = tmp_path / "report.html"
    write_report(results, judge(results, margin=5.0), study_name="s", facts={}, out=out, epochs=table())
    spec = next(
        one for one in re.findall(r"<script[^>]*json[^>]*>(.*?)</script>", out.read_text(), re.S) if "train loss" in one
    )
    assert MEASURES[2] in spec
    assert "minus test loss" not in spec
