import math

import numpy as np
import pytest

from prunemark.stats.bootstrap import two_way


def correct(random: np.random.Generator, *, replicates: int, images: int, hard: float, run: float) -> np.ndarray:
    """Correctness with an ability per replicate (sd `run`) and a difficulty per image (sd `hard`), both in logits."""
    logits = 2 + random.normal(0, run, (replicates, 1)) + random.normal(0, hard, (1, images))
    return random.random((replicates, images)) < 1 / (1 + np.exp(-logits))


def test_by_hand() -> None:
    # Differences (in images): replicate 0: 1, 0; replicate 1: 1, 0. All of it is the images'.
    left, right = np.array([[True, False], [True, False]]), np.zeros((2, 2), dtype=bool)
    found = two_way(left, right)
    assert (found.difference, found.discordant) == (50.0, 50.0)
    # Mean square of images: 2 * var(100, 0) = 2 * 5000; over R N = 4 that is 2500.
    assert (found.of_replicates, found.of_images, found.of_both) == (0.0, 50.0, 0.0)
    assert found.share_of_images == 1.0
    turned = two_way(left.T, right.T)
    assert (turned.of_replicates, turned.of_images, turned.share_of_images) == (50.0, 0.0, 0.0)


def test_equal_sides_vary_in_nothing() -> None:
    left = np.ones((3, 10), dtype=bool)
    found = two_way(left, left)
    assert (found.difference, found.low, found.high, found.discordant) == (0.0, 0.0, 0.0, 0.0)
    assert math.isnan(found.share_of_images)


def test_the_difference_is_that_of_the_accuracies() -> None:
    random = np.random.default_rng(0)
    left, right = (correct(random, replicates=5, images=400, hard=1.5, run=0.1) for _ in range(2))
    found = two_way(left, right)
    assert found.difference == pytest.approx(100 * (left.mean() - right.mean()))
    assert found.low < found.difference < found.high
    assert found == two_way(left, right)
    assert found.discordant == pytest.approx(100 * (left != right).mean())


def test_variances_are_found_again() -> None:
    """Means over many simulated studies of the estimated variances are those that went in."""
    random = np.random.default_rng(1)
    replicates, images, studies = 6, 200, 300
    parts = np.zeros(2)
    means: list[float] = []
    for _ in range(studies):
        # Left is right where a per-image and a per-replicate chance say so; right is always right.
        image = random.choice([0.0, 0.6], size=(1, images), p=[0.9, 0.1])
        run = random.normal(0, 0.02, (replicates, 1))
        wrong = random.random((replicates, images)) < np.clip(image + 0.1 + run, 0, 1)
        found = two_way(~wrong, np.ones_like(wrong), samples=1)
        parts += [found.of_replicates**2, found.of_images**2]
        means.append(found.difference)
    # sd of a: 2 points, over 6 replicates; sd of b: 60 sqrt(0.09) = 18 points, over 200 images.
    assert parts / studies == pytest.approx([2**2 / 6, 18**2 / 200], rel=0.25)
    # What is left in an entry is a coin's: 0.1 0.9 for nine images in ten, 0.7 0.3 for the tenth.
    rest = 100**2 * (0.9 * 0.1 * 0.9 + 0.1 * 0.7 * 0.3) / (6 * 200)
    assert np.var(means) == pytest.approx(2**2 / 6 + 18**2 / 200 + rest, rel=0.25)


def test_the_interval_covers_what_other_runs_on_other_images_would_give() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        image = random.choice([0.0, 0.5], size=(1, 200), p=[0.9, 0.1])
        wrong = random.random((8, 200)) < image + 0.05
        found = two_way(~wrong, np.ones_like(wrong), samples=200)
        covered += found.low <= -10 <= found.high
    assert covered / 200 >= 0.86


def test_a_test_set_of_ten_thousand_is_no_trouble() -> None:
    random = np.random.default_rng(3)
    left, right = (correct(random, replicates=5, images=10_000, hard=2, run=0.1) for _ in range(2))
    found = two_way(left, right)
    assert (found.replicates, found.images) == (5, 10_000)
    assert 0 <= found.share_of_images <= 1


@pytest.mark.parametrize(("one", "other"), [((3, 5), (3, 6)), ((1, 5), (1, 5)), ((3, 1), (3, 1)), ((5,), (5,))])
def test_shapes_that_make_no_sense(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 of each"):
        two_way(np.zeros(one, dtype=bool), np.zeros(other, dtype=bool))
