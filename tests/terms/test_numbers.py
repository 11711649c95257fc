import pytest

from prunemark.terms.numbers import percent_number


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
