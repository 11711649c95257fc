import math
import subprocess
import sys

import pandas as pd
import pytest

from prunemark.stats import Claim, Verdict, claims, ranges, verdicts
from prunemark.stats.tallies import CLAIMS
from tests.stats.tables import dense, rows, table, trained

EQUAL = [90.0, 90.1, 89.9]
LOWER = [85.0, 85.1, 84.9]
OPEN = [88.0, 92.0, 90.5]


def of(results: pd.DataFrame, claim: str, **options: float) -> list[Verdict]:
    return [item for item in verdicts(results, **options) if item.claim == claim]


def by_claim(results: pd.DataFrame) -> dict[str, Claim]:
    return {item.claim: item for item in claims(verdicts(results))}


def test_a_study_in_which_the_paper_is_right(study: pd.DataFrame) -> None:
    found = by_claim(study)
    assert list(found) == list(CLAIMS) == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]
    assert {name: item.holds for name, item in found.items()} == dict.fromkeys(CLAIMS, True)
    # Two methods: C1 at the one matching sparsity, C2 to C5 at two; C6 two benchmarks, two ablations, two
    # sparsities; C7 two methods, two sparsities, two comparisons.
    assert {name: item.cells for name, item in found.items()} == {
        "C1": 2,
        "C2": 4,
        "C3": 4,
        "C4": 4,
        "C5": 4,
        "C6": 8,
        "C7": 8,
    }
    assert found["C3"].text == "holds: 4 of 4 cells for it, 0 against, 0 undecided"
    assert found["C3"].statement == "Shuffling within layers keeps or improves accuracy"


def test_every_comparison_and_no_other(study: pd.DataFrame) -> None:
    at_90 = {(x.claim, x.left, x.right) for x in verdicts(study) if x.sparsity == 0.9 and x.method != "grasp"}
    benchmarks = ("magnitude-after-training", "lottery-rewinding")
    assert at_90 == {
        ("C1", "snip", "random"),
        ("C2", "snip", "magnitude-after-training"),
        ("C2", "snip pruned at 1000it", "magnitude-after-training"),
        ("C3", "snip, shuffled within layers", "snip"),
        ("C4", "snip, reinitialised", "snip"),
        ("C5", "snip, inverted", "snip"),
        ("C7", "snip pruned at 1000it", "snip pruned at initialisation"),
        ("C7", "snip pruned at 1000it", "lottery-rewinding"),
        *(("C6", f"{name}, {x}", name) for name in benchmarks for x in ("shuffled within layers", "reinitialised")),
    }


def test_a_verdict_describes_its_left_side(study: pd.DataFrame) -> None:
    (item,) = (x for x in of(study, "C6") if x.sparsity == 0.9 and "lottery" in x.left and "shuffled" in x.left)
    assert (item.method, item.benchmark, item.ablation) == ("magnitude", "lottery-rewinding", "shuffle")
    assert (item.study, item.network, item.dataset) == ("demo", "resnet-8", "digits")
    assert (item.prune_at, item.sparsity_range, item.margin) == ("end", "matching", 0.5)
    assert (item.replicates, item.dropped, item.outcome, item.expectation) == (5, 0, "worse", "worse")
    assert item.difference == pytest.approx(-5.0)
    assert item.low < -5 < item.high < 0
    assert item.further_replicates is None


def test_the_order_of_the_rows_does_not_matter(study: pd.DataFrame) -> None:
    shuffled = study.sample(frac=1.0, random_state=3).reset_index(drop=True)
    assert verdicts(shuffled) == verdicts(study)


def test_swapping_methods_names_swaps_their_verdicts(study: pd.DataFrame) -> None:
    renamed = study.assign(method=study["method"].replace({"snip": "mine.py:score"}))
    before = [x for x in verdicts(study) if x.method == "snip"]
    after = [x for x in verdicts(renamed) if x.method == "mine.py:score"]
    assert [(x.claim, x.outcome, x.holds, x.expectation) for x in after] == [
        (x.claim, x.outcome, x.holds, x.expectation) for x in before
    ]


class TestC1:
    def test_runs_over_matching_sparsities_only(self, study: pd.DataFrame) -> None:
        items = of(study, "C1")
        assert {(x.sparsity, x.sparsity_range, x.counted) for x in items} == {
            (0.9, "matching", True),
            (0.99, "extreme", False),
        }

    def test_a_loss_at_an_extreme_sparsity_does_not_matter(self) -> None:
        results = table(
            dense([98.0, 98.1, 97.9]),
            rows("random", LOWER, sparsity=0.9),
            rows("random", EQUAL, sparsity=0.99),
            rows("snip", EQUAL, sparsity=0.9),
            rows("snip", LOWER, sparsity=0.99),
            trained([98.0, 98.0, 98.1], sparsity=0.9),
            trained(EQUAL, sparsity=0.99),
        )
        assert [x.holds for x in of(results, "C1")] == [True, False]
        assert by_claim(results)["C1"].text == "holds: 1 of 1 cells for it, 0 against, 0 undecided"

    def test_without_a_matching_sparsity_it_goes_cell_by_cell(self) -> None:
        results = table(rows("random", LOWER), rows("snip", EQUAL), rows("synflow", LOWER))
        found = by_claim(results)["C1"]
        assert (found.holds, found.cells, found.supporting, found.against) == (None, 2, 1, 1)
        assert found.text == (
            "no cell at initialisation and a sparsity established as matching, so cell by cell: "
            "1 of 2 cells for it, 1 against, 0 undecided"
        )

    def test_preserved_leaves_it_open(self) -> None:
        (item,) = of(table(rows("random", EQUAL), rows("snip", [90.3, 90.9, 89.9])), "C1")
        assert (item.outcome, item.holds) == ("preserved", None)
        assert item.further_replicates is not None

    def test_random_pruned_later_is_compared_at_the_same_step(self) -> None:
        results = table(rows("random", LOWER, prune_at="5ep"), rows("snip", EQUAL, prune_at="5ep"), rows("snip", EQUAL))
        (item,) = of(results, "C1")
        assert (item.left, item.right) == ("snip pruned at 5ep", "random pruned at 5ep")
        assert not item.counted


@pytest.mark.parametrize(
    ("method", "expectation"),
    [
        ("grasp", "kept"),
        ("grasp:reversed", "kept"),
        ("grasp:halves", "kept"),
        ("graspabs", "worse"),
        ("snip", "worse"),
        ("synflow", "worse"),
        ("mine.py:score", "worse"),
    ],
)
def test_c5_expects_inversion_to_hurt_all_but_grasp(method: str, expectation: str) -> None:
    results = table(rows(method, EQUAL), rows(method, LOWER, ablation="invert"))
    (item,) = of(results, "C5")
    assert (item.expectation, item.outcome) == (expectation, "worse")
    assert item.holds is (expectation == "worse")


@pytest.mark.parametrize(("claim", "ablation"), [("C3", "shuffle"), ("C4", "reinit")])
def test_c3_and_c4_count_initialisation_only(claim: str, ablation: str) -> None:
    results = table(
        *(rows("snip", EQUAL, prune_at=at) for at in ("0it", "end")),
        rows("snip", EQUAL, ablation=ablation, prune_at="0it"),
        rows("snip", LOWER, ablation=ablation, prune_at="end"),
    )
    assert [(x.prune_at, x.counted, x.holds) for x in of(results, claim)] == [
        ("0it", True, True),
        ("end", False, False),
    ]
    assert by_claim(results)[claim].holds is True


def test_c6_runs_over_every_benchmark_that_was_ablated() -> None:
    ablated = ("imp", "imp-rewinding", "imp-rewinding:10ep", "imp-rewinding:2ep", "lottery-rewinding:0ep")
    parts = [trained(EQUAL, name) for name in (*ablated, "magnitude-after-training")]
    parts += [trained(LOWER, name, ablation=x) for name in ablated for x in ("shuffle", "reinit", "invert")]
    items = of(table(*parts), "C6")
    order = ("imp", "imp-rewinding:2ep", "imp-rewinding:10ep", "imp-rewinding", "lottery-rewinding:0ep")
    assert {(x.benchmark, x.right, x.ablation) for x in items} == {
        (name, name, x) for name in order for x in ("shuffle", "reinit")
    }
    assert all(x.counted and x.holds for x in items)
    steps = [x.benchmark for x in items if x.ablation == "shuffle" and ":" in x.benchmark]
    assert steps == ["imp-rewinding:2ep", "imp-rewinding:10ep", "lottery-rewinding:0ep"]


def test_iterative_pruning_is_no_yardstick_of_c2_nor_of_the_ranges() -> None:
    results = table(dense(EQUAL), rows("snip", EQUAL), trained(EQUAL, "imp"), trained(EQUAL, "imp-rewinding"))
    assert of(results, "C2") == []
    assert ranges(results)[0].undecided == (0.9,)


class TestC7:
    def test_what_is_pruned_at_the_end_is_not_held_against_rewinding(self) -> None:
        results = table(
            *(rows("magnitude", EQUAL, prune_at=at) for at in ("0ep", "5ep", "end")),
            trained([95.0, 95.1, 95.2], "lottery-rewinding"),
        )
        assert [(x.left, x.right) for x in of(results, "C7")] == [
            ("magnitude pruned at end", "magnitude pruned at initialisation"),
            ("magnitude pruned at 5ep", "magnitude pruned at initialisation"),
            ("magnitude pruned at 5ep", "lottery-rewinding"),
        ]

    def test_a_method_pruned_at_a_step_is_held_against_rewinding_to_that_step(self) -> None:
        steps = ("0ep", "2ep", "5ep", "10ep")
        results = table(
            *(rows("snip", EQUAL, prune_at=at, sparsity=s) for at in steps for s in (0.9, 0.95)),
            *(trained(LOWER, "lottery-rewinding", sparsity=s) for s in (0.9, 0.95)),
            trained(LOWER, "lottery-rewinding:0ep"),
            trained([95.0, 95.1, 95.2], "lottery-rewinding:2.0ep"),
            trained(LOWER, "lottery-rewinding:10ep", ablation="shuffle"),
            trained(LOWER, "imp-rewinding:5ep"),
        )
        against = {
            (x.prune_at, x.sparsity): (x.right, x.holds) for x in of(results, "C7") if "initialisation" not in x.right
        }
        assert against == {
            ("2ep", 0.9): ("lottery-rewinding:2.0ep", True),
            ("2ep", 0.95): ("lottery-rewinding", False),
            ("5ep", 0.9): ("lottery-rewinding", False),
            ("5ep", 0.95): ("lottery-rewinding", False),
            ("10ep", 0.9): ("lottery-rewinding", False),
            ("10ep", 0.95): ("lottery-rewinding", False),
        }

    def test_rewinding_that_failed_is_still_what_it_is_held_against(self) -> None:
        results = table(
            *(rows("snip", EQUAL, prune_at=at) for at in ("0ep", "2ep")),
            trained(LOWER, "lottery-rewinding"),
            trained([math.nan] * 3, "lottery-rewinding:2ep", status="failed"),
        )
        (item,) = (x for x in of(results, "C7") if x.right.startswith("lottery"))
        assert (item.right, item.outcome, item.holds) == ("lottery-rewinding:2ep", "no verdict", None)

    def test_without_rewinding_only_initialisation_is_left(self) -> None:
        results = table(
            *(rows("snip", EQUAL, prune_at=at) for at in ("0ep", "2ep")), trained(LOWER, "lottery-rewinding:5ep")
        )
        assert [x.right for x in of(results, "C7")] == ["snip pruned at initialisation"]

    def test_steps_are_in_order(self) -> None:
        results = table(*(rows("snip", EQUAL, prune_at=at) for at in ("0ep", "1000it", "500it", "2000it")))
        assert [x.prune_at for x in of(results, "C7")] == ["500it", "1000it", "2000it"]


def test_no_claim_is_made_about_random_or_the_dense_network() -> None:
    parts = [dense(EQUAL), trained(EQUAL), trained(EQUAL, "lottery-rewinding")]
    parts += [rows("random", LOWER, prune_at=at) for at in ("0ep", "5ep")]
    assert verdicts(table(*parts)) == []
    at_zero = [trained(EQUAL, name, sparsity=0.0) for name in ("magnitude-after-training", "lottery-rewinding")]
    assert verdicts(table(dense(EQUAL), *at_zero)) == []


class TestSummary:
    def test_one_cell_against_it_is_enough(self, study: pd.DataFrame) -> None:
        shuffled = (study["method"] == "snip") & (study["ablation"] == "shuffle") & (study["sparsity"] == 0.99)
        hurt = study.assign(test_accuracy=study["test_accuracy"].where(~shuffled, study["test_accuracy"] - 0.05))
        found = by_claim(hurt)["C3"]
        assert (found.holds, found.cells, found.supporting, found.against, found.undecided) == (False, 4, 3, 1, 0)
        assert found.text == "does not hold: 3 of 4 cells for it, 1 against, 0 undecided"

    def test_an_open_cell_leaves_the_claim_open(self) -> None:
        results = table(
            *(rows(name, EQUAL) for name in ("snip", "synflow")),
            rows("snip", EQUAL, ablation="shuffle"),
            rows("synflow", OPEN, ablation="shuffle"),
        )
        found = by_claim(results)["C3"]
        assert (found.holds, found.text) == (None, "undecided: 1 of 2 cells for it, 0 against, 1 undecided")

    def test_two_replicates_give_no_verdict_and_no_claim(self, study: pd.DataFrame) -> None:
        two = study[study["replicate"] < 2]
        assert {x.outcome for x in verdicts(two)} == {"no verdict"}
        assert {x.holds for x in claims(verdicts(two))} == {None}

    def test_what_was_not_run_is_not_tested(self) -> None:
        found = by_claim(table(rows("snip", EQUAL), rows("snip", EQUAL, ablation="shuffle")))
        assert found["C3"].holds is True
        assert (found["C6"].holds, found["C6"].cells) == (None, 0)
        assert found["C6"].text == "not tested: the study has no such comparison"

    def test_cells_against_it_at_trivial_sparsities_are_pointed_out(self) -> None:
        same = [98.0, 98.1, 97.9]
        results = table(dense(same), rows("random", same), trained(same), rows("snip", same))
        found = by_claim(results)["C2"]
        assert found.holds is False
        assert found.text.endswith(
            "(1 of those against at trivial sparsities, where random pruning reaches dense accuracy)"
        )

    def test_each_study_has_its_own_claims(self, study: pd.DataFrame) -> None:
        other = study.assign(study="other", test_accuracy=0.5)
        found = claims(verdicts(pd.concat([other, study])))
        assert [(x.study, x.claim) for x in found] == [(s, c) for s in ("demo", "other") for c in CLAIMS]
        assert [x.holds for x in found[7:]] == [None, False, True, True, False, False, False]

    def test_nothing_from_nothing(self) -> None:
        assert verdicts(table()) == []
        assert claims([]) == []


def test_a_failed_run_drops_out_in_pairs(study: pd.DataFrame) -> None:
    failed = (study["method"] == "snip") & (study["replicate"] == 1) & (study["ablation"] == "unmodified")
    results = study.assign(
        status=study["status"].where(~failed, "failed"), test_accuracy=study["test_accuracy"].where(~failed, math.nan)
    )
    items = [x for x in of(results, "C3") if x.method == "snip"]
    assert [(x.replicates, x.dropped, x.outcome) for x in items] == [(4, 1, "equivalent")] * 2


def test_the_margin_reaches_every_verdict(study: pd.DataFrame) -> None:
    assert {x.margin for x in verdicts(study, margin=2.0)} == {2.0}
    assert {x.outcome for x in of(study, "C7", margin=99.0)} == {"equivalent"}
    with pytest.raises(ValueError, match="margin"):
        verdicts(study, margin=0.0)


def test_importing_stats_imports_neither_torch_nor_the_slow_libraries() -> None:
    heavy = "{'torch', 'scipy', 'pandas'}"
    code = f"import sys, prunemark.stats; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
