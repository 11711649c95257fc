"""How far the accuracies of a table were rounded, where it does not say how many test images there are."""

import math

from prunemark.stats.cells import Experiment

_DECIMALS = (2, 3, 4)
_EXACT_PP = 1e-7


def steps_of_rounding(experiment: Experiment) -> int | None:
    """10^d if all accuracies are fractions with at most d decimals, for the smallest d of 2, 3 and 4; else None.

    They are known no better than that, be it because somebody rounded them or because 10^d test images allow no finer
    ones: in both cases their differences have at least the variance of rounding to steps of 10^-d.
    """
    accuracies = [a for cell in experiment.accuracies.values() for a in cell.values() if math.isfinite(a)]
    if not accuracies:
        return None
    for decimals in _DECIMALS:
        step = 100 / 10**decimals
        if all(abs(a - step * round(a / step)) < _EXACT_PP for a in accuracies):
            return 10**decimals
    return None
