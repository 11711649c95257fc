import math
from dataclasses import replace

import pandas as pd
import pytest

from prunemark.reports import words
from prunemark.stats import Subject, judge, ranges
from tests.reports.conftest import frame, make_results, row


def subject_of(table: pd.DataFrame) -> Subject:
    (subject,) = judge(table).subjects
    return subject


def test_outcomes_are_those_of_all_or_are_counted(results: pd.DataFrame) -> None:
    found = words.by_claim(subject_of(results).findings)
    assert words.standing(found["C2"]["extreme"]) == "supported"
    assert words.divided(found["C2"]["extreme"]) == "4 supported"
    one, *_ = found["C2"]["extreme"]
    several = [one, replace(one, state="open"), replace(one, state="open")]
    assert words.together(several) is None
    assert words.standing(several) == "1 supported, 2 open"
    assert words.standing([one]) == "supported"


def test_answer_gives_the_conclusion_and_names_every_method(results: pd.DataFrame) -> None:
    first, *more = words.answer(results, subject_of(results))
    text = " ".join([first, *more])
    assert "shuffling" in first
    for name in ("SNIP", "GraSP", "SynFlow", "the dense network 91.4 %"):
        assert name in text
    assert "the best method" not in text


def test_answer_of_an_incomplete_study() -> None:
    table = frame([row(method="dense", sparsity=0.0, prune_at="")])
    assert "the paper's conclusion is not tested" in words.answer(table, subject_of(table))[0]
    plain = make_results(benchmarks=(), ablations=("unmodified",), replicates=1, sparsities=(0.9,))
    assert "At 90 % sparsity, the highest of the study" in words.answer(plain, subject_of(plain))[-1]


def test_answer_names_every_benchmark_at_its_own_step() -> None:
    table = make_results(
        benchmarks=("magnitude-after-training", "imp", "lottery-rewinding", "lottery-rewinding:2ep"),
        ablations=("unmodified",),
    )
    text = " ".join(words.answer(table, subject_of(table)))
    assert "iterative magnitude pruning" in text
    assert text.count("lottery ticket rewinding") == 1


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        (
            {0.2: 0.9, 0.5: 0.9, 0.9: 0.5},
            "Of the sparsities run: matching at 20 to 50 %, extreme at 90 %. Highest matching sparsity: 50 %.",
        ),
        (
            {0.2: 0.5},
            "Of the sparsities run: extreme at 20 %. "
            "Magnitude pruning after training is not shown to match the dense network at any of them.",
        ),
        ({}, "No sparsity was run."),
    ],
)
def test_ranges_in_words(accuracies: dict[float, float], sentence: str) -> None:
    rows = [row(method="dense", sparsity=0.0, prune_at="", replicate=i, test_accuracy=0.9) for i in range(3)]
    trained = {"method": "magnitude", "benchmark": "magnitude-after-training", "prune_at": "end"}
    # Not rounded: of accuracies with two decimals, differences below a point are not known.
    rows += [
        row(**trained, sparsity=s, replicate=i, test_accuracy=a + 1e-5 * i)
        for s, a in accuracies.items()
        for i in range(3)
    ]
    rows += [row(method="random", sparsity=s, replicate=i, test_accuracy=0.4) for s in accuracies for i in range(3)]
    (found,) = ranges(frame(rows))
    assert words.ranges_sentence(found) == sentence


def test_missing_runs_are_counted() -> None:
    nan = math.nan
    rows = [row(replicate=i, status=s, test_accuracy=nan) for i, s in enumerate(("failed", "failed", "done"))]
    assert words.missing(frame(rows)) == "2 of 3 runs failed and are left out."
    assert words.missing(frame([row()])) == ""
    two = frame([row(status="diverged"), row(status="diverged", replicate=1)])
    assert words.missing(two) == "2 diverged and count with the accuracies they ended with."
    lost = two.assign(metric="loss", metric_value=[0.3, math.nan])
    assert words.missing(lost) == (
        "1 diverged and counts with the accuracy it ended with. "
        "1 diverged without a number, and no comparison with it has a verdict."
    )


def test_ranges_without_the_mark_say_so() -> None:
    rows = [row(method="dense", sparsity=0.0, prune_at="", replicate=i, test_accuracy=0.9) for i in range(3)]
    rows += [row(method="random", sparsity=0.5, replicate=i, test_accuracy=0.5) for i in range(3)]
    (found,) = ranges(frame(rows))
    assert not found.mark_was_run
    assert words.ranges_sentence(found) == (
        "Of the sparsities run: undecided at 50 %. "
        "Magnitude pruning after training was not run, so that no sparsity is known to be matching."
    )
