"""Finding places among ascending numbers, cell by cell, against a search of all of them."""

import pytest
import torch

from prunemark.methods.walks import _Ascending

SOURCE = torch.Generator().manual_seed(0)


def uniform(*shape):
    return torch.rand(*shape, generator=SOURCE, dtype=torch.float64)


@pytest.mark.parametrize(
    "numbers",
    [
        uniform(10_000).cumsum(0),
        uniform(10_000).pow(40).cumsum(0),  # most of them in few cells
        torch.cat([torch.zeros(500, dtype=torch.float64), torch.ones(2, dtype=torch.float64).cumsum(0)]),
        torch.cat([torch.linspace(0, 1e-9, 300, dtype=torch.float64), torch.tensor([1e9])]),
        uniform(600_000).mul(9).floor().cumsum(0),  # ties, and more than one piece
        torch.tensor([0.3], dtype=torch.float64),
    ],
    ids=["even", "skewed", "ties", "far apart", "whole numbers", "one"],
)
def test_places_are_those_that_searching_all_numbers_finds(numbers):
    among = numbers[torch.randint(len(numbers), (2000,), generator=SOURCE)]
    points = torch.cat([uniform(2000) * numbers[-1], among, among.nextafter(among + 1), numbers[-1:] + 1])
    expected = torch.searchsorted(numbers, points, right=True)
    assert torch.equal(_Ascending(numbers).places(points), expected)
