import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemark.stats.paired import Comparison, compare, further_replicates, half_width, judge

# Student's (1908) sleep data, hours gained with two drugs by ten patients: R's data set `sleep`.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def numbered(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


def of(differences: list[float], margin: float = 0.5) -> Comparison:
    return compare(numbered(differences), dict.fromkeys(range(len(differences)), 0.0), margin=margin)


def with_moments(difference: float, sd: float, n: int, margin: float = 0.5) -> Comparison:
    base = of([0.0] * n, margin)
    half = half_width(sd, n)
    low, high = difference - half, difference + half
    return replace(base, difference=difference, sd=sd, low=low, high=high, outcome=judge(low, high, margin=margin))


def test_student_sleep_data() -> None:
    # R, t.test(extra ~ group, data = sleep, paired = TRUE): mean -1.58, t = -4.0621, df = 9,
    # 95 % interval [-2.4598858, -0.7001142]; t(0.975; 9) = 2.262157 and t(0.95; 9) = 1.833113.
    result = compare(numbered(SLEEP_1), numbered(SLEEP_2), margin=0.5)
    standard_error = (2.4598858 - 0.7001142) / 2 / 2.262157
    assert result.difference == pytest.approx(-1.58)
    assert result.difference / (result.sd / math.sqrt(10)) == pytest.approx(-4.0621, abs=5e-5)
    assert result.low == pytest.approx(-1.58 - 1.833113 * standard_error, abs=1e-6)
    assert result.high == pytest.approx(-1.58 + 1.833113 * standard_error, abs=1e-6)
    assert (result.low, result.high) == pytest.approx((-2.293, -0.867), abs=5e-4)
    assert result.outcome == "worse"


@pytest.mark.parametrize(("df", "t"), [(2, 2.920), (4, 2.132), (9, 1.833), (29, 1.699), (120, 1.658)])
def test_half_width_against_the_printed_t_table(df: int, t: float) -> None:
    assert half_width(math.sqrt(df + 1), df + 1) == pytest.approx(t, abs=5e-4)


def test_three_replicates_by_hand() -> None:
    # d = 0.2, s = 0.1, t(0.95; 2) = 2.91999, h = 2.91999 * 0.1 / sqrt(3) = 0.168586.
    result = compare(numbered([90.1, 91.2, 92.3]), numbered([90.0, 91.0, 92.0]), margin=0.5)
    assert result.replicates == 3
    assert (result.low, result.difference, result.high) == pytest.approx((0.031414, 0.2, 0.368586), abs=1e-6)
    assert result.outcome == "equivalent"
    assert of([0.1, 0.2, 0.3], margin=0.3).outcome == "better"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.4, 0.4, "equivalent"),
        (0.1, 0.4, "equivalent"),
        (-0.4, -0.1, "equivalent"),
        (0.1, 0.6, "better"),
        (2.0, 3.0, "better"),
        (-0.6, -0.1, "worse"),
        (-3.0, -2.0, "worse"),
        (-0.4, 0.6, "preserved"),
        (0.0, 0.5, "preserved"),
        (-0.6, 0.4, "inconclusive"),
        (-0.6, 0.6, "inconclusive"),
        # The bounds themselves are not passed.
        (-0.5, 0.4, "inconclusive"),
        (-0.4, 0.5, "preserved"),
        (-0.5, 0.0, "inconclusive"),
    ],
)
def test_outcomes(low: float, high: float, outcome: str) -> None:
    assert judge(low, high, margin=0.5) == outcome


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (0.0, "equivalent"),
        (0.4, "equivalent"),
        (-0.4, "equivalent"),
        (0.5, "better"),
        (-0.5, "worse"),
        (0.7, "better"),
    ],
)
def test_zero_variance_makes_the_interval_a_point(value: float, outcome: str) -> None:
    result = compare(dict.fromkeys(range(3), 90 + value), dict.fromkeys(range(3), 90.0), margin=0.5)
    assert (result.sd, result.low, result.high) == (0.0, value, value)
    assert result.outcome == outcome
    assert further_replicates(result) == 0


def test_rounding_of_a_subtraction_is_not_variance() -> None:
    # 100 * k / 500 minus 100 * l / 500 with k - l = 1 each time: 0.2, up to the last bits.
    left = {i: 100 * ((k + 1) / 500) for i, k in enumerate((401, 437, 483))}
    right = {i: 100 * (k / 500) for i, k in enumerate((401, 437, 483))}
    assert len({left[i] - right[i] for i in left}) > 1
    result = compare(left, right, margin=0.5)
    assert (result.sd, result.low, result.high) == (0.0, 0.2, 0.2)


def test_fewer_than_three_pairs_give_no_verdict() -> None:
    none, one, two = of([]), of([1.0]), of([1.0, 2.0])
    assert [x.outcome for x in (none, one, two)] == ["no verdict"] * 3
    assert math.isnan(none.difference)
    assert (one.difference, two.difference) == (1.0, 1.5)
    assert math.isnan(one.sd)
    assert two.sd == pytest.approx(math.sqrt(0.5))
    assert all(math.isnan(x.low) and math.isnan(x.high) for x in (none, one, two))
    assert [further_replicates(x) for x in (none, one, two)] == [None] * 3


def test_replicates_are_matched_by_number_and_the_rest_is_counted() -> None:
    left = {0: 10.0, 1: 20.0, 2: 30.0, 3: math.nan, 5: 50.0}
    right = {5: 49.0, 2: 29.0, 1: 19.0, 3: 40.0, 4: 7.0}
    result = compare(left, right, margin=0.5)
    assert (result.replicates, result.dropped) == (3, 3)
    assert (result.difference, result.sd) == (1.0, 0.0)


@pytest.mark.parametrize("margin", [0.0, -0.5, math.nan, math.inf])
def test_a_margin_that_is_none(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be a positive, finite number of percentage points"):
        of([1.0, 2.0, 3.0], margin)


class TestFurtherReplicates:
    def test_by_hand(self) -> None:
        # d = 0, s = 0.5: h = 0.843 at n = 3 and 0.588 at n = 4; 2.132 * 0.5 / sqrt(5) = 0.477 < 0.5 at n = 5.
        result = with_moments(0.0, 0.5, 3)
        assert result.outcome == "inconclusive"
        assert further_replicates(result) == 2

    def test_difference_at_the_margin_is_settled_as_worse(self) -> None:
        # d = -margin: needs h < 0.5, and then 0 lies outside.
        result = with_moments(-0.5, 0.5, 3)
        m = further_replicates(result)
        assert m == 2
        assert with_moments(-0.5, 0.5, 3 + m).outcome == "worse"

    def test_beyond_ten_thousand(self) -> None:
        # d = -margin / 2 is the slowest to settle: h < 0.25 needs n = (1.645 s / 0.25)^2, here 10,823.
        assert further_replicates(with_moments(-0.25, 15.8, 3)) is None
        assert further_replicates(with_moments(-0.25, 15.0, 3)) == pytest.approx((1.64485 * 15 / 0.25) ** 2, abs=5)

    def test_preserved_can_be_left_open(self) -> None:
        result = with_moments(0.4, 0.5, 3)
        undecided = frozenset({"inconclusive", "preserved"})
        assert result.outcome == "preserved"
        assert further_replicates(result) == 0
        # h < 0.4: 2.015 * 0.5 / sqrt(6) = 0.411, 1.943 * 0.5 / sqrt(7) = 0.367.
        assert further_replicates(result, undecided=undecided) == 4
        assert with_moments(0.4, 0.5, 7).outcome == "better"

    @given(
        st.floats(-3, 3),
        st.floats(0.01, 5),
        st.integers(3, 12),
        st.floats(0.1, 2),
        st.sampled_from([frozenset({"inconclusive"}), frozenset({"inconclusive", "preserved"})]),
    )
    def test_is_the_smallest_and_settles_for_good(
        self, d: float, s: float, n: int, margin: float, undecided: frozenset[str]
    ) -> None:
        m = further_replicates(with_moments(d, s, n, margin), undecided=undecided)
        if m is None:
            assert with_moments(d, s, n + 10_000, margin).outcome in undecided
            return
        for later in (0, 1, 2, 10, 1000):
            assert with_moments(d, s, n + m + later, margin).outcome not in undecided
        for earlier in range(max(0, m - 30), m):
            assert with_moments(d, s, n + earlier, margin).outcome in undecided


accuracies = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=0, max_size=8)
margins = st.sampled_from([0.1, 0.5, 1.0, 5.0, 20.0])


def sides(pairs: list[tuple[int, int]]) -> tuple[dict[int, float], dict[int, float]]:
    return numbered([a / 5 for a, _ in pairs]), numbered([b / 5 for _, b in pairs])


@given(accuracies, margins, st.integers(-100, 100))
def test_adding_a_constant_to_both_sides_changes_nothing(
    pairs: list[tuple[int, int]], margin: float, constant: int
) -> None:
    left, right = sides(pairs)
    moved = [{i: value + constant for i, value in side.items()} for side in (left, right)]
    assert repr(compare(left, right, margin=margin)) == repr(compare(*moved, margin=margin))


@given(accuracies, margins)
def test_swapping_sides_mirrors(pairs: list[tuple[int, int]], margin: float) -> None:
    left, right = sides(pairs)
    one, other = compare(left, right, margin=margin), compare(right, left, margin=margin)
    assert (one.replicates, one.dropped) == (other.replicates, other.dropped)
    assert [one.difference, one.low, one.high, one.sd] == pytest.approx(
        [-other.difference, -other.high, -other.low, other.sd], nan_ok=True
    )
    mirrored = {
        "equivalent": {"equivalent"},
        "better": {"worse"},
        "worse": {"better"},
        "preserved": {"inconclusive"},
        "inconclusive": {"inconclusive", "preserved"},
        "no verdict": {"no verdict"},
    }
    assert other.outcome in mirrored[one.outcome]


@given(accuracies, st.floats(0.01, 50), st.floats(0, 50))
def test_a_wider_margin_never_takes_anything_back(pairs: list[tuple[int, int]], margin: float, wider: float) -> None:
    left, right = sides(pairs)
    narrow = compare(left, right, margin=margin).outcome
    wide = compare(left, right, margin=margin + wider).outcome
    allowed = {
        "equivalent": {"equivalent"},
        "better": {"better", "equivalent"},
        "worse": {"worse", "equivalent"},
        "preserved": {"preserved", "equivalent"},
        "inconclusive": {"inconclusive", "preserved", "equivalent"},
        "no verdict": {"no verdict"},
    }
    assert wide in allowed[narrow]


@given(accuracies, margins, st.randoms(use_true_random=False))
def test_the_order_of_replicates_does_not_matter(pairs: list[tuple[int, int]], margin: float, random: object) -> None:
    left, right = sides(pairs)
    keys = list(left)
    random.shuffle(keys)  # type: ignore[attr-defined]
    shuffled = {key: left[key] for key in keys}
    assert repr(compare(shuffled, right, margin=margin)) == repr(compare(left, right, margin=margin))


def outcomes(true_difference: float, *, studies: int = 4000, n: int = 5, sd: float = 0.2) -> list[str]:
    draws = np.random.default_rng(20210503).normal(true_difference, sd, size=(studies, n))
    return [of(row.tolist()).outcome for row in draws]


def within_four_errors(count: int, studies: int, rate: float) -> bool:
    return abs(count / studies - rate) < 4 * math.sqrt(rate * (1 - rate) / studies)


def test_type_one_errors_are_five_per_cent() -> None:
    # True difference at the margin: equivalence, and non-inferiority at the other end, are declared in 1 of 20.
    at_upper, at_lower, at_zero = outcomes(0.5), outcomes(-0.5), outcomes(0.0, sd=2.0)
    assert within_four_errors(at_upper.count("equivalent"), 4000, 0.05)
    not_inferior = sum(x in ("equivalent", "preserved", "better") for x in at_lower)
    assert within_four_errors(not_inferior, 4000, 0.05)
    # No true difference and a spread that rules equivalence out: "better" and "worse" in 1 of 20 each.
    assert within_four_errors(at_zero.count("better"), 4000, 0.05)
    assert within_four_errors(at_zero.count("worse"), 4000, 0.05)


def test_a_small_true_difference_is_found_equivalent() -> None:
    assert outcomes(0.0, studies=500, sd=0.1).count("equivalent") == 500
