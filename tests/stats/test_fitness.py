import math

import pandas as pd
import pytest

from prunemark.stats import judge
from prunemark.stats.fitness import DenseRun, Fitness, last_gain
from tests.stats.tables import dense, rows, table, trained

RISING = [20.0, 40.0, 60.0, 75.0, 85.0]
FLAT = [60.0, 80.0, 90.0, 95.0, 97.0, 97.5, 97.9, 98.0, 98.1, 98.0]


def of(results: pd.DataFrame, *runs: DenseRun, **options: float) -> Fitness:
    (subject,) = judge(results, runs=runs, **options).subjects  # pyright: ignore[reportArgumentType]
    return subject.fitness


@pytest.mark.parametrize(
    ("curve", "gain"), [(RISING, 10.0), (FLAT, 0.1), ([1.0, 2.0], 1.0), ([90.0, 80.0], -10.0), ([3.0], math.nan)]
)
def test_what_the_last_fifth_gained(curve: list[float], gain: float) -> None:
    assert last_gain(curve) == pytest.approx(gain, nan_ok=True)


def test_a_fit_study_is_judged(study: pd.DataFrame) -> None:
    run = DenseRun(replicate=0, gain=last_gain(FLAT), overlaps={0.9: 0.3, 0.99: 0.2})
    found = of(study, run)
    assert (found.levelled, found.trained, found.stands_out, found.fit) == (True, True, True, True)
    assert found.sentence == ""
    assert [f.range for f in found.above_random] == ["matching", "extreme"]


def test_what_is_not_known_speaks_against_nothing(study: pd.DataFrame) -> None:
    found = of(study)
    assert (found.levelled, found.trained, found.fit) == (None, None, True)


def test_training_that_still_rises(study: pd.DataFrame) -> None:
    found = of(study, DenseRun(replicate=0, gain=last_gain(RISING)), DenseRun(replicate=1, gain=last_gain(FLAT)))
    assert (found.levelled, found.fit) == (False, False)
    assert found.gain == pytest.approx(5.05)
    assert found.sentence == (
        "This study cannot test the paper's claims: dense training had not levelled off (accuracy rose by +5.05 points "
        "in the last fifth). What would help: more epochs."
    )


def test_masks_that_are_those_of_the_initialisation(study: pd.DataFrame) -> None:
    found = of(study, DenseRun(replicate=0, overlaps={0.95: 0.7, 0.98: 0.78}))
    assert (found.trained, found.fit) == (False, False)
    assert "78 % of the 98 % sparse magnitude mask is that of the initial weights; chance is 2 %" in found.sentence
    assert "a stronger weight decay" in found.sentence
    # Half way from chance to the same mask: at 50 % sparsity that is 75 %.
    assert of(study, DenseRun(replicate=0, overlaps={0.5: 0.74})).trained is True
    assert of(study, DenseRun(replicate=0, overlaps={0.5: 0.76})).trained is False


def test_an_unfit_study_gives_numbers_but_no_verdict(study: pd.DataFrame) -> None:
    runs = [DenseRun(replicate=0, gain=last_gain(RISING))]
    judged = judge(study, runs={"digits": runs})
    frame = judged.claims
    assert set(frame["state"]) == {"untested"}
    assert frame[frame["claim"] == "C3"]["difference"].notna().all()
    assert judged.headline.startswith("This study cannot test the paper's claims: dense training")
    assert judged.subjects[0].questions == ()


class TestTheMark:
    RANDOM = (90.0, 90.1, 89.9, 90.05, 89.95)

    def test_below_random_pruning(self) -> None:
        results = table(rows("random", self.RANDOM), rows("snip", self.RANDOM), trained([60.0, 61.0, 59.0, 60.5, 59.5]))
        found = of(results)
        assert (found.stands_out, found.fit) == (False, False)
        assert "magnitude pruning after training does not stand above random pruning: -30.00 [" in found.sentence

    def test_no_better_than_random_pruning(self) -> None:
        results = table(rows("random", self.RANDOM), rows("snip", self.RANDOM), trained([90.1, 89.9, 90.0, 90.1, 90.0]))
        assert of(results).stands_out is False

    def test_open(self) -> None:
        results = table(rows("random", self.RANDOM), rows("snip", self.RANDOM), trained([88.0, 95.0, 92.0, 89.0, 93.0]))
        found = of(results)
        assert (found.stands_out, found.fit) == (None, True)

    def test_both_at_chance(self) -> None:
        low = [10.0, 10.4, 9.6, 10.0, 10.2]
        results = table(dense([98.0] * 5), rows("random", low), rows("snip", low[::-1]), trained(low[1:] + low[:1]))
        found = of(results, chance=10.0)
        assert found.stands_out is False
        assert "does not stand above random pruning: both are at chance" in found.sentence

    def test_without_random_pruning_it_is_not_known(self) -> None:
        found = of(table(rows("snip", self.RANDOM), trained([95.0, 95.1, 94.9, 95.0, 95.0])))
        assert (found.stands_out, found.fit) == (None, True)
