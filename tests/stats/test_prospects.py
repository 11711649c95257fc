import math

import numpy as np
import pytest

from prunemark.stats.effects import Standard, measure
from prunemark.stats.prospects import Prospect, prospect
from prunemark.terms.looks import Looks

PLAIN = Standard(margin=0.5)
GROWING = Standard(margin=0.5, looks=Looks())


def of(values: list[float], standard: Standard = PLAIN) -> Prospect | None:
    return prospect(measure(dict(enumerate(values)), standard), "keeps", standard)


def test_nothing_is_said_of_what_is_settled_or_has_too_few_replicates() -> None:
    assert of([0.1, -0.1, 0.0, 0.05]) is None
    assert of([-3.1, -2.9, -3.0, -3.05]) is None
    assert of([0.1, -2.0]) is None


def test_a_wider_spread_needs_more() -> None:
    values = np.array([-0.5, 0.4, 0.1, -0.3, 0.3])
    narrow, wide = (of(list(scale * values)) for scale in (1.8, 4.0))
    assert narrow is not None
    assert wide is not None
    assert wide.replicates > narrow.replicates
    assert narrow.chance >= 2 / 3


def test_with_looks_it_names_one_of_the_next() -> None:
    found = of([-0.3, 0.3, 0.1], GROWING)
    assert found is not None
    assert found.replicates in (2, 5, 9, 17)


def test_the_last_look_is_named_with_its_chance_where_none_is_likely() -> None:
    found = of([-9.0, 8.0, 0.5, -4.0, 6.0], GROWING)
    assert found is not None
    assert found.replicates == 15
    assert found.chance < 2 / 3


def test_after_the_last_look_there_is_nothing_to_come() -> None:
    short = Standard(margin=0.5, looks=Looks(max=5))
    assert of([-9.0, 8.0, 0.5, -4.0, 6.0], short) is None


def test_always_the_same() -> None:
    values = [-0.5, 0.4, 0.1, -0.3]
    assert of(values) == of(values)


@pytest.mark.soak
def test_the_chance_is_how_often_it_comes_true() -> None:
    """Truths drawn from a wide prior, data from the truth: forecasts of two in three come true that often."""
    random = np.random.default_rng(8)
    promised: list[float] = []
    kept: list[bool] = []
    while len(promised) < 1500:
        sd = math.exp(random.uniform(-2, 1))
        truth = random.uniform(-3, 3)
        values = list(random.normal(truth, sd, 4))
        found = of(values)
        if found is None or found.replicates > 300:
            continue
        more = values + list(random.normal(truth, sd, found.replicates))
        promised.append(found.chance)
        kept.append(measure(dict(enumerate(more)), PLAIN).state("keeps", margin=0.5) != "open")
    assert np.mean(kept) == pytest.approx(np.mean(promised), abs=0.05)
