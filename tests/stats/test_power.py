import math

import numpy as np
import pytest

from prunemark.stats.effects import Standard, measure
from prunemark.stats.power import equivalence_power, replicates_needed
from prunemark.stats.predicates import size


@pytest.mark.parametrize(("cv", "n", "published"), [(0.2, 20, 0.8346802), (0.3, 40, 0.8158453)])
def test_published_power_of_bioequivalence_studies(cv: float, n: int, published: float) -> None:
    # R package PowerTOST, power.TOST(CV = cv, n = n): 2x2 crossover on the log scale, limits 0.8 to 1.25, ratio 0.95.
    standard_error = math.sqrt(math.log1p(cv**2) * 2 / n)
    power = equivalence_power(standard_error=standard_error, df=n - 2, margin=math.log(1.25), difference=math.log(0.95))
    assert power == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize(("difference", "sd", "n"), [(0.0, 0.3, 3), (0.2, 0.3, 6), (-0.2, 0.3, 6)])
def test_power_is_how_often_studies_find_equivalence(difference: float, sd: float, n: int) -> None:
    draws = np.random.default_rng(7).normal(difference, sd, size=(3000, n))
    effects = [measure(dict(enumerate(x)), Standard(margin=0.5)) for x in draws.tolist()]
    found = sum(size(one.low, one.high, margin=0.5) == "within the margin" for one in effects) / 3000
    power = equivalence_power(standard_error=sd / math.sqrt(n), df=n - 1, margin=0.5, difference=difference)
    assert found == pytest.approx(power, abs=4 * math.sqrt(power * (1 - power) / 3000))


def test_power_at_the_margin_is_at_most_the_level() -> None:
    assert equivalence_power(standard_error=0.01, df=30, margin=0.5, difference=0.5) == pytest.approx(0.05, abs=1e-6)
    assert equivalence_power(standard_error=1.0, df=4, margin=0.5, difference=0.5) < 0.05


def test_replicates_needed_is_the_smallest_number() -> None:
    n = replicates_needed(sd=0.5, margin=0.5)
    assert n is not None

    def power(count: int) -> float:
        return equivalence_power(standard_error=0.5 / math.sqrt(count), df=count - 1, margin=0.5)

    assert power(n - 1) < 0.8 <= power(n)


def test_replicates_needed_at_the_limits() -> None:
    assert replicates_needed(sd=0.0) == 3
    assert replicates_needed(sd=1e-6) == 3
    assert replicates_needed(sd=0.3, difference=0.5) is None
    assert replicates_needed(sd=100.0) is None
    few, many = replicates_needed(sd=0.3), replicates_needed(sd=0.6)
    assert few is not None
    assert many is not None
    assert few < many


@pytest.mark.parametrize("options", [{"sd": -1.0}, {"sd": 1.0, "power": 1.0}, {"sd": 1.0, "margin": 0.0}])
def test_replicates_needed_refuses(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replicates_needed(**options)


@pytest.mark.parametrize("options", [{"standard_error": 0.0, "df": 4}, {"standard_error": 1.0, "df": 0}])
def test_power_refuses(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="standard_error must be positive"):
        equivalence_power(margin=0.5, **options)  # type: ignore[arg-type]
