import dataclasses
import itertools
import math

import numpy as np
import pandas as pd

from prunemark.report.check import check_words
from prunemark.stats import verdicts


def study(effects: dict[str, float], spread: float = 0.0005) -> list:
    """Verdicts of a method `mine` whose ablations (and rivals) differ from it by these fractions."""
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
        status="done", job_key=lambda t: t.index.astype(str), code_version="0", torch_version="2", device="cpu",
    )  # fmt: skip
    return verdicts(table, margin=0.5)


def test_a_method_whose_choices_do_not_matter_and_that_misses_the_mark():
    words = check_words(study({"shuffle": 0.0, "reinit": 0.001, "invert": -0.3, "random": -0.2, "mark": 0.05}), "mine")
    assert [sentence.split(":")[0] for sentence in words[:3]] == [
        "Which weights it keeps within a layer does not matter",
        "The initial values of the weights do not matter",
        "The order of its scores means something",
    ]
    assert words[3].startswith("It beats random pruning by +19.99 pp [")
    assert words[4].startswith("It misses the mark")
    assert "at 80 %" in words[0]
    assert "at 95 %" in words[0]


def test_a_method_whose_choices_matter():
    words = check_words(study({"shuffle": -0.05, "invert": 0.0, "mark": -0.05}), "mine")
    assert words[0].startswith("Which weights it keeps within a layer matters: shuffling its masks costs accuracy, -5.")
    assert words[1].startswith("The order of its scores means little")
    assert words[2].startswith("It is not shown to miss the mark")


def test_an_open_question_says_how_many_replicates_would_close_it():
    words = check_words(study({"shuffle": -0.002}, spread=0.02), "mine")
    assert "is not settled" in words[0]
    assert "further replicates would tell." in words[0]


def test_a_method_none_of_whose_trials_finished_is_not_judged():
    judged = [
        dataclasses.replace(verdict, difference=math.nan, low=math.nan, high=math.nan, outcome="inconclusive")
        for verdict in study({"shuffle": 0.0, "random": 0.0, "mark": 0.0})
    ]
    assert check_words(judged, "mine") == [
        "Nothing can be said of mine: none of its trials finished that could be compared with others."
    ]
    # Where one sparsity has failed, the other is judged.
    failed = [verdict for verdict in judged if verdict.sparsity == 0.8]
    done = [verdict for verdict in study({"shuffle": 0.0}) if verdict.sparsity == 0.95]
    (words,) = [sentence for sentence in check_words([*failed, *done], "mine") if "within a layer" in sentence]
    assert "nan" not in words
    assert "95 %" in words
    assert "80 %" not in words


def test_a_method_that_random_pruning_beats_is_told_so():
    assert check_words(study({"random": 0.05}), "mine")[0].startswith("It is worse than random pruning, by -")


def test_without_intervals_there_are_only_differences():
    judged = [dataclasses.replace(v, low=math.nan, high=math.nan, outcome="none") for v in study({"random": -0.2})]
    (words,) = check_words(judged, "mine")
    assert "nan" not in words
    assert "+2" in words


def test_only_what_the_study_holds_is_answered():
    assert check_words(study({"shuffle": 0.0}), "mine")[1:] == []
    assert check_words(study({"shuffle": 0.0}), "other") == []
