"""Write docs/calibration.md: how often verdicts err in simulated studies.

    python tools/calibration.py [--studies 10000]

With the default, about ten minutes on one core. Draws are seeded: the page is the same each time.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from prunemark.stats import Looks
from prunemark.stats.calibration import PREDICATES, Noise, Rates, Scenario, rates
from prunemark.stats.predicates import Predicate

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
REPLICATES: tuple[int | Looks, ...] = (3, 5, 10, 20, Looks())
SHAPES = ((1, 1), (2, 3), (4, 6), (12, 6))
NOISES: tuple[Noise, ...] = ("normal", "near collapse", "500 images", "10,000 images")
FALSE_SUPPORT: dict[Predicate, float] = {"keeps": -1.0, "hurts": 0.0, "beats": 0.0}
FALSE_CONTRADICTION: dict[Predicate, float] = {"keeps": -1.0, "hurts": -1.0, "beats": 1.0}
TRUE: dict[Predicate, float] = {"keeps": 0.0, "hurts": -2.0, "beats": 2.0}

TEXT = """# How often verdicts err

Simulated studies whose truth is known, judged by the rules of prunemark; {studies:,} studies for each number, written
by `tools/calibration.py`. What is shown is the share of studies, in percent, in which the claim about all methods
comes out as said. "3 to 20" is the sequential rule: looks at 3, 5, 8, 12 and 20 replicates, stopping once the claim
is settled.

Noise of a paired difference in one cell, the median of the stored studies: standard deviation 0.4 points ("normal"),
and 3 points ("near collapse"), margin 0.5. "500 images": binomial noise of a test set around 97 % and 0.4 points
between runs, margin 1.0. "10,000 images": around 88 %, 0.3 points, margin 0.5. A claim over M x S cells is about M
methods, each judged by its mean over S sparsities in every replicate. The simulation is
`prunemark.stats.calibration`; a test holds that it decides as `judge` does. R's TOSTER was not available from
Debian's packages and was not compared with; the intervals are tested against scipy's.

## False verdicts at the boundary: 5 % is promised

One method, one sparsity. *Supported* although false: keeps at d = -margin, hurts and beats at d = 0. *Contradicted*
although true: keeps and hurts at d = -margin, beats at d = +margin.

{single}

## False verdicts of claims over several cells

The largest of the six errors above, each with all methods at the boundary.

{several}

## True claims that come out as supported

Standard deviation 0.4, margin 0.5. Keeps at d = 0, hurts at d = -1, beats at d = +1; in brackets the mean number of
replicates that the sequential rule needs.

{power}

With three replicates "keeps" is seldom supported although the interval allows it: a replicate more than five median
deviations off forbids it below five replicates, and of three normal values one is that far off in 30 % of cases.

## Between the boundaries

A loss of half the margin is kept, and hurts: one method, one sparsity, standard deviation 0.4.

{between}

## Rare collapse: what few replicates cannot see

A run of the left side ends at 20 instead of 93 % with probability 0.1, so that the true difference is -7.3 points:
"keeps" is false and "hurts" true. The third column is 0.9^n, the chance that none of n runs collapsed: a study that
saw no collapse cannot know of it.

{collapse}

Where runs of both sides collapse with that probability, the true difference is 0, but the mean over sparsities comes
in steps, and with few replicates these may agree by chance. "Keeps" contradicted although true:

{both}

These two tables are why a report says that n runs cannot exclude a failure that strikes 1 - 0.05^(1/n) of them, and
why extreme sparsities, where runs collapse, are judged apart.
"""


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000)
    studies = parser.parse_args().studies
    PAGE.write_text(
        TEXT.format(
            studies=studies,
            single=_single(studies),
            several=_several(studies),
            power=_power(studies),
            between=_between(studies),
            collapse=_collapse(studies),
            both=_both(studies),
        ),
        encoding="utf-8",
    )
    print(PAGE)


def _scenario(noise: Noise, n: int | Looks, shape: tuple[int, int], truth: float) -> Scenario:
    margin = 1.0 if noise == "500 images" else 0.5
    return Scenario(
        noise=noise, replicates=n, methods=shape[0], sparsities=shape[1], truth=truth * margin, margin=margin
    )


def _errors(noise: Noise, n: int | Looks, shape: tuple[int, int], studies: int) -> Iterator[float]:
    """False support of keeps, hurts and beats, then their false contradiction."""
    found = {truth: rates(_scenario(noise, n, shape, truth), studies=studies) for truth in (-1.0, 0.0, 1.0)}
    yield from (found[FALSE_SUPPORT[p]][p].supported for p in PREDICATES)
    yield from (found[FALSE_CONTRADICTION[p]][p].contradicted for p in PREDICATES)


def _single(studies: int) -> str:
    heads = ["noise", "replicates", *(f"{p} supported" for p in PREDICATES), *(f"{p} contradicted" for p in PREDICATES)]
    lines = [
        [noise, _name(n), *(_share(error) for error in _errors(noise, n, (1, 1), studies))]
        for noise in NOISES
        for n in REPLICATES
    ]
    return _table(heads, lines)


def _several(studies: int) -> str:
    heads = ["noise", "replicates", *(f"{m} x {s} cells" for m, s in SHAPES[1:])]
    lines = [
        [noise, _name(n), *(_share(max(_errors(noise, n, shape, studies))) for shape in SHAPES[1:])]
        for noise in NOISES
        for n in REPLICATES
    ]
    return _table(heads, lines)


def _power(studies: int) -> str:
    shapes = ((1, 1), (2, 3), (4, 3), (4, 6), (12, 6))
    heads = ["claim", "replicates", *(f"{m} x {s} cells" for m, s in shapes)]
    lines: list[list[str]] = []
    for predicate in PREDICATES:
        for n in REPLICATES:
            found = [rates(_scenario("normal", n, x, TRUE[predicate]), studies=studies)[predicate] for x in shapes]
            lines.append([predicate, _name(n), *(_with_replicates(one, n) for one in found)])
    return _table(heads, lines)


def _between(studies: int) -> str:
    heads = ["replicates", *(f"{p} {what}" for p in ("keeps", "hurts") for what in ("supported", "contradicted"))]
    lines: list[list[str]] = []
    for n in REPLICATES:
        found = rates(_scenario("normal", n, (1, 1), -0.5), studies=studies)
        pairs = [(found[p].supported, found[p].contradicted) for p in PREDICATES[:2]]
        lines.append([_name(n), *(_share(share) for pair in pairs for share in pair)])
    return _table(heads, lines)


def _collapse(studies: int) -> str:
    lines: list[list[str]] = []
    for n in REPLICATES:
        found = rates(_scenario("one collapses", n, (1, 1), 0.0), studies=studies)
        unseen = _share(0.9**n) if isinstance(n, int) else ""
        lines.append([_name(n), _share(found["keeps"].supported), unseen, _share(found["hurts"].contradicted)])
    return _table(["replicates", "keeps supported", "no collapse seen", "hurts contradicted"], lines)


def _both(studies: int) -> str:
    lines = [
        [
            _name(n),
            *(
                _share(rates(_scenario("both collapse", n, x, 0.0), studies=studies)["keeps"].contradicted)
                for x in SHAPES
            ),
        ]
        for n in REPLICATES
    ]
    return _table(["replicates", *(f"{m} x {s} cells" for m, s in SHAPES)], lines)


def _name(n: int | Looks) -> str:
    return str(n) if isinstance(n, int) else f"{n.min} to {n.max}"


def _share(share: float) -> str:
    return f"{100 * share:.1f}"


def _with_replicates(found: Rates, n: int | Looks) -> str:
    return _share(found.supported) + ("" if isinstance(n, int) else f" ({found.replicates:.1f})")


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
