"""The test set's share of a difference's uncertainty: replicates and images as two random factors."""

import math
from dataclasses import dataclass

import numpy as np

from prunemark.stats.records import Record

_SAMPLES = 2000
_SAMPLES_AT_ONCE = 100
_TAIL = 0.05


@dataclass(frozen=True, kw_only=True)
class TwoWay(Record):
    """A paired difference of accuracies in percentage points, with replicates and test images as random factors.

    `low` and `high` are the ends of the 90 % interval that resampling both gives: other trainings, other images of
    the same kind. The standard errors are of the mean difference: `of_replicates` is what other trainings would change,
    `of_images` what other images would change whatever the number of replicates, `of_both` the rest, which replicates
    and images both average out. `share_of_images` is the images' part of the variance, in [0, 1]; NaN where nothing
    varies. `discordant` is the share of images, in percent, on which the two sides differ in a replicate.
    """

    replicates: int
    images: int
    difference: float
    low: float
    high: float
    of_replicates: float
    of_images: float
    of_both: float
    share_of_images: float
    discordant: float


def two_way(left: np.ndarray, right: np.ndarray, *, seed: int = 0, samples: int = _SAMPLES) -> TwoWay:
    """Split the uncertainty of left - right into that of the trainings and that of the test set: `split` of it.

    Args:
        left: (replicates, images), true where the test image was classified correctly.
        right: the same for the other side: the same replicates and images, in the same order.
        seed: of the resampling.
        samples: how many.

    Raises:
        ValueError: the two are not of one shape, or have fewer than 2 replicates or images.
    """
    if left.shape != right.shape:
        raise ValueError(
            "left and right must be arrays (replicates, images) of one shape with at least 2 of each, not "
            f"{left.shape} and {right.shape}"
        )
    return split(100.0 * (left.astype(np.int8) - right.astype(np.int8)), seed=seed, samples=samples)


def split(differences: np.ndarray, *, seed: int = 0, samples: int = _SAMPLES) -> TwoWay:
    """Split the uncertainty of a mean difference into that of the trainings and that of the test set.

    With D[r, i] the difference in replicate r on image i, in percentage points (-100, 0 or 100 where two trainings are
    compared, a mean of such numbers where several are), D = mu + a_r + b_i + e_ri, the mean's
    variance is var(a) / R + var(b) / N + var(e) / (R N). The parts are estimated from the mean squares of a two-way
    layout without repetition, none below 0. The interval is the percentile interval of resampling replicates and
    images independently, which is somewhat too wide, never too narrow: it counts var(e) three times.

    Args:
        differences: (replicates, images).
        seed: of the resampling.
        samples: how many.

    Raises:
        ValueError: there are fewer than 2 replicates or images.

    Reference: Owen (2007), Annals of Applied Statistics 1:386, the pigeonhole bootstrap.
    """
    if differences.ndim != 2 or min(differences.shape) < 2:
        raise ValueError(
            f"differences are an array (replicates, images) with at least 2 of each, not {differences.shape}"
        )
    replicates, images = differences.shape
    mean = float(differences.mean())
    by_replicate, by_image = differences.mean(axis=1), differences.mean(axis=0)
    square_replicates = images * float(by_replicate.var(ddof=1))
    square_images = replicates * float(by_image.var(ddof=1))
    rest = differences - by_replicate[:, None] - by_image[None, :] + mean
    square_rest = float((rest**2).sum()) / ((replicates - 1) * (images - 1))
    cells = replicates * images
    of_replicates = max(0.0, square_replicates - square_rest) / cells
    of_images = max(0.0, square_images - square_rest) / cells
    of_both = square_rest / cells
    total = of_replicates + of_images + of_both
    low, high = _interval(differences, np.random.default_rng(seed), samples)
    return TwoWay(
        replicates=replicates,
        images=images,
        difference=mean,
        low=low,
        high=high,
        of_replicates=math.sqrt(of_replicates),
        of_images=math.sqrt(of_images),
        of_both=math.sqrt(of_both),
        share_of_images=of_images / total if total > 0 else math.nan,
        discordant=float(100 * (differences != 0).mean()),
    )


def _interval(differences: np.ndarray, random: np.random.Generator, samples: int) -> tuple[float, float]:
    replicates, images = differences.shape
    means: list[np.ndarray] = []
    for start in range(0, samples, _SAMPLES_AT_ONCE):
        count = min(_SAMPLES_AT_ONCE, samples - start)
        runs = random.multinomial(replicates, np.full(replicates, 1 / replicates), size=count)
        drawn = random.multinomial(images, np.full(images, 1 / images), size=count)
        means.append(np.einsum("br,bi,ri->b", runs, drawn, differences, optimize=True) / (replicates * images))
    low, high = np.quantile(np.concatenate(means), [_TAIL, 1 - _TAIL])
    return float(low), float(high)
