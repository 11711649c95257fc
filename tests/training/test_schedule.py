"""The learning rate against values worked out by hand."""

import pytest

from prunemark.recipes import Recipe
from prunemark.training import learning_rate


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (799, 0.1), (800, 0.01), (1199, 0.01), (1200, 0.001), (1599, 0.001)]
)
def test_a_drop_divides_by_ten_from_its_first_step_on(step, rate):
    assert learning_rate(Recipe(epochs=160, drops=(80, 120)), step, 10) == rate


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0), (1, 0.02), (5, 0.1), (9, 0.18), (10, 0.2), (11, 0.2), (29, 0.2), (30, 0.02)]
)
def test_warmup_rises_linearly_from_0(step, rate):
    recipe = Recipe(epochs=6, lr=0.2, warmup_epochs=2, drops=(6 - 1e-9,))
    assert learning_rate(recipe, step, 5) == pytest.approx(rate, rel=1e-15)


def test_a_drop_at_a_fraction_of_an_epoch_is_rounded_to_a_step():
    rates = [learning_rate(Recipe(epochs=2, lr=1, drops=(0.5, 1.26)), step, 3) for step in range(6)]
    assert rates == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_without_drops_and_warmup_the_rate_is_constant():
    assert {learning_rate(Recipe(epochs=40), step, 7) for step in range(280)} == {0.1}


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0, 0.5, 1, 1, 1, 1]),
        ("linear", [0, 0.5, 1, 0.8, 0.6, 0.4]),
        ("cosine", [0, 0.5, 1, 0.2 + 0.4 * (1 + 2**-0.5), 0.6, 0.2 + 0.4 * (1 - 2**-0.5)]),
    ],
)
def test_schedules_fall_from_the_warm_up_to_the_end(schedule, rates):
    final = {} if schedule == "constant" else {"final_lr": 0.2}
    recipe = Recipe(epochs=3, lr=1, warmup_epochs=1, schedule=schedule, **final)
    assert [learning_rate(recipe, step, 2) for step in range(6)] == pytest.approx(rates)


def test_the_factor_of_a_drop_is_the_recipes():
    rates = [learning_rate(Recipe(epochs=3, lr=1, drops=(1, 2), drop_factor=5), step, 1) for step in range(3)]
    assert rates == pytest.approx([1, 0.2, 0.04])


def test_a_warm_up_over_the_whole_training_leaves_nothing_to_fall():
    recipe = Recipe(epochs=2, lr=1, warmup_epochs=2, schedule="cosine")
    assert [learning_rate(recipe, step, 2) for step in range(4)] == [0, 0.25, 0.5, 0.75]
