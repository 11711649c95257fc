import itertools
import re

import numpy as np
import pandas as pd

from prunemark.reports.check import check_words
from prunemark.stats import Judged, judge


def study(effects: dict[str, float], spread: float = 0.0005, status: str = "done") -> Judged:
    """The judged results of a method `mine` whose ablations (and rivals) differ from it by these fractions."""
    noise = np.random.default_rng(0)
    rows = []
    for sparsity, replicate in itertools.product((0.8, 0.95), range(5)):
        base = 0.9 + noise.normal(0, 0.001)
        cells = {("mine", "unmodified", "", "0ep"): 0.0}
        for name, effect in effects.items():
            if name == "random":
                cells["random", "unmodified", "", "0ep"] = effect
            elif name == "mark":
                cells["magnitude", "unmodified", "magnitude-after-training", "end"] = effect
            else:
                cells["mine", name, "", "0ep"] = effect
        for (method, ablation, benchmark, at), effect in cells.items():
            rows.append((method, ablation, benchmark, at, sparsity, replicate, base + effect + noise.normal(0, spread)))
    rows += [("dense", "unmodified", "", "", 0.0, replicate, 0.95) for replicate in range(5)]
    columns = ["method", "ablation", "benchmark", "prune_at", "sparsity", "replicate", "test_accuracy"]
    table = pd.DataFrame(rows, columns=columns).assign(
        study="s", network="n", dataset="d", density=lambda t: 1 - t["sparsity"], test_loss=0.1, train_seconds=1.0,
        status=status, job_key=lambda t: t.index.astype(str), code_version="0", torch_version="2", device="cpu",
    )  # fmt: skip
    return judge(table, margin=0.5)


def test_a_method_whose_choices_do_not_matter_and_that_misses_the_mark():
    words = check_words(study({"shuffle": 0.0, "reinit": 0.001, "invert": -0.3, "random": -0.2, "mark": 0.02}), "mine")
    # Nothing keeps up with the dense network here: all of it is extreme.
    assert [sentence.split(":")[1].strip() for sentence in words[:3]] == [
        "which weights it keeps within a layer does not matter",
        "the initial values of the weights do not matter",
        "the order of its scores means something",
    ]
    assert all(sentence.startswith("At extreme sparsities: ") for sentence in words)
    assert words[3].startswith("At extreme sparsities: it beats random pruning by +20.0")
    assert words[4].startswith("At extreme sparsities: it misses the mark: against magnitude pruning after training")


def test_a_method_whose_choices_matter():
    words = check_words(study({"shuffle": -0.05, "invert": 0.0, "mark": -0.05}), "mine")
    assert "within a layer matters: shuffling its masks costs accuracy, -5." in words[0]
    assert "the order of its scores means little" in words[1]
    assert "it hits the mark, within the margin" in words[2]


def test_an_open_question_says_how_many_replicates_would_close_it():
    words = check_words(study({"shuffle": -0.002}, spread=0.02), "mine")
    assert words[0].startswith("Whether it matters which weights it keeps within a layer is open")
    assert re.search(r"About \d+ more replicates? would tell, with a chance of \d+ %\.", words[0])


def test_a_method_none_of_whose_trials_finished_is_not_judged():
    judged = study({"shuffle": 0.0, "random": 0.0, "mark": 0.0}, status="failed")
    assert check_words(judged, "mine") == [
        "Nothing can be said of mine: none of its trials finished that could be compared with others."
    ]


def test_a_method_that_does_no_better_than_random_pruning_is_told_so():
    assert check_words(study({"random": 0.05}), "mine")[0].startswith("It does not beat random pruning by the margin")


def test_an_unfit_study_answers_nothing():
    (only,) = check_words(study({"shuffle": 0.0, "random": 0.0, "mark": -0.05}), "mine")
    assert only.startswith("This study cannot test the paper's claims: magnitude pruning after training does not stand")


def test_only_what_the_study_holds_is_answered():
    assert check_words(study({"shuffle": 0.0}), "mine")[1:] == []
    assert check_words(study({"shuffle": 0.0}), "other") == []
