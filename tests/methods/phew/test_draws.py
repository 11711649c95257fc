"""Draws among weights, which add up only the few that a draw falls among, against sums over whole rows."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from prunemark.methods.phew.draws import OUTSIDE, ByMagnitude, Uniform

# (groups, output units, input units per group, kernel entries): rows shorter than a block of 16, of several, and both.
SHAPES = {
    "linear": [(1, 40, 70, 1)],
    "kernels": [(1, 20, 3, 9), (1, 4, 20, 9)],
    "groups": [(4, 8, 5, 3), (8, 8, 1, 25), (1, 3, 8, 1)],
    "one": [(1, 1, 1, 1)],
}


def rows_of(shapes, sizes, by_input):
    """Per unit: the numbers of its weights, in order, and their |w|, negative on no path."""
    rows, first = [], 0
    for groups, outputs, inputs, kernel in shapes:
        numbers = first + torch.arange(outputs * inputs * kernel).view(groups, outputs // groups, inputs, kernel)
        if by_input:
            rows += [numbers[g, :, i].flatten() for g in range(groups) for i in range(inputs)]
        else:
            rows += [row.flatten() for row in numbers.flatten(0, 1)]
        first += outputs * inputs * kernel
    return [(row, sizes[row].double()) for row in rows]


def some_sizes(shapes, seed, dead, zero):
    source = torch.Generator().manual_seed(seed)
    total = sum(outputs * inputs * kernel for _, outputs, inputs, kernel in shapes)
    sizes = torch.rand(total, generator=source)
    sizes[torch.rand(total, generator=source) < zero] = 0
    sizes[torch.rand(total, generator=source) < dead] = -1
    return sizes


@pytest.mark.parametrize("by_input", [True, False])
@pytest.mark.parametrize("name", SHAPES)
@given(seed=st.integers(0, 99), dead=st.sampled_from([0, 0.5, 0.95]), zero=st.sampled_from([0, 0.5, 1]))
def test_draws_are_those_of_sums_over_whole_rows(name, by_input, seed, dead, zero):
    shapes = SHAPES[name]
    sizes = some_sizes(shapes, seed, dead, zero)
    among = ByMagnitude(torch.tensor(shapes), sizes, by_input=by_input)
    rows = rows_of(shapes, sizes, by_input)
    assert among.live.tolist() == [bool((size >= 0).any()) for _, size in rows]
    units = among.live.nonzero().squeeze(1).repeat(20)
    assume(len(units) > 0)
    drawn = among.draw(units, torch.Generator().manual_seed(seed))
    uniform = torch.rand(len(units), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for unit, number, u in zip(units.tolist(), drawn.tolist(), uniform, strict=True):
        row, size = rows[unit]
        shares = size.clamp_min(0) if (size > 0).any() else (size >= 0).double()
        sums = shares.cumsum(0)
        assert number == row[torch.searchsorted(sums, u * sums[-1], right=True)]


def test_more_draws_and_weights_than_are_looked_at_together():
    shapes = [(1, 300, 700, 1)]
    sizes = some_sizes(shapes, 0, 0.3, 0.1)
    units = torch.arange(300).repeat(40)
    drawn = ByMagnitude(torch.tensor(shapes), sizes, by_input=False).draw(units, torch.Generator().manual_seed(0))
    assert torch.equal(drawn // 700, units)
    assert (sizes[drawn] > 0).all()


def test_draws_are_as_frequent_as_magnitudes_are_large():
    sizes = torch.arange(20, dtype=torch.float32)
    among = ByMagnitude(torch.tensor([(1, 1, 20, 1)]), sizes, by_input=False)
    counts = among.draw(torch.zeros(19_000, dtype=torch.int64), torch.Generator().manual_seed(0)).bincount(minlength=20)
    expected = 19_000 * sizes / sizes.sum()
    assert counts[0] == 0
    # chi-square with 18 degrees of freedom: 42.3 is its 99.9 % point.
    assert float(((counts - expected).square() / expected)[1:].sum()) < 42.3


def test_units_are_drawn_uniformly_among_those_wired_and_outside_where_there_is_none():
    wires = [(torch.tensor([2, 0]), torch.tensor([7, 8])), (torch.tensor([2]), torch.tensor([9]))]
    draws = Uniform(wires, torch.tensor([True, True, True, False]))
    units = torch.tensor([0, 1, 2]).repeat_interleave(1000)
    to_0, to_1, to_2 = draws.draw(units, torch.Generator().manual_seed(0)).view(3, 1000)
    assert set(to_0.tolist()) == {8}
    assert set(to_1.tolist()) == {OUTSIDE}
    assert set(to_2.tolist()) == {7, 9}
    assert abs(int((to_2 == 7).sum()) - 500) < 80
