import pytest

from prunemark.terms.looks import Looks

FULL = (3, 5, 8, 12, 20)


@pytest.mark.parametrize(
    ("least", "most", "sizes"),
    [
        (3, 20, FULL),
        (3, 10, (3, 5, 8, 10)),
        (5, 12, (5, 8, 12)),
        (4, 4, (4,)),
        (3, 50, (*FULL, 32, 50)),
        (6, 7, (6, 7)),
    ],
)
def test_sizes_are_cut_to_min_and_max(least: int, most: int, sizes: tuple[int, ...]) -> None:
    assert Looks(min=least, max=most).sizes == sizes


def test_which_look_is_reached() -> None:
    assert [Looks().look_of(n) for n in (0, 2, 3, 4, 5, 19, 20, 25)] == [None, None, 0, 0, 1, 3, 4, 4]


@pytest.mark.parametrize(("least", "most"), [(2, 20), (8, 5), (0, 0)])
def test_numbers_that_make_no_sense(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="looks need 3 <= min <= max"):
        Looks(min=least, max=most)


def test_until_is_claims_or_cells() -> None:
    with pytest.raises(ValueError, match='until must be "claims" or "cells", not \'bored\''):
        Looks(until="bored")  # pyright: ignore[reportArgumentType]


def test_in_words() -> None:
    assert str(Looks()) == "3 to 20 replicates, looks at 3, 5, 8, 12, 20"
    assert str(Looks(min=4, max=4)) == "4 replicates, one look"
