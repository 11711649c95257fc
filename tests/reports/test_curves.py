import math

import pandas as pd
import pytest

from prunemark.reports import curves
from prunemark.stats.effects import Standard
from prunemark.stats.looks import Looks
from prunemark.terms.metrics import METRICS
from tests.reports.conftest import frame, make_results, row


def test_point_is_mean_interval_and_sample_deviation_in_percent() -> None:
    accuracies = (0.90, 0.92, 0.97)
    (point,) = curves.points(frame([row(replicate=i, test_accuracy=a) for i, a in enumerate(accuracies)]))
    assert point.mean == pytest.approx(93.0)
    half = 2.919985580 * math.sqrt(26 / 2 / 3)  # Student's t at 0.95 with two degrees of freedom
    assert (point.low, point.high) == pytest.approx((93.0 - half, 93.0 + half))
    assert point.interval == f"{93 - half:.2f} to {93 + half:.2f}"
    assert point.deviation == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert (point.replicates, point.density) == (3, pytest.approx(0.1))


def test_intervals_have_the_rounding_of_test_images_stay_in_range_and_need_three_replicates() -> None:
    same = frame([row(replicate=i, test_accuracy=0.9) for i in range(3)])
    (point,) = curves.points(same, Standard(margin=0.5, images=100))
    half = 2.919985580 * math.sqrt(1 / 12 / 3)
    assert (point.low, point.high) == pytest.approx((90 - half, 90 + half))
    (point,) = curves.points(frame([row(replicate=i, test_accuracy=a) for i, a in enumerate((0.9, 1.0, 1.0))]))
    assert point.high == 100
    (point,) = curves.points(frame([row(replicate=i, test_accuracy=a) for i, a in enumerate((0.9, 1.0))]))
    assert (point.low, point.high, point.interval) == (point.mean, point.mean, "none below 3 replicates")


def test_scores_by_a_loss_are_negative_and_keep_their_intervals() -> None:
    results = frame([row(replicate=i) for i in range(3)]).assign(metric="loss", metric_value=[0.2, 0.21, 0.19])
    (point,) = curves.points(results, Standard(margin=20.0, metric=METRICS["loss"]))
    assert point.mean == pytest.approx(-200)
    assert point.low < point.mean < point.high < point.mean + 50
    low, high = curves.whole([point])
    assert low < point.low < point.high < high < 0


def test_with_looks_a_point_is_that_of_the_last_look() -> None:
    accuracies = (0.90, 0.92, 0.97, 0.5)
    looks = Looks(min=3, max=5)
    rows = [row(replicate=i, test_accuracy=a) for i, a in enumerate(accuracies)]
    (point,) = curves.points(frame(rows), Standard(margin=0.5, looks=looks))
    assert (point.mean, point.replicates) == (pytest.approx(93), 3)
    (point,) = curves.points(frame(rows[:2]), Standard(margin=0.5, looks=looks))
    assert (point.mean, point.replicates, point.low) == (pytest.approx(91), 2, pytest.approx(91))


def test_failed_runs_are_left_out_and_diverged_ones_count() -> None:
    rows = [
        row(replicate=0, test_accuracy=0.9),
        row(replicate=1, test_accuracy=0.1, status="diverged"),
        row(replicate=2, test_accuracy=math.nan, status="failed"),
        row(replicate=0, method="grasp", test_accuracy=math.nan, status="failed"),
    ]
    (point,) = curves.points(frame(rows))
    assert (point.series, point.mean, point.replicates) == ("snip", pytest.approx(50.0), 2)


def test_two_networks_are_two_charts() -> None:
    with pytest.raises(ValueError, match=r"one study, network and data set, not 2.*resnet-20.*vgg-16"):
        curves.points(frame([row(), row(network="vgg-16")]))


def test_earliest_is_initialisation_however_it_is_written_and_all_benchmarks() -> None:
    rows = [
        row(prune_at="1000it"),
        row(prune_at="0it"),
        row(prune_at="end"),
        row(method="magnitude", benchmark="lottery-rewinding", prune_at="end"),
        row(method="dense", sparsity=0.0, prune_at=""),
    ]
    cells = curves.points(frame(rows))
    assert [(p.series, p.cell.prune_at) for p in curves.earliest(cells)] == [
        ("snip", "0it"),
        ("lottery-rewinding", "end"),
    ]
    assert curves.steps(cells) == ["0it", "1000it", "end"]


def test_replicates_in_words() -> None:
    assert curves.replicate_range(curves.points(make_results(replicates=1))) == "1 replicate"
    assert curves.replicate_range(curves.points(frame([row(), row(method="grasp"), row(replicate=1)]))) == (
        "1 to 2 replicates"
    )


def test_steps_in_words() -> None:
    words = [curves.step_words(step) for step in ("0ep", "1ep", "1000it", "end")]
    assert words == ["at initialisation", "after 1 epoch", "after 1000 iterations", "at the end of training"]


def test_what_collapses_runs_out_of_the_frame_and_nothing_else_does() -> None:
    rows = [row(sparsity=s, test_accuracy=accuracy) for s, accuracy in ((0.5, 0.96), (0.9, 0.90))]
    assert curves.frame(curves.points(frame(rows))) is None
    random = row(method="random", test_accuracy=0.1)
    low, high = curves.frame(curves.points(frame([*rows, random]))) or (0, 0)
    assert 88 < low < 90
    assert 96 < high < 98
    assert curves.frame(curves.points(frame([*rows, row(ablation="invert", test_accuracy=0.1)]))) == (low, high)
    # Another method that collapses is what the chart is about.
    assert curves.frame(curves.points(frame([*rows, random, row(method="grasp", test_accuracy=0.1)]))) is None
    assert curves.frame(curves.points(frame([random]))) is None
    assert curves.frame(curves.points(frame([*rows, row(method="random", test_accuracy=0.88)]))) is None


def test_a_frame_never_holds_the_dense_network_alone() -> None:
    dense = curves.points(frame([row(method="dense", sparsity=0.0, prune_at="", test_accuracy=0.9)]))[0]
    low = curves.points(frame([row(sparsity=s, test_accuracy=0.2) for s in (0.5, 0.9)]))
    assert curves.frame(low, dense, may_leave=curves.below_half(low, dense)) is None
    high = curves.points(frame([row(sparsity=s, test_accuracy=0.8, method="grasp") for s in (0.5, 0.9)]))
    bottom, top = curves.frame([*low, *high], dense, may_leave=curves.below_half([*low, *high], dense)) or (0, 0)
    assert 70 < bottom < 80
    assert 90 < top < 92


def test_scores_by_a_loss_keep_their_intervals_and_their_frame() -> None:
    rows = [
        {"method": method, "sparsity": s, "replicate": r, "metric_value": loss + 0.01 * r, "metric": "loss"}
        for method, s, loss in (("dense", 0.0, 0.1), ("snip", 0.8, 0.3))
        for r in range(3)
    ]
    found = curves.points(pd.DataFrame(rows), Standard(margin=20.0, metric=METRICS["loss"]))
    for point in found:
        assert point.low < point.mean < point.high < 0
        assert point.unit == "thousandths"
    low, high = curves.whole(found)
    assert low < min(point.low for point in found)
    assert max(point.high for point in found) < high
