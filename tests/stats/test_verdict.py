import pytest

from prunemark.stats.cells import DENSE, Cell, benchmark_cell, experiments
from prunemark.stats.verdict import Expectation, Verdict, label, percent, pp, verdict
from tests.stats.tables import rows, table


@pytest.mark.parametrize(
    ("sparsity", "text"),
    [
        (0.0, "0 %"),
        (0.1, "10 %"),
        (0.95, "95 %"),
        (1 - 0.8**6, "73.8 %"),
        (0.999, "99.9 %"),
        (0.99999, "99.999 %"),
    ],
)
def test_percent(sparsity: float, text: str) -> None:
    assert percent(sparsity) == text


@pytest.mark.parametrize(("value", "text"), [(0.123, "+0.12"), (-1.0, "-1.00"), (-0.001, "+0.00"), (0.0, "+0.00")])
def test_pp(value: float, text: str) -> None:
    assert pp(value) == text


def test_labels() -> None:
    snip = Cell(method="snip", sparsity=0.9, prune_at="0ep")
    assert label(snip) == "snip"
    assert label(snip, name_start=True) == "snip pruned at initialisation"
    later = Cell(method="snip", sparsity=0.9, prune_at="1000it", ablation="invert")
    assert label(later) == "snip pruned at 1000it, inverted"
    assert label(benchmark_cell("lottery-rewinding", 0.9)) == "lottery-rewinding"
    assert label(DENSE) == "dense"


def of(left: list[float], right: list[float], expectation: Expectation = "kept", margin: float = 0.5) -> Verdict:
    (experiment,) = experiments(
        table(rows("snip", left, ablation="shuffle", sparsity=0.95), rows("snip", right, sparsity=0.95))
    )
    return verdict(
        experiment,
        Cell(method="snip", sparsity=0.95, prune_at="0ep", ablation="shuffle"),
        Cell(method="snip", sparsity=0.95, prune_at="0ep"),
        claim="C3",
        expectation=expectation,
        counted=True,
        sparsity_range="matching",
        margin=margin,
    )


NONE = [90.0, 90.0, 90.0]


@pytest.mark.parametrize(
    ("left", "finding"),
    [
        ([90.1, 90.2, 90.3], "+0.20 pp [+0.03, +0.37] - equivalent"),
        ([95.0, 95.1, 94.9], "+5.00 pp [+4.83, +5.17] - better"),
        ([85.0, 85.1, 84.9], "-5.00 pp [-5.17, -4.83] - worse"),
        ([90.3, 90.8, 90.0], "+0.37 pp [-0.31, +1.05] - preserved"),
        ([90.5, 89.5, 90.0], "+0.00 pp [-0.84, +0.84] - inconclusive, 2 further replicates would settle it"),
        (
            [91.0, 90.0],
            "+0.50 pp - no verdict: 2 replicates of the 3 it takes (1 replicate left out: no result on one side)",
        ),
    ],
)
def test_statement(left: list[float], finding: str) -> None:
    assert of(left, NONE).statement == f"snip, shuffled within layers, vs snip at 95 % sparsity: {finding}"


def test_statement_without_any_pair() -> None:
    results = table(rows("snip", [90.0], status="failed"), rows("snip", [90.0], ablation="shuffle"))
    (experiment,) = experiments(results)
    shuffled = Cell(method="snip", sparsity=0.9, prune_at="0ep", ablation="shuffle")
    unmodified = Cell(method="snip", sparsity=0.9, prune_at="0ep")
    result = verdict(
        experiment,
        shuffled,
        unmodified,
        claim="C3",
        expectation="kept",
        counted=True,
        sparsity_range="undecided",
        margin=0.5,
    )
    assert result.statement.endswith(
        "sparsity: no verdict: 0 replicates of the 3 it takes (1 replicate left out: no result on one side)"
    )
    assert (result.replicates, result.dropped, result.holds, result.further_replicates) == (0, 1, None, None)


def test_statement_that_nothing_would_settle() -> None:
    result = of([10.0, 90.0, 50.0], [50.0, 50.0, 50.0])
    assert result.outcome == "inconclusive"
    assert result.further_replicates is None
    assert result.statement.endswith("- inconclusive, and 10,000 further replicates would not settle it")


@pytest.mark.parametrize(
    ("left", "outcome", "better", "worse", "kept"),
    [
        ([90.0, 90.1, 89.9], "equivalent", False, False, True),
        ([95.0, 95.1, 94.9], "better", True, False, True),
        ([85.0, 85.1, 84.9], "worse", False, True, False),
        ([90.3, 90.8, 90.0], "preserved", None, False, True),
        ([90.5, 89.5, 90.0], "inconclusive", None, None, None),
        ([90.5, 89.5], "no verdict", None, None, None),
    ],
)
def test_what_an_outcome_says_about_an_expectation(
    left: list[float], outcome: str, better: bool | None, worse: bool | None, kept: bool | None
) -> None:
    results = [of(left, NONE, expectation) for expectation in ("better", "worse", "kept")]
    assert {x.outcome for x in results} == {outcome}
    assert [x.holds for x in results] == [better, worse, kept]


def test_a_preserved_cell_says_how_many_replicates_tell_whether_it_is_better() -> None:
    result = of([90.3, 90.8, 90.0], NONE, "better")
    assert result.further_replicates == 3
    assert result.statement.endswith("preserved, 3 further replicates would settle it")
    assert of([90.3, 90.8, 90.0], NONE, "kept").further_replicates is None
