import math
from dataclasses import fields

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunemark.stats.effects import Effect, Standard, measure
from prunemark.stats.looks import levels
from prunemark.terms.looks import Looks

PLAIN = Standard(margin=0.5)
NAN = math.nan


def of(values: list[float], standard: Standard = PLAIN, **options: float) -> Effect:
    return measure(dict(enumerate(values)), standard, **options)  # pyright: ignore[reportArgumentType]


def test_the_interval_is_that_of_scipy() -> None:
    values = [0.3, -0.2, 0.5, 0.1, 0.0, -0.4]
    found = of(values)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.90)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (found.replicates, found.dropped, found.later, found.level, found.look) == (6, 0, 0, 0.05, None)


def test_fewer_than_three_have_no_interval() -> None:
    for values in ([], [1.0], [1.0, 1.1]):
        found = of(values)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert found.state("beats", margin=0.5) == "open"
        assert math.isnan(found.contradiction_p("beats", margin=0.5))
    assert math.isnan(of([]).difference)
    assert of([1.0, 1.5]).difference == 1.25


def test_failed_replicates_are_counted_and_left_out() -> None:
    found = of([0.1, NAN, 0.2, 0.3, NAN], absent=2)
    assert (found.replicates, found.dropped) == (3, 4)
    assert found.difference == pytest.approx(0.2)


class TestRounding:
    def test_equal_differences_are_no_certainty_where_images_are_few(self) -> None:
        # Three differences of one image in 500: variance at least 2 (100 / 500)^2 / 12 = 0.2^2 / 6.
        found = of([0.2, 0.2, 0.2], Standard(margin=0.5, images=500))
        half = scipy_stats.t.ppf(0.95, 2) * math.sqrt(0.2**2 / 6 / 3)
        assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half))
        assert of([0.2, 0.2, 0.2]).low == of([0.2, 0.2, 0.2]).high == 0.2

    def test_it_is_a_floor_and_no_addition(self) -> None:
        values = [0.2, -0.4, 0.6, 0.0]
        assert of(values, Standard(margin=0.5, images=500)).low == of(values).low

    def test_a_mean_over_more_cells_is_rounded_less(self) -> None:
        three = of([0.2] * 3, Standard(margin=0.5, images=500), squared_weights=2 / 3)
        one = of([0.2] * 3, Standard(margin=0.5, images=500))
        assert three.standard_error == pytest.approx(one.standard_error / math.sqrt(3))

    def test_images_must_be_some(self) -> None:
        with pytest.raises(ValueError, match="images must be at least 1, not 0"):
            Standard(margin=0.5, images=0)


class TestOutliers:
    def test_both_with_and_without_it(self) -> None:
        found = of([0.1, 0.2, -20.0, 0.0, 0.1, 0.15])
        assert found.outlier == 2
        assert found.difference == pytest.approx(-3.241667, abs=1e-6)
        without = of([0.1, 0.2, 0.0, 0.1, 0.15])
        assert (found.difference_without, found.low_without, found.high_without) == pytest.approx(
            (without.difference, without.low, without.high)
        )

    def test_keeps_needs_five_replicates_where_one_is_far_off(self) -> None:
        few, more = [0.0, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 0.8, 0.0]
        assert (of(few).outlier, of(few).low > -0.5) == (3, True)
        assert of(few).state("keeps", margin=0.5) == "open"
        # The other predicates do not wait.
        assert of(few).state("hurts", margin=0.5) == "contradicted"
        assert of(more).outlier == 3
        assert of(more).state("keeps", margin=0.5) == "supported"

    def test_five_deviations_are_not_passed(self) -> None:
        assert of([0.0, 0.1, -0.1, 0.5, -0.1]).outlier is None
        assert of([0.0, 0.1, -0.1, 0.51, -0.1]).outlier == 3

    def test_what_is_within_the_margin_is_not_far_off(self) -> None:
        assert of([0.0, 0.0, 0.3]).outlier is None
        assert of([0.0, 0.0, 0.3], Standard(margin=0.2)).outlier == 2

    def test_what_rounding_makes_is_not_far_off(self) -> None:
        # Of 500 images one is 0.2 points, and a deviation is at least 0.2 / sqrt(6).
        assert of([0.0, 0.0, 0.2], Standard(margin=0.5, images=500)).outlier is None
        assert of([0.0, 0.0, 0.6], Standard(margin=0.5, images=500)).outlier == 2

    def test_a_collapse_in_one_of_three_runs_supports_nothing(self) -> None:
        found = of([0.1, 0.0, -73.0])
        states = [found.state(predicate, margin=0.5) for predicate in ("keeps", "hurts", "beats")]
        assert states == ["open"] * 3
        assert found.outlier == 2


class TestLooks:
    standard = Standard(margin=0.5, looks=Looks())

    def test_the_interval_has_the_level_of_the_look(self) -> None:
        values = list(np.random.default_rng(0).normal(0, 0.3, 8))
        found = of(values, self.standard)
        level = levels(Looks(), (3, 5, 8))[2]
        assert (found.look, found.looks, found.level, found.valid) == (3, 5, level, (3, 5, 8))
        half = scipy_stats.t.ppf(1 - level, 7) * np.std(values, ddof=1) / math.sqrt(8)
        assert found.high - found.difference == pytest.approx(half)

    def test_between_looks_the_last_look_stands(self) -> None:
        values = [0.1, -0.1, 0.2, 5.0]
        found = of(values, self.standard)
        assert (found.replicates, found.later, found.look) == (3, 1, 1)
        assert found.difference == of(values[:3], self.standard).difference

    def test_before_the_first_look_nothing_is_said(self) -> None:
        found = of([0.1, 0.2], self.standard)
        assert (found.replicates, found.later, found.look) == (0, 2, None)
        assert found.state("keeps", margin=0.5) == "open"
        assert found.level_of(0.05, Looks()) == 0.0

    def test_a_failed_replicate_spends_nothing(self) -> None:
        found = of([0.1, -0.1, 0.2, NAN, 0.0], self.standard)
        assert found.valid == (3, 4)
        assert found.level == levels(Looks(), (3, 4))[1]

    def test_a_look_of_failures_shows_what_the_look_before_did(self) -> None:
        found = of([0.1, -0.1, 0.2, NAN, NAN], self.standard)
        before = of([0.1, -0.1, 0.2], self.standard)
        assert (found.low, found.high, found.level) == (before.low, before.high, before.level)

    def test_the_level_of_a_share_of_alpha(self) -> None:
        found = of([0.1, -0.1, 0.2], self.standard)
        assert found.level_of(0.05, Looks()) == found.level
        assert found.level_of(0.01, Looks()) == levels(Looks(), (3,), alpha=0.01)[0] < found.level
        assert of([0.1, -0.1, 0.2]).level_of(0.01, None) == 0.01


def test_an_effect_is_ready_for_a_table() -> None:
    found = of([0.1, 0.2])
    assert set(found.to_dict()) == {field.name for field in fields(Effect)}
    assert found.to_dict()["low"] is None
