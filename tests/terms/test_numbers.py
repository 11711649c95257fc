"""Formats of numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemark.terms.numbers import counted, percent, percent_number, pp


@pytest.mark.parametrize(
    ("sparsity", "text"),
    [
        (0.0, "0"),
        (0.2, "20"),
        (0.9, "90"),
        (1 - 0.8**3, "48.8"),
        (1 - 0.8**12, "93.1"),
        (0.98, "98"),
        (0.9998, "99.98"),
    ],
)
def test_sparsity_reads_as_in_the_paper(sparsity: float, text: str) -> None:
    assert percent_number(sparsity) == text


@given(st.floats(min_value=1e-6, max_value=1 - 1e-6))
def test_only_0_and_1_read_as_none_and_all(fraction: float) -> None:
    assert percent(fraction) not in ("0 %", "100 %")
    assert float(percent_number(fraction)) == pytest.approx(100 * fraction, rel=0.06, abs=100 * (1 - fraction) * 0.06)


def test_differences_have_a_sign_and_no_negative_zero() -> None:
    assert [pp(value) for value in (0.5, -0.004, -1.236, math.nan)] == ["+0.50", "+0.00", "-1.24", "\u2013"]


def test_things_are_counted() -> None:
    assert [counted(n, "trial") for n in (0, 1, 1200)] == ["0 trials", "1 trial", "1,200 trials"]
