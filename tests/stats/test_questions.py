import numpy as np
import pytest

from prunemark.stats.cells import Cell, experiments
from prunemark.stats.claims import CLAIMS, family
from prunemark.stats.contrasts import effect, vacuous
from prunemark.stats.effects import Standard
from prunemark.stats.questions import Question, questions
from tests.stats.tables import rows, table, trained

EQUAL = [90.0, 90.1, 89.9]
LOWER = [85.0, 85.1, 84.9]


def asked(*parts: list[dict[str, object]], **options: object) -> dict[tuple[str, str], Question]:
    (experiment,) = experiments(table(*parts))
    return {(q.claim, q.subject): q for q in questions(experiment, **options)}  # pyright: ignore[reportArgumentType]


def sides(question: Question, sparsity: float = 0.9) -> tuple[set[str], set[str]]:
    """The left and the right side of a question, in words."""
    left, right = set[str](), set[str]()
    for cell, weight in question.contrasts[sparsity].items():
        name = " ".join(filter(None, [cell.benchmark or cell.method, cell.prune_at, cell.ablation]))
        (left if weight > 0 else right).add(name)
    return left, right


def test_what_each_claim_compares() -> None:
    names = ("unmodified", "shuffle", "reinit", "shuffle+reinit", "invert")
    mark = "magnitude-after-training"
    found = asked(
        rows("random", LOWER),
        *(rows("snip", EQUAL, ablation=name) for name in names),
        *(trained(EQUAL, ablation=name) for name in names),
    )
    assert {key: sides(q) for key, q in found.items()} == {
        ("C1", "snip"): ({"snip 0ep unmodified"}, {"random 0ep unmodified"}),
        ("C2", "snip"): ({"snip 0ep unmodified"}, {f"{mark} end unmodified"}),
        ("C3", "snip"): ({"snip 0ep shuffle"}, {"snip 0ep unmodified"}),
        ("C4", "snip"): ({"snip 0ep reinit"}, {"snip 0ep unmodified"}),
        ("C4b", "snip"): ({"snip 0ep shuffle+reinit"}, {"snip 0ep unmodified"}),
        ("C5b", "snip"): ({"snip 0ep invert"}, {"snip 0ep unmodified"}),
        ("C6a", mark): ({f"{mark} end shuffle"}, {f"{mark} end unmodified"}),
        ("C6b", mark): ({f"{mark} end reinit"}, {f"{mark} end unmodified"}),
    }
    assert {claim: q.predicate for (claim, _), q in found.items()} == {
        "C1": "beats",
        "C2": "hurts",
        "C3": "keeps",
        "C4": "keeps",
        "C4b": "keeps",
        "C5b": "hurts",
        "C6a": "hurts",
        "C6b": "hurts",
    }


@pytest.mark.parametrize(
    ("label", "claim"),
    [
        ("grasp", "C5a"),
        ("grasp:reversed", "C5a"),
        ("grasp:open-lth", "C5a"),
        ("grasp, 10 rounds", "C5a"),
        ("graspabs", "C5b"),
        ("snip", "C5b"),
        ("mine.py:grasp", "C5b"),
    ],
)
def test_inversion_is_expected_to_hurt_all_but_grasp(label: str, claim: str) -> None:
    found = asked(rows(label, EQUAL), rows(label, LOWER, ablation="invert"))
    assert list(found) == [(claim, label)]


def test_a_label_may_have_a_name_of_its_own() -> None:
    parts = (rows("mine", EQUAL), rows("mine", LOWER, ablation="invert"))
    assert list(asked(*parts, methods={"mine": "grasp:halves"})) == [("C5a", "mine")]
    assert family("grasp:halves") == family("grasp, 10 rounds") == "grasp"


def test_absolute_scores_are_held_against_the_same_setting() -> None:
    found = asked(*(rows(name, EQUAL) for name in ("graspabs", "grasp", "graspabs, 10 rounds")))
    assert list(found) == [("C8", "graspabs")]
    assert sides(found["C8", "graspabs"]) == ({"graspabs 0ep unmodified"}, {"grasp 0ep unmodified"})


def test_nothing_is_asked_of_random_the_dense_network_or_no_sparsity() -> None:
    assert not asked(
        rows("random", LOWER), rows("random", LOWER, prune_at="5ep"), rows("random", LOWER, ablation="shuffle")
    )
    assert not asked(rows("snip", EQUAL, sparsity=0.0), rows("random", EQUAL, sparsity=0.0))


class TestLater:
    STEPS = ("0ep", "1ep", "3ep", "7ep")

    def test_the_trend_is_the_gain_of_the_line_over_log2_of_the_step(self) -> None:
        # log2(1 + step) = 0, 1, 2, 3: one point a doubling is a gain of 3 points from first to last.
        found = asked(*(rows("snip", [90.0 + i, 91.0 + i, 89.0 + i], prune_at=at) for i, at in enumerate(self.STEPS)))
        (experiment,) = experiments(
            table(*(rows("snip", [90.0 + i, 91.0 + i, 89.0 + i], prune_at=at) for i, at in enumerate(self.STEPS)))
        )
        result = effect(experiment, found["C7a", "snip"].contrasts[0.9], Standard(margin=0.5))
        assert result.difference == pytest.approx(3.0)

    def test_the_slope_is_that_of_least_squares(self) -> None:
        steps = ("0it", "100it", "250it", "1000it")
        accuracies = np.random.default_rng(2).normal(90, 1, (4, 3))
        parts = [rows("snip", list(a), prune_at=at) for a, at in zip(accuracies, steps, strict=True)]
        contrast = asked(*parts)["C7a", "snip"].contrasts[0.9]
        (experiment,) = experiments(table(*parts))
        x = np.log2(1 + np.array([0, 100, 250, 1000]))
        slopes = [np.polyfit(x, accuracies[:, i], 1)[0] for i in range(3)]
        result = effect(experiment, contrast, Standard(margin=0.5))
        assert result.difference == pytest.approx(np.mean(slopes) * x[-1])

    def test_what_is_pruned_at_the_end_is_no_step_on_the_way(self) -> None:
        found = asked(*(rows("snip", EQUAL, prune_at=at) for at in ("0ep", "end")))
        assert not found

    def test_epochs_and_iterations_need_a_length(self) -> None:
        parts = [rows("snip", EQUAL, prune_at=at) for at in ("0ep", "2ep", "50it")]
        assert ("C7a", "snip") not in asked(*parts)
        contrast = asked(*parts, steps_per_epoch=100)["C7a", "snip"].contrasts[0.9]
        by_step = {cell.prune_at: weight for cell, weight in contrast.items()}
        assert by_step["0ep"] < by_step["50it"] < by_step["2ep"]

    def test_rewinding_must_be_to_the_same_step(self) -> None:
        found = asked(
            *(rows("snip", EQUAL, prune_at=at) for at in ("0ep", "2ep", "5ep")),
            trained(LOWER, "lottery-rewinding"),
            trained(LOWER, "lottery-rewinding:2.0ep"),
        )
        assert sides(found["C7b", "snip"]) == ({"snip 2ep unmodified"}, {"lottery-rewinding:2.0ep end unmodified"})

    def test_steps_are_averaged_within_a_replicate(self) -> None:
        parts = [rows("snip", [90.0 + i], prune_at=at) for i, at in enumerate(("2ep", "5ep"))]
        parts += [trained([89.0 + 4 * i], f"lottery-rewinding:{at}") for i, at in enumerate(("2ep", "5ep"))]
        (experiment,) = experiments(table(*parts))
        (question,) = questions(experiment)
        result = effect(experiment, question.contrasts[0.9], Standard(margin=0.5))
        assert result.difference == pytest.approx(((90 - 89) + (91 - 93)) / 2)


def test_both_sides_may_be_the_same_training() -> None:
    (experiment,) = experiments(table(rows("snip", EQUAL, job="x"), rows("snip", EQUAL, ablation="shuffle", job="x")))
    (question,) = questions(experiment)
    assert vacuous(experiment, question.contrasts[0.9])
    (apart,) = experiments(table(rows("snip", EQUAL), rows("snip", EQUAL, ablation="shuffle")))
    assert not vacuous(apart, questions(apart)[0].contrasts[0.9])


def test_every_claim_says_what_it_means() -> None:
    assert list(CLAIMS) == ["C0", "C1", "C2", "C3", "C4", "C4b", "C5a", "C5b", "C6a", "C6b", "C7a", "C7b", "C8"]
    assert all(claim.statement for claim in CLAIMS.values())
    assert not CLAIMS["C3"].left(Cell(method="random", sparsity=0.9, prune_at="0ep", ablation="shuffle"), "random")
