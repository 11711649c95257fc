import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prunemark.stats import Looks, judge
from prunemark.stats.judging import Judged, Subject
from prunemark.stats.predicates import State
from tests.stats.tables import dense, rows, table, trained

RESULTS = Path(__file__).parents[2] / "docs" / "results"
COLUMNS = [
    *("study", "network", "dataset", "claim", "range", "subject", "state"),
    *("difference", "low", "high", "replicates"),
]
FLAT = [90.0, 90.1, 89.9, 90.05, 89.95]
JITTER = [0.1, -0.1, 0.0, -0.05, 0.05]


def near(accuracy: float) -> list[float]:
    """Five replicates around an accuracy, whose differences from FLAT are small and not far off one another."""
    return [accuracy + x for x in JITTER]


def states(judged: Judged, claim: str, range_: str | None = None) -> dict[str, State]:
    frame = judged.claims
    mine = frame[(frame["claim"] == claim) & ((frame["range"] == range_) if range_ else True)]
    return dict(zip(mine["subject"], mine["state"], strict=True))


def only(judged: Judged) -> Subject:
    (subject,) = judged.subjects
    return subject


class TestStudyInWhichThePaperIsRight:
    def test_every_claim_is_supported_where_it_is_tested(self, study: pd.DataFrame) -> None:
        judged = judge(study)
        frame = judged.claims
        tested = frame[frame["state"] != "untested"]
        assert set(tested["state"]) == {"supported"}
        assert set(tested["range"]) == {"matching", "extreme"}
        untested = set(frame["claim"]) - set(tested["claim"])
        # The fixture has no rewinding to the same step, no absolute GraSP and no double ablation.
        assert untested == {"C4b", "C7b", "C8"}

    def test_columns(self, study: pd.DataFrame) -> None:
        judged = judge(study)
        assert list(judged.claims.columns) == [*COLUMNS, "sparsities"]
        assert list(judged.cells.columns) == [*COLUMNS, "sparsity"]
        assert list(judged.ranges["matching"]) == [(0.9,)]
        assert set(judged.cells["sparsity"]) == {0.9, 0.99}
        json.dumps([finding.row().to_dict() for finding in only(judged).findings], allow_nan=False)

    def test_the_order_of_the_rows_does_not_matter(self, study: pd.DataFrame) -> None:
        shuffled = study.sample(frac=1.0, random_state=3).reset_index(drop=True)
        pd.testing.assert_frame_equal(judge(shuffled).claims, judge(study).claims)
        assert judge(shuffled).headline == judge(study).headline

    def test_each_study_is_judged_by_itself(self, study: pd.DataFrame) -> None:
        judged = judge(pd.concat([study, study.assign(study="other", network="vgg-16")]))
        assert [(one.study, one.network) for one in judged.subjects] == [("demo", "resnet-8"), ("other", "vgg-16")]
        assert judged.headline.startswith("resnet-8 on digits: At matching")
        assert "vgg-16 on digits: At matching" in judged.headline

    def test_the_headline_is_the_conclusion(self, study: pd.DataFrame) -> None:
        assert judge(study).headline == (
            "At matching sparsities (90 %) shuffling a mask within its layers keeps the accuracy of each of the 2 "
            "methods and costs magnitude pruning after training +5.00 [+5.00, +5.00] points more (+0.00 [-0.13, +0.13]"
            " points for the 2 methods, -5.00 [-5.13, -4.87] for magnitude pruning after training): what a method at "
            "initialisation chooses can be replaced by per-layer fractions."
        )

    def test_a_table_with_four_columns_and_ablations(self, study: pd.DataFrame) -> None:
        plain = study[["method", "ablation", "benchmark", "sparsity", "replicate", "test_accuracy"]]
        first = plain.drop_duplicates(["method", "ablation", "benchmark", "sparsity", "replicate"])
        assert states(judge(first), "C3", "matching")["all methods"] == "supported"


class TestWithinReplicateMean:
    def test_losses_and_gains_at_several_sparsities_are_one_number(self) -> None:
        # +-3 points at two sparsities cancel in each replicate; cells by themselves are far from settled.
        noise = np.random.default_rng(0).normal(0, 3, 5)
        parts = [rows("snip", FLAT, sparsity=s) for s in (0.8, 0.9)]
        parts += [rows("snip", list(np.array(FLAT) + noise), sparsity=0.8, ablation="shuffle")]
        parts += [rows("snip", list(np.array(FLAT) - noise), sparsity=0.9, ablation="shuffle")]
        judged = judge(table(*parts))
        assert states(judged, "C3") == {"snip": "supported", "all methods": "supported"}
        frame = judged.cells
        assert list(frame["state"]) == ["open", "open"]
        row = judged.claims[judged.claims["claim"] == "C3"].iloc[0]
        assert (row["range"], row["sparsities"], row["replicates"]) == ("all", (0.8, 0.9), 5)
        assert row["difference"] == pytest.approx(0.0, abs=1e-9)

    def test_a_replicate_that_lacks_one_sparsity_drops_out(self) -> None:
        parts = [rows("snip", FLAT, sparsity=s) for s in (0.8, 0.9)]
        parts += [rows("snip", near(90.0), sparsity=0.8, ablation="shuffle")]
        parts += [rows("snip", near(90.0)[:4], sparsity=0.9, ablation="shuffle")]
        finding = next(f for f in only(judge(table(*parts))).findings if f.claim == "C3")
        assert finding.effect is not None
        assert (finding.effect.replicates, finding.effect.dropped) == (4, 1)


class TestRanges:
    def test_matching_and_extreme_apart(self, study: pd.DataFrame) -> None:
        hurt = (study["method"] == "snip") & (study["ablation"] == "shuffle") & (study["sparsity"] == 0.99)
        results = study.assign(test_accuracy=study["test_accuracy"].where(~hurt, study["test_accuracy"] - 0.05))
        judged = judge(results)
        assert states(judged, "C3", "matching")["all methods"] == "supported"
        assert states(judged, "C3", "extreme") == {
            "grasp": "supported",
            "snip": "contradicted",
            "all methods": "contradicted",
        }
        extreme = only(judged).conclusions["extreme"]
        assert (extreme.whole.state, extreme.refuted) == ("contradicted", ("snip",))

    def test_cells_at_trivial_sparsities_are_shown_but_count_in_no_claim(self) -> None:
        parts = [dense(near(98.0))]
        parts += [rows("random", near(a), sparsity=s) for s, a in ((0.2, 98.0), (0.9, 80.0))]
        parts += [trained(near(98.0), sparsity=s) for s in (0.2, 0.9)]
        parts += [rows("snip", [a + 0.1 for a in near(98.0)], sparsity=s) for s in (0.2, 0.9)]
        judged = judge(table(*parts))
        cells = judged.cells[judged.cells["claim"] == "C1"]
        assert list(zip(cells["range"], cells["state"], strict=True)) == [
            ("trivial", "contradicted"),
            ("matching", "supported"),
        ]
        assert states(judged, "C1") == {"snip": "supported", "all methods": "supported"}


class TestTogether:
    def test_one_open_method_leaves_it_open(self) -> None:
        wide = [88.0, 92.0, 90.5, 89.0, 91.0]
        parts = [rows(name, FLAT) for name in ("snip", "synflow")]
        parts += [rows("snip", near(90.0), ablation="shuffle"), rows("synflow", wide, ablation="shuffle")]
        assert states(judge(table(*parts)), "C3") == {"snip": "supported", "synflow": "open", "all methods": "open"}

    def test_holm_over_the_methods(self) -> None:
        # One of eight is just beyond the margin at 5 %, which is no surprise among eight.
        parts = [rows(f"m{i}", FLAT) for i in range(8)]
        parts += [rows(f"m{i}", near(90.0), ablation="shuffle") for i in range(1, 8)]
        parts += [rows("m0", [a - x for a, x in zip(FLAT, (1.0, 0.6, 1.4, 0.6, 0.7), strict=True)], ablation="shuffle")]
        found = states(judge(table(*parts)), "C3")
        assert (found["m0"], found["all methods"]) == ("contradicted", "open")
        alone = judge(table(parts[0], parts[-1]))
        assert states(alone, "C3") == {"m0": "contradicted", "all methods": "contradicted"}

    def test_shared_trainings_count_once(self) -> None:
        parts: list[list[dict[str, object]]] = []
        for name in ("lottery-rewinding", "magnitude-after-training"):
            parts += [trained(near(90.0), name), trained(near(85.0), name, ablation="reinit", job="the same")]
            parts += [trained(near(84.0), name, ablation="shuffle")]
        judged = judge(table(*parts))
        subject = only(judged)
        assert "C6b (all): magnitude-after-training shares its trainings with lottery-rewinding" in subject.notes[0]
        assert [(f.claim, f.subject) for f in subject.questions] == [
            ("C6a", "lottery-rewinding"),
            ("C6a", "magnitude-after-training"),
            ("C6b", "lottery-rewinding"),
        ]
        assert subject.settled == (3, 3)

    def test_a_comparison_of_a_training_with_itself_says_nothing(self) -> None:
        parts = [rows("snip", FLAT, job="x"), rows("snip", FLAT, ablation="shuffle", job="x")]
        judged = judge(table(*parts))
        assert states(judged, "C3") == {"snip": "untested", "all methods": "untested"}
        assert "1 comparison counts in nothing: both sides are the same trainings." in only(judged).notes


class TestWhatCountsInNothing:
    def test_masks_that_were_chosen_by_position(self) -> None:
        results = table(
            *(rows("snip", FLAT, sparsity=s) for s in (0.8, 0.9)),
            *(rows("snip", near(a), sparsity=s, ablation="shuffle") for s, a in ((0.8, 90.0), (0.9, 70.0))),
        )
        assert states(judge(results), "C3")["snip"] == "contradicted"
        marked = results.assign(unscored=(results["sparsity"] == 0.9) & (results["ablation"] == "unmodified"))
        judged = judge(marked)
        row = judged.claims[judged.claims["claim"] == "C3"].iloc[0]
        assert (row["state"], row["sparsities"]) == ("supported", (0.8,))
        assert list(judged.cells["state"]) == ["supported", "untested"]

    def test_cells_in_which_both_sides_are_at_chance(self) -> None:
        low = [10.0, 10.4, 9.2, 12.0, 10.0]
        parts = [rows("snip", FLAT, sparsity=0.8), rows("snip", near(85.0), sparsity=0.8, ablation="invert")]
        parts += [rows("snip", low, sparsity=0.99), rows("snip", low[::-1], sparsity=0.99, ablation="invert")]
        judged = judge(table(*parts), chance={"digits": 10.0}, images={"digits": 500})
        row = judged.claims[judged.claims["claim"] == "C5b"].iloc[0]
        assert (row["state"], row["sparsities"]) == ("supported", (0.8,))
        # A side that mostly learns is not at the floor, whatever one replicate does.
        half = [90.0, 10.0, 91.0, 90.5, 90.2]
        parts[-1] = rows("snip", half, sparsity=0.99, ablation="invert")
        again = judge(table(*parts), chance=10.0, images=500).claims
        assert again[again["claim"] == "C5b"].iloc[0]["sparsities"] == (0.8, 0.99)


class TestConclusion:
    @staticmethod
    def results(methods: float, mark: float, spread: float = 1.0) -> pd.DataFrame:
        """Results in which shuffling adds so much to two methods and to magnitude after training."""
        flat = [90.0] * 5

        def around(change: float, order: int) -> list[float]:
            return [90 + change + spread * JITTER[(i + order) % 5] for i in range(5)]

        parts = [rows(name, flat) for name in ("snip", "synflow")]
        parts += [rows(name, around(methods, i), ablation="shuffle") for i, name in enumerate(("snip", "synflow"))]
        return table(*parts, trained(flat), trained(around(mark, 3), ablation="shuffle"))

    @pytest.mark.parametrize(
        ("methods", "mark", "state", "words"),
        [
            (0.0, -2.0, "supported", "can be replaced by per-layer fractions"),
            (0.0, 0.0, "contradicted", "There is no contrast to see at these sparsities"),
            (-2.0, -4.0, "contradicted", "cannot be replaced by per-layer fractions"),
            (-2.0, -2.0, "contradicted", "cannot be replaced by per-layer fractions"),
        ],
    )
    def test_states_and_words(self, methods: float, mark: float, state: State, words: str) -> None:
        judged = judge(self.results(methods, mark))
        conclusion = only(judged).conclusions["all"]
        assert states(judged, "C0")["all methods"] == state
        assert words in judged.headline
        assert conclusion.no_contrast is (words.startswith("There is no contrast"))
        assert conclusion.contrast.effect is not None
        # The contrast is what shuffling costs after training minus what it costs the methods.
        assert conclusion.contrast.effect.difference == pytest.approx(methods - mark, abs=0.05)

    def test_open_says_what_would_settle_it(self) -> None:
        judged = judge(self.results(0.0, -2.0, spread=25.0))
        assert states(judged, "C0")["all methods"] == "open"
        assert "it is open whether per-weight decisions" in judged.headline
        assert "more replicates settle the contrast with a chance of" in judged.headline

    def test_three_numbers(self) -> None:
        frame = judge(self.results(-0.1, -2.0)).claims
        parts = frame[frame["claim"].isin(["C0a", "C0b", "C0c"])]
        assert list(parts["difference"].round(2)) == [-0.1, -2.0, 1.9]
        assert list(parts["subject"]) == ["all methods", "magnitude-after-training", "all methods"]
        assert list(parts["state"]) == ["supported"] * 3

    def test_without_the_mark_it_is_not_tested(self) -> None:
        judged = judge(table(rows("snip", FLAT), rows("snip", near(90.0), ablation="shuffle")))
        assert states(judged, "C0")["all methods"] == "untested"
        assert "the paper's conclusion is not tested" in judged.headline

    def test_without_shuffles_the_headline_is_about_the_mark_and_names_all_methods(self) -> None:
        results = table(rows("snip", near(89.0)), rows("grasp", near(85.0)), rows("mag", near(90.0)), trained(FLAT))
        assert judge(results).headline == (
            "At all sparsities (90 %) grasp (-5.00 [-5.13, -4.87]) and snip (-1.00 [-1.13, -0.87]) miss the mark, "
            "magnitude pruning after training; mag (+0.00 [-0.13, +0.13]) reaches it."
        )


class TestStoredResults:
    """Numbers of an independent evaluation of the same files (mean over methods and sparsities in each replicate)."""

    def test_digits_beyond_matching(self) -> None:
        judged = judge(pd.read_csv(RESULTS / "digits" / "laptop-digits.csv"), images=500)
        extreme = only(judged).conclusions["extreme"]
        found = [
            (f.effect.difference, f.effect.low, f.effect.high)
            for f in (extreme.methods, extreme.mark, extreme.contrast)
            if f.effect
        ]
        expected = [(-1.14, -1.73, -0.54), (-3.51, -3.83, -3.18), (2.37, 1.91, 2.83)]
        assert np.allclose(found, expected, atol=0.006)
        assert "There is no contrast to see at these sparsities" in judged.headline

    def test_fashion_beyond_matching(self) -> None:
        judged = judge(pd.read_csv(RESULTS / "fashion-mnist" / "laptop-fashion-mnist.csv"), images=10_000)
        extreme = only(judged).conclusions["extreme"]
        found = [
            (f.effect.difference, f.effect.low, f.effect.high)
            for f in (extreme.methods, extreme.mark, extreme.contrast)
            if f.effect
        ]
        expected = [(-0.62, -1.46, 0.22), (-2.31, -2.72, -1.91), (1.69, 0.48, 2.91)]
        assert np.allclose(found, expected, atol=0.006)


class TestLooks:
    def test_intervals_are_those_of_the_look_and_holm_has_the_levels_of_its_share(self) -> None:
        parts = [rows("snip", FLAT), rows("snip", [a - 1.2 for a in near(90.0)], ablation="shuffle")]
        fixed, growing = judge(table(*parts)), judge(table(*parts), looks=Looks())
        a, b = (next(f for f in only(one).findings if f.claim == "C3").effect for one in (fixed, growing))
        assert a is not None
        assert b is not None
        assert (b.look, b.looks) == (2, 5)
        assert b.high - b.low > a.high - a.low
        assert states(growing, "C3") == {"snip": "contradicted", "all methods": "contradicted"}

    def test_an_arm_that_stopped_earlier_is_at_an_earlier_look(self) -> None:
        parts = [rows("snip", FLAT), rows("snip", near(90.0)[:3], ablation="shuffle")]
        effect = next(f for f in only(judge(table(*parts), looks=Looks())).findings if f.claim == "C3").effect
        assert effect is not None
        assert (effect.look, effect.replicates) == (1, 3)

    def test_what_a_study_with_looks_may_ask_to_be_settled(self) -> None:
        left, right = {0.5: FLAT, 0.9: FLAT}, {0.5: near(90.0), 0.9: [80.0, 99.0, 85.0, 95.0, 90.0]}
        parts = [rows("snip", left[s], sparsity=s) for s in left]
        parts += [rows("snip", right[s], sparsity=s, ablation="shuffle") for s in right]
        subject = only(judge(table(*parts), looks=Looks()))
        assert subject.settled_of("claims") == subject.settled
        states = [cell.state for cell in subject.cells if cell.state != "untested"]
        assert {"open", "supported"} <= set(states)
        assert subject.settled_of("cells") == (len(states) - states.count("open"), len(states))


def test_outliers_are_shown_with_and_without() -> None:
    off = [90.0, 90.1, 10.0, 89.9, 90.0]
    judged = judge(table(rows("snip", FLAT), rows("snip", off, ablation="shuffle")))
    (note,) = (note for note in only(judged).notes if note.startswith("C3 (all), snip"))
    assert note.startswith("C3 (all), snip: replicate 2 is more than five median deviations off; without it")


def test_nothing_from_nothing() -> None:
    judged = judge(table())
    assert judged.subjects == ()
    assert judged.claims.empty
    assert judged.headline == ""


@pytest.mark.parametrize("margin", [0.0, -0.5, math.nan])
def test_a_margin_that_is_none(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        judge(table(rows("snip", FLAT)), margin=margin)


def test_every_finding_says_what_it_is_about(study: pd.DataFrame) -> None:
    subject = only(judge(study))
    findings = [*subject.findings, *subject.cells, *subject.fitness.above_random]
    assert all(finding.statement for finding in findings)
    assert {f.size for f in subject.findings if f.claim == "C2"} == {"beyond the margin"}


def test_importing_stats_imports_neither_torch_nor_the_slow_libraries() -> None:
    heavy = "{'torch', 'scipy', 'pandas'}"
    code = f"import sys, prunemark.stats; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_with_two_margins_for_one_study_is_refused(study: pd.DataFrame) -> None:
    margins = [0.5] * (len(study) - 1) + [1.0]
    with pytest.raises(ValueError, match=r"^results: column margin says 0\.5 and 1\.0 of demo/resnet-8/digits$"):
        judge(study.assign(margin=margins))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("looks", "5", 'looks are written like "3 to 20"'),
        ("looks", "2 to 20", "looks need 3 <= min"),
        ("test_images", 0.5, "0.5 is not a whole number from 1"),
    ],
)
def test_a_column_that_says_nothing_sensible_is_refused(
    study: pd.DataFrame, column: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^results: demo/resnet-8/digits: {message}"):
        judge(study.assign(**{column: value}))


def test_the_headline_names_methods_as_it_is_told(study: pd.DataFrame) -> None:
    judged = judge(study[(study["ablation"] == "unmodified")])
    assert "snip" in judged.headline
    assert judged.headline_with(str.upper) == judged.headline.replace("snip", "SNIP").replace("grasp", "GRASP")
