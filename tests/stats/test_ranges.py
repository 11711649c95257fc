from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from prunemark.stats.cells import DENSE as DENSE_CELL
from prunemark.stats.cells import Experiment, benchmark_cell
from prunemark.stats.effects import Standard
from prunemark.stats.ranges import Ranges, ranges, ranges_of
from tests.stats.tables import dense, rows, table, trained

# Against a dense network at 98 %, with a margin of half a point: reaches it, does not, cannot be told.
ACCURACIES = {
    "reaches": [98.0, 98.1, 97.9, 98.0, 98.05],
    "worse": [90.0, 90.1, 89.9, 90.0, 90.05],
    "a little worse": [97.5, 97.55, 97.6, 97.2, 97.65],
    "open": [97.0, 99.0, 98.0, 97.5, 98.4],
}
DENSE = [98.0] * 5


def found(random: Mapping[float, str], trained_: Mapping[float, str], **options: float) -> Ranges:
    parts = [dense(DENSE)]
    parts += [rows("random", ACCURACIES[kind], sparsity=s) for s, kind in random.items()]
    parts += [trained(ACCURACIES[kind], sparsity=s) for s, kind in trained_.items()]
    (result,) = ranges(table(*parts), **options)
    return result


def test_the_three_ranges_follow_each_other() -> None:
    result = found(
        {0.2: "reaches", 0.5: "worse", 0.8: "worse", 0.9: "worse"},
        {0.2: "reaches", 0.5: "reaches", 0.8: "reaches", 0.9: "worse"},
    )
    assert (result.trivial, result.matching, result.extreme, result.undecided) == ((0.2,), (0.5, 0.8), (0.9,), ())
    assert result.highest_matching == 0.8
    assert [result.of(s) for s in (0.2, 0.5, 0.9)] == ["trivial", "matching", "extreme"]


def test_what_cannot_be_told_is_neither_matching_nor_extreme() -> None:
    result = found(
        dict.fromkeys((0.2, 0.5, 0.8, 0.9), "worse"), {0.2: "reaches", 0.5: "open", 0.8: "reaches", 0.9: "worse"}
    )
    assert result.matching == (0.2,)
    assert result.undecided == (0.5, 0.8)
    assert result.extreme == (0.9,)
    assert result.highest_matching == 0.2
    assert result.of(0.5) == "undecided"


def test_matching_needs_random_to_be_shown_worse() -> None:
    result = found({0.2: "open", 0.5: "worse", 0.8: "a little worse"}, dict.fromkeys((0.2, 0.5, 0.8, 0.9), "reaches"))
    # At 20 % it cannot be told, at 90 % random was not run.
    assert (result.matching, result.undecided) == ((0.5, 0.8), (0.2, 0.9))
    assert result.highest_matching == 0.9


def test_extreme_is_scanned_from_the_sparsest_down() -> None:
    # One loss that is "shown" among sparsities at which the mark keeps up is no start of the extreme range.
    result = found({}, {0.2: "worse", 0.5: "reaches", 0.8: "worse", 0.9: "worse"})
    assert result.extreme == (0.8, 0.9)
    # Beyond what the mark was run at there is nothing to scan.
    assert found({0.95: "worse"}, {0.8: "worse", 0.9: "worse"}).extreme == (0.8, 0.9)
    assert found({}, {0.8: "worse", 0.9: "open"}).extreme == ()


def test_trivial_ends_where_random_first_fails_to_reach() -> None:
    result = found({0.2: "reaches", 0.5: "open", 0.8: "reaches"}, dict.fromkeys((0.2, 0.5, 0.8), "reaches"))
    assert (result.trivial, result.matching, result.undecided) == ((0.2,), (), (0.5, 0.8))
    # A sparsity that was not run is not shown.
    assert found({0.5: "reaches"}, {0.2: "reaches"}).trivial == ()


@pytest.mark.parametrize("replicates", [3, 5])
def test_ten_equal_sparsities_are_seldom_called_extreme(replicates: int) -> None:
    """Scanning upwards for the first loss finds one in 16 to 18 % of such studies."""
    random = np.random.default_rng(replicates)
    cells = [DENSE_CELL, *(benchmark_cell("magnitude-after-training", i / 11) for i in range(1, 11))]
    extreme = 0
    for _ in range(200):
        noise = random.normal(98, 0.28, (11, replicates))
        accuracies = {cell: dict(enumerate(values)) for cell, values in zip(cells, noise.tolist(), strict=True)}
        equal = Experiment(study="", network="", dataset="", accuracies=accuracies)
        extreme += bool(ranges_of(equal, Standard(margin=0.5)).extreme)
    assert extreme <= 18


def test_highest_matching_may_lie_in_the_trivial_range() -> None:
    result = found({0.2: "reaches", 0.5: "worse"}, {0.2: "reaches", 0.5: "worse"})
    assert (result.trivial, result.matching, result.highest_matching) == ((0.2,), (), 0.2)


def test_without_the_benchmark_or_the_dense_network_nothing_is_decided() -> None:
    no_benchmark = found({0.2: "worse", 0.5: "worse"}, {})
    assert (no_benchmark.undecided, no_benchmark.highest_matching) == ((0.2, 0.5), None)
    (no_dense,) = ranges(table(trained([98.0, 98.1, 97.9]), rows("random", [98.0, 98.1, 97.9])))
    assert no_dense.undecided == (0.9,)


def test_two_replicates_decide_nothing() -> None:
    (result,) = ranges(table(dense([98.0, 98.0]), trained([98.0, 98.0])))
    assert result.undecided == (0.9,)


def test_the_margin_moves_the_ranges() -> None:
    assert found({0.9: "a little worse"}, {0.9: "worse"}, margin=10.0).trivial == (0.9,)
    assert found({0.9: "a little worse"}, {0.9: "reaches"}, margin=0.2).matching == (0.9,)
    with pytest.raises(ValueError, match="margin"):
        found({}, {0.9: "worse"}, margin=-1.0)


def test_random_pruned_later_does_not_make_a_sparsity_trivial() -> None:
    results = table(dense(DENSE), rows("random", ACCURACIES["reaches"], prune_at="10ep"))
    assert ranges(results)[0].trivial == ()


def test_one_record_an_experiment(study: pd.DataFrame) -> None:
    both = pd.concat([study, study.assign(network="vgg-16")])
    assert [x.network for x in ranges(both)] == ["resnet-8", "vgg-16"]
    frame = Ranges.frame(ranges(both))
    assert list(frame["highest_matching"]) == [0.9, 0.9]
    assert ranges(study)[0].to_dict()["trivial"] == [0.5]


def test_the_ranges_do_not_overlap() -> None:
    result = found({0.2: "reaches", 0.5: "worse"}, {0.2: "worse", 0.5: "worse"})
    assert (result.trivial, result.matching, result.extreme, result.undecided) == ((0.2,), (), (0.5,), ())
    assert result.highest_matching is None


@pytest.mark.parametrize("accuracies", [[98.3, 98.8, 98.0, 98.4, 98.6], [99.0, 99.1, 98.9, 99.05, 99.0]])
def test_better_than_dense_reaches_too(accuracies: list[float]) -> None:
    (result,) = ranges(table(dense(DENSE), rows("random", ACCURACIES["worse"]), trained(accuracies)))
    assert result.matching == (0.9,)
