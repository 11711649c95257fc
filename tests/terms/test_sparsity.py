"""The grid of sparsities."""

import pytest

from prunemark.terms.sparsity import level, rounds_to, same_sparsity


def test_levels_are_those_of_rounds_of_20_percent() -> None:
    assert [level(k) for k in range(4)] == [0.0, 0.2, 0.36, 0.488]
    assert level(17) == pytest.approx(1 - 0.8**17, abs=1e-12)


def test_the_last_round_goes_to_the_sparsity_itself() -> None:
    assert rounds_to(0.488) == [0.2, 0.36, 0.488]
    assert rounds_to(0.5) == [0.2, 0.36, 0.488, 0.5]
    assert rounds_to(0.1) == [0.1]


def test_a_level_and_its_decimals_are_one_sparsity() -> None:
    assert same_sparsity(1 - 0.8**10) == same_sparsity(0.892625818) != same_sparsity(0.8926)
