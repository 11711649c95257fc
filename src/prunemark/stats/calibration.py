"""Error rates of verdicts, by simulated studies."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prunemark.stats.effects import FEWEST_WITH_AN_OUTLIER, OUTLYING_DEVIATIONS, Standard
from prunemark.stats.looks import ALPHA, levels
from prunemark.stats.predicates import Predicate, supported
from prunemark.terms.looks import Looks

Noise = Literal["normal", "near collapse", "500 images", "10,000 images", "both collapse", "one collapses"]
PREDICATES: tuple[Predicate, ...] = ("keeps", "hurts", "beats")

_SD: dict[Noise, float] = {"normal": 0.4, "near collapse": 3.0}
"""Standard deviation of a paired difference in one cell, in percentage points: at matching, at extreme sparsities."""
_IMAGES: dict[Noise, tuple[int, float, float]] = {
    "500 images": (500, 0.97, 0.004),
    "10,000 images": (10_000, 0.88, 0.003),
}
"""Test images, accuracy, and standard deviation of a run's accuracy around it."""
_COLLAPSE = 0.1
_COLLAPSED_PP, _TRAINED_PP, _RUN_PP = 20.0, 93.0, 0.15
_STUDIES_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A kind of study.

    Attributes:
        noise: what an accuracy varies by: *normal*, a paired difference has a standard deviation of 0.4; *near
            collapse*, of 3; *500 images*
            and *10,000 images*, binomial noise of the test set around 97 and 88 % and a run's own of 0.4 and 0.3
            points; *both collapse*, a run of either side ends at 20 instead of 93 % with probability 0.1; *one
            collapses*, a run of the left side does.
        replicates: how many, or the looks.
        methods: that the claim is about.
        sparsities: in the range, averaged within each replicate.
        truth: the true difference in percentage points, of runs that do not collapse.
        margin: in percentage points.
    """

    noise: Noise
    replicates: int | Looks
    methods: int = 1
    sparsities: int = 1
    truth: float = 0.0
    margin: float = 0.5

    @property
    def standard(self) -> Standard:
        """Standard that the evidence is held to."""
        looks = self.replicates if isinstance(self.replicates, Looks) else None
        return Standard(
            margin=self.margin, looks=looks, images=_IMAGES[self.noise][0] if self.noise in _IMAGES else None
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of replicates at which the results are looked at."""
        return self.replicates.sizes if isinstance(self.replicates, Looks) else (self.replicates,)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of studies in which the claim about all methods is supported and contradicted, and replicates run."""

    supported: float
    contradicted: float
    replicates: float


def rates(scenario: Scenario, *, studies: int = 2000, seed: int = 0) -> dict[Predicate, Rates]:
    """Simulate studies and judge the claim about all methods; with looks, each stops when that is settled."""
    random = np.random.default_rng(seed)
    counts: dict[Predicate, np.ndarray] = {predicate: np.zeros(3) for predicate in PREDICATES}
    for start in range(0, studies, _STUDIES_AT_ONCE):
        values = draw(scenario, min(_STUDIES_AT_ONCE, studies - start), random)
        for predicate in PREDICATES:
            counts[predicate] = counts[predicate] + _tally(scenario, predicate, values)
    found: dict[Predicate, Rates] = {}
    for predicate, sums in counts.items():
        a, b, c = (float(x) for x in sums / studies)
        found[predicate] = Rates(supported=a, contradicted=b, replicates=c)
    return found


def draw(scenario: Scenario, studies: int, random: np.random.Generator) -> np.ndarray:
    """Differences (studies, methods, replicates) in percentage points, means over the range's sparsities."""
    shape = (studies, scenario.methods, scenario.sparsities, scenario.sizes[-1])
    if scenario.noise in _SD:
        return (scenario.truth + _SD[scenario.noise] * random.standard_normal(shape)).mean(axis=2)
    if scenario.noise in _IMAGES:
        images, accuracy, run = _IMAGES[scenario.noise]
        sides = [
            random.binomial(images, np.clip(accuracy + change / 100 + run * random.standard_normal(shape), 0, 1))
            for change in (scenario.truth, 0.0)
        ]
        return (100 * (sides[0] - sides[1]) / images).mean(axis=2)
    left, right = (_TRAINED_PP + _RUN_PP * random.standard_normal(shape) for _ in range(2))
    left += scenario.truth
    left[random.random(shape) < _COLLAPSE] = _COLLAPSED_PP
    if scenario.noise == "both collapse":
        right[random.random(shape) < _COLLAPSE] = _COLLAPSED_PP
    return (left - right).mean(axis=2)


def decisions(scenario: Scenario, predicate: Predicate, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """At each look, in which studies the claim about all methods is supported, and in which contradicted.

    Args:
        scenario: of the studies.
        predicate: of the claim.
        values: (studies, methods, replicates).
    """
    from scipy.special import stdtr, stdtrit

    standard, methods, margin = scenario.standard, values.shape[1], scenario.margin
    looks = standard.looks
    single = levels(looks) if looks else (ALPHA,)
    shared = levels(looks, alpha=ALPHA / methods) if looks else (ALPHA / methods,)
    floor = standard.rounding_variance(2 / scenario.sparsities)
    for n, level, least in zip(scenario.sizes, single, shared, strict=True):
        part = values[..., :n].round(9)
        mean = part.mean(axis=2)
        error = np.sqrt(np.maximum(part.var(axis=2, ddof=1), floor) / n)
        half = float(stdtrit(n - 1, 1 - level)) * error
        for_ = supported(predicate, mean - half, mean + half, margin=margin)
        if predicate == "keeps" and n < FEWEST_WITH_AN_OUTLIER:
            for_ &= ~_outlying(part, floor)
        distance = mean - margin if predicate == "beats" else mean + margin
        p = stdtr(n - 1, (-distance if predicate == "hurts" else distance) / np.maximum(error, 1e-300))
        yield for_.all(axis=1), (p < least).any(axis=1)


def _tally(scenario: Scenario, predicate: Predicate, values: np.ndarray) -> np.ndarray:
    going = np.ones(len(values), dtype=bool)
    supporting = against_it = run = 0
    for size, (for_, against) in zip(scenario.sizes, decisions(scenario, predicate, values), strict=True):
        supporting += int(np.sum(going & for_))
        against_it += int(np.sum(going & against))
        settled = going & (for_ | against)
        last = size == scenario.sizes[-1]
        run += size * int(np.sum(going if last else settled))
        going &= ~settled
    return np.array([supporting, against_it, run], dtype=np.float64)


def _outlying(values: np.ndarray, floor: float) -> np.ndarray:
    off = np.abs(values - np.median(values, axis=2, keepdims=True))
    return off.max(axis=2) > OUTLYING_DEVIATIONS * np.maximum(np.median(off, axis=2), math.sqrt(floor))
