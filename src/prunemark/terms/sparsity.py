"""The grid of sparsities, 1 - 0.8^k, and when two sparsities are one."""

ROUND = 0.2
"""The share of the surviving weights that a round of iterative pruning prunes, and a level of the grid."""

_GRID_DECIMALS = 12
_SAME_DECIMALS = 9


def level(k: int) -> float:
    """The k-th sparsity of the study's grid: 1 - 0.8^k, to 12 decimals."""
    return round(1 - (1 - ROUND) ** k, _GRID_DECIMALS)


def rounds_to(sparsity: float) -> list[float]:
    """The sparsities after each round of 20 %, and in the last round `sparsity` itself.

    The last round prunes less than 20 % where the sparsity is not on the grid.
    """
    reached: list[float] = []
    while True:
        following = level(len(reached) + 1)
        if following >= sparsity - 1e-9:
            return [*reached, sparsity]
        reached.append(following)


def same_sparsity(sparsity: float) -> float:
    """The one number for a sparsity, to 9 decimals: 1 - 0.8^k and its decimal form in a file are the same."""
    return round(sparsity, _SAME_DECIMALS)
