"""Verdicts err as often as they say: simulated studies, few here and many in `make soak` and docs/calibration.md."""

import math

import numpy as np
import pandas as pd
import pytest

from prunemark.stats import Looks, judge
from prunemark.stats.calibration import PREDICATES, Noise, Scenario, decisions, draw, rates
from prunemark.stats.predicates import Predicate
from tests.stats.tables import rows, table

HONEST: tuple[Noise, ...] = ("normal", "near collapse", "500 images", "10,000 images")
SHAPES = ((1, 1), (2, 3), (4, 6), (12, 6))
REPLICATES: tuple[int | Looks, ...] = (3, 5, 10, 20, Looks())


def plainly_false(predicate: Predicate, truth: float) -> bool:
    """Support would be false: keeps with d <= -margin, hurts with d >= 0, beats with d <= 0; truth in margins."""
    return truth <= -1 if predicate == "keeps" else truth >= 0 if predicate == "hurts" else truth <= 0


def plainly_true(predicate: Predicate, truth: float) -> bool:
    """Contradiction would be false: keeps with d >= -margin, hurts with d <= -margin, beats with d >= margin."""
    return truth <= -1 if predicate == "hurts" else truth >= (-1 if predicate == "keeps" else 1)


def errors(scenario: Scenario, truth: float, studies: int) -> list[float]:
    found = rates(scenario, studies=studies)
    shares = [found[p].supported for p in PREDICATES if plainly_false(p, truth)]
    return shares + [found[p].contradicted for p in PREDICATES if plainly_true(p, truth)]


def check(noise: Noise, replicates: int | Looks, shape: tuple[int, int], studies: int) -> None:
    margin = 1.0 if noise == "500 images" else 0.5
    for truth in (-2.0, -1.0, -0.5, 0.0, 1.0):
        scenario = Scenario(
            noise=noise,
            replicates=replicates,
            methods=shape[0],
            sparsities=shape[1],
            truth=truth * margin,
            margin=margin,
        )
        # Nominal 5 %, 5.5 % with binomial noise of few replicates, and three standard deviations of the simulation.
        assert max(errors(scenario, truth, studies)) <= 0.055 + 3 * math.sqrt(0.05 * 0.95 / studies), (truth, scenario)


@pytest.mark.parametrize("replicates", [3, 5, Looks()], ids=str)
@pytest.mark.parametrize("noise", ["normal", "500 images"])
def test_errors_are_nominal(noise: Noise, replicates: int | Looks) -> None:
    for shape in ((1, 1), (4, 3)):
        check(noise, replicates, shape, studies=1500)


@pytest.mark.soak
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("replicates", REPLICATES, ids=str)
@pytest.mark.parametrize("noise", HONEST)
def test_errors_are_nominal_in_every_kind_of_study(
    noise: Noise, replicates: int | Looks, shape: tuple[int, int]
) -> None:
    check(noise, replicates, shape, studies=6000)


def test_a_true_claim_over_four_methods_and_three_sparsities_is_found_with_five_replicates() -> None:
    keeps = Scenario(noise="normal", replicates=5, methods=4, sparsities=3)
    assert rates(keeps, studies=4000)["keeps"].supported >= 0.9
    hurts = Scenario(noise="normal", replicates=5, methods=4, sparsities=3, truth=-1.0)
    assert rates(hurts, studies=4000)["hurts"].supported >= 0.9


def test_a_small_loss_is_not_called_a_contradiction() -> None:
    """At half the margin the old rule, high < 0, called 26 % of studies of five replicates and 36 % of ten so."""
    for n in (5, 10):
        found = rates(Scenario(noise="normal", replicates=n, truth=-0.25), studies=4000)
        assert found["keeps"].contradicted <= 0.01


def test_a_claim_of_seventy_two_true_cells_is_not_called_false() -> None:
    """Cell by cell and without correction, 97 % of such studies had a contradiction."""
    for n in (3, 5):
        found = rates(Scenario(noise="near collapse", replicates=n, methods=12, sparsities=6), studies=1000)
        assert found["keeps"].contradicted <= 0.05


def test_looks_settle_with_fewer_replicates_than_their_most() -> None:
    found = rates(Scenario(noise="normal", replicates=Looks(), methods=4, sparsities=3), studies=1000)["keeps"]
    assert found.supported >= 0.99
    assert found.replicates < 10


def test_a_rare_collapse_is_beyond_what_few_replicates_can_see() -> None:
    """As the report says: n runs cannot exclude what strikes 1 - 0.05^(1/n) of them."""
    at = {n: rates(Scenario(noise="one collapses", replicates=n), studies=3000)["keeps"].supported for n in (5, 20)}
    assert 0.45 < at[5] < 0.65
    assert at[20] == pytest.approx(0.9**20, abs=0.03)


@pytest.mark.parametrize("replicates", [3, 4, 5, Looks(max=5)], ids=str)
def test_the_simulation_decides_as_judge_does(replicates: int | Looks) -> None:
    scenario = Scenario(noise="normal", replicates=replicates, methods=3, truth=-0.4)
    values = draw(scenario, 12, np.random.default_rng(0))
    *_, (supported, contradicted) = decisions(scenario, "keeps", values)
    looks = replicates if isinstance(replicates, Looks) else None
    kinds: set[str] = set()
    for study, differences in enumerate(values):
        parts: list[list[dict[str, object]]] = []
        for method, d in enumerate(differences):
            parts.append(rows(f"m{method}", [50.0] * len(d)))
            parts.append(rows(f"m{method}", list(50 + d), ablation="shuffle"))
        frame: pd.DataFrame = judge(table(*parts), looks=looks).claims
        (state,) = frame[(frame["claim"] == "C3") & (frame["subject"] == "all methods")]["state"]
        expected = "contradicted" if contradicted[study] else "supported" if supported[study] else "open"
        assert state == expected
        kinds.add(state)
    assert kinds
