import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prunemark.stats.predicates import (
    Predicate,
    State,
    contradicted,
    contradiction_p,
    decide,
    holm,
    size,
    supported,
)

# Intervals against a margin of 0.5, and what each says: keeps, hurts, beats.
TABLE: list[tuple[float, float, State, State, State]] = [
    (-0.4, 0.4, "supported", "contradicted", "contradicted"),
    (-0.4, -0.1, "supported", "contradicted", "contradicted"),
    (0.1, 0.4, "supported", "contradicted", "contradicted"),
    (0.1, 0.6, "supported", "contradicted", "supported"),
    (-0.4, 0.6, "supported", "contradicted", "open"),
    (-0.6, -0.1, "open", "supported", "contradicted"),
    (-0.6, 0.4, "open", "open", "contradicted"),
    (-0.6, 0.6, "open", "open", "open"),
    (-3.0, -0.6, "contradicted", "supported", "contradicted"),
    (0.6, 3.0, "supported", "contradicted", "supported"),
    # The bounds themselves are not passed.
    (-0.5, 0.5, "open", "open", "open"),
    (-1.0, -0.5, "open", "supported", "contradicted"),
    (-0.7, 0.0, "open", "open", "contradicted"),
    (0.0, 0.7, "supported", "contradicted", "open"),
    (math.nan, math.nan, "open", "open", "open"),
]


@pytest.mark.parametrize(("low", "high", "keeps", "hurts", "beats"), TABLE)
def test_states(low: float, high: float, keeps: State, hurts: State, beats: State) -> None:
    found = [decide(predicate, low, high, margin=0.5) for predicate in ("keeps", "hurts", "beats")]
    assert found == [keeps, hurts, beats]


@pytest.mark.parametrize("predicate", ["keeps", "hurts", "beats"])
def test_arrays_are_decided_elementwise_and_never_both_ways(predicate: Predicate) -> None:
    random = np.random.default_rng(0)
    low = random.normal(0, 1, 5000)
    high = low + random.exponential(0.6, 5000)
    for_, against = (f(predicate, low, high, margin=0.5) for f in (supported, contradicted))
    assert not (for_ & against).any()
    assert for_.any()
    assert against.any()
    assert [decide(predicate, *x, margin=0.5) == "supported" for x in zip(low, high, strict=True)] == list(for_)


def test_a_small_loss_is_no_contradiction_of_keeping_but_a_large_one_is() -> None:
    assert decide("keeps", -0.45, -0.05, margin=0.5) == "supported"
    assert decide("keeps", -0.9, -0.05, margin=0.5) == "open"
    assert decide("keeps", -0.9, -0.55, margin=0.5) == "contradicted"


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf])
def test_a_margin_that_is_none(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be a positive, finite number of percentage points"):
        decide("keeps", -0.1, 0.1, margin=margin)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.4, 0.4, "within the margin"),
        (0.6, 0.9, "beyond the margin"),
        (-9.0, -0.6, "beyond the margin"),
        (-0.6, -0.1, "unclear"),
        (math.nan, math.nan, "unclear"),
    ],
)
def test_size_beside_the_state(low: float, high: float, words: str) -> None:
    assert size(low, high, margin=0.5) == words


@pytest.mark.parametrize(
    ("predicate", "boundary", "alternative"),
    [("keeps", -0.5, "less"), ("hurts", -0.5, "greater"), ("beats", 0.5, "less")],
)
def test_p_values_are_those_of_scipy_and_agree_with_the_interval(
    predicate: Predicate, boundary: float, alternative: str
) -> None:
    random = np.random.default_rng(4)
    for _ in range(200):
        values = random.normal(random.normal(0, 0.7), 0.4, 5)
        error = float(values.std(ddof=1) / math.sqrt(5))
        p = contradiction_p(predicate, float(values.mean()), error, 4, margin=0.5)
        assert p == pytest.approx(scipy_stats.ttest_1samp(values, boundary, alternative=alternative).pvalue)
        half = scipy_stats.t.ppf(0.95, 4) * error
        against = contradicted(predicate, values.mean() - half, values.mean() + half, margin=0.5)
        assert (p < 0.05) == against


def test_without_spread_the_p_value_is_certain() -> None:
    assert contradiction_p("keeps", -0.6, 0.0, 2, margin=0.5) == 0.0
    assert contradiction_p("keeps", -0.5, 0.0, 2, margin=0.5) == 1.0
    assert contradiction_p("hurts", -0.4, 0.0, 2, margin=0.5) == 0.0
    assert contradiction_p("beats", 0.4, 0.0, 2, margin=0.5) == 0.0


class TestHolm:
    @staticmethod
    def plain(_: int, alpha: float) -> float:
        return alpha

    def test_by_hand(self) -> None:
        # 0.01 < 0.05 / 4, 0.02 is not < 0.05 / 3: it stops there, although 0.03 < 0.05 / 1.
        assert holm([0.03, 0.01, 0.02, 0.9], level=self.plain) == [False, True, False, False]
        assert holm([0.03, 0.01, 0.016, 0.9], level=self.plain) == [False, True, True, False]
        assert holm([0.04], level=self.plain) == [True]
        assert holm([], level=self.plain) == []

    def test_no_verdict_is_never_rejected_but_counts(self) -> None:
        assert holm([math.nan, 0.03], level=self.plain) == [False, False]
        assert holm([math.nan, 0.02], level=self.plain) == [False, True]

    def test_each_hypothesis_has_its_own_level(self) -> None:
        assert holm([0.01, 0.02], level=lambda at, alpha: alpha if at else 0.0) == [False, False]
        assert holm([0.03, 0.02], level=lambda at, alpha: alpha if at else 0.0) == [False, True]
