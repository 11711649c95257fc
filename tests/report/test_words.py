import math

import pandas as pd
import pytest

from prunemark.report import words
from prunemark.stats import Claim, claims, ranges, verdicts
from tests.report.conftest import frame, make_results, row


def claim(**changes: object) -> Claim:
    base: dict[str, object] = {
        "study": "s",
        "network": "n",
        "dataset": "d",
        "claim": "C1",
        "statement": "…",
        "text": "…",
        "holds": None,
        "cells": 4,
        "supporting": 0,
        "against": 0,
        "undecided": 0,
    }
    return Claim(**(base | changes))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"cells": 0}, "not tested"),
        ({"supporting": 4, "holds": True}, "holds"),
        ({"supporting": 1, "against": 3, "holds": False}, "mixed"),
        ({"against": 4, "holds": False}, "does not hold"),
        ({"supporting": 3, "undecided": 1}, "not settled"),
    ],
)
def test_states(changes: dict[str, object], state: str) -> None:
    assert words.state(claim(**changes)) == state


def test_tally_counts_and_says_when_no_cell_counts(results: pd.DataFrame) -> None:
    found = verdicts(results)
    second = claims(found)[1]
    assert words.tally(second, words.about(second, found)) == "24 of 24 cells support it"
    open_ = claim(supporting=1, undecided=2, against=1)
    assert words.tally(open_, []) == "none in its scope; outside it, 1 of 4 cells support it, 1 against, 2 undecided"


def test_answer_names_every_claim_and_the_numbers(results: pd.DataFrame) -> None:
    found = verdicts(results)
    text = words.answer(results, claims(found), found)
    for name in ("C1", "C2 holds in every cell", "C7 was not tested", "the dense network 91.4 %"):
        assert name in text


def test_answer_of_an_incomplete_study() -> None:
    table = frame([row(method="dense", sparsity=0.0, prune_at="")])
    assert words.answer(table, [], []) == "This study has no comparison that tests one of the paper’s claims."
    plain = make_results(benchmarks=(), ablations=("unmodified",), replicates=1, sparsities=(0.9,))
    assert "At 90 % sparsity, the highest of the study" in words.answer(plain, [], [])


def test_answer_names_every_benchmark_at_its_own_step() -> None:
    table = make_results(
        benchmarks=("magnitude-after-training", "imp", "lottery-rewinding", "lottery-rewinding:2ep"),
        ablations=("unmodified",),
    )
    text = words.answer(table, [], [])
    assert "iterative magnitude pruning" in text
    assert text.count("rewinding") == 1


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
    rows += [row(**trained, sparsity=s, replicate=i, test_accuracy=a) for s, a in accuracies.items() for i in range(3)]
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


def test_ranges_without_the_mark_say_so() -> None:
    rows = [row(method="dense", sparsity=0.0, prune_at="", replicate=i, test_accuracy=0.9) for i in range(3)]
    rows += [row(method="random", sparsity=0.5, replicate=i, test_accuracy=0.5) for i in range(3)]
    (found,) = ranges(frame(rows))
    assert not found.mark_was_run
    assert words.ranges_sentence(found) == (
        "Of the sparsities run: undecided at 50 %. "
        "Magnitude pruning after training was not run, so that no sparsity is known to be matching."
    )
