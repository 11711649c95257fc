import itertools
import re
from typing import Any

import numpy as np
import pandas as pd

from prunemark.reports.check import answers, check_words
from prunemark.stats import Judged, judge
from prunemark.stats.rivals import rivals


def results(effects: dict[str, float], spread: float = 0.0005, status: str = "done", base: float = 0.9) -> pd.DataFrame:
    """The results of a method `mine` whose ablations (and rivals) differ from it by these fractions."""
    noise = np.random.default_rng(0)
    rows = []
    for sparsity, replicate in itertools.product((0.8, 0.95), range(5)):
        middle = base + noise.normal(0, 0.001)
        cells = {("mine", "unmodified", "", "0ep"): 0.0}
        for name, effect in effects.items():
            if name == "random":
                cells["random", "unmodified", "", "0ep"] = effect
            elif name == "rival":
                cells["snip", "unmodified", "", "0ep"] = effect
            elif name == "mark":
                cells["magnitude", "unmodified", "magnitude-after-training", "end"] = effect
            else:
                cells["mine", name, "", "0ep"] = effect
        for (method, ablation, benchmark, at), effect in cells.items():
            rows.append(
                (method, ablation, benchmark, at, sparsity, replicate, middle + effect + noise.normal(0, spread))
            )
    rows += [("dense", "unmodified", "", "", 0.0, replicate, 0.95) for replicate in range(5)]
    columns = ["method", "ablation", "benchmark", "prune_at", "sparsity", "replicate", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(
        study="s", network="n", dataset="d", density=lambda t: 1 - t["sparsity"], test_loss=0.1, train_seconds=1.0,
        status=status, job_key=lambda t: t.index.astype(str), code_version="0", torch_version="2", device="cpu",
    )  # fmt: skip


def study(effects: dict[str, float], **fields: Any) -> Judged:
    """`results`, judged."""
    return judge(results(effects, **fields), margin=0.5)


def test_a_method_whose_choices_do_not_matter_and_that_misses_the_mark():
    words = check_words(study({"shuffle": 0.0, "reinit": 0.001, "invert": -0.3, "random": -0.2, "mark": 0.02}), "mine")
    # Nothing keeps up with the dense network here: all of it is extreme.
    assert [sentence.split(":")[1].strip() for sentence in words[:3]] == [
        "which weights mine keeps within a layer does not matter",
        "the initial values of the weights do not matter to mine",
        "the order of the scores of mine means something",
    ]
    assert all(sentence.startswith("At extreme sparsities: ") for sentence in words)
    assert words[3].startswith("At extreme sparsities: mine beats random pruning by +20.0")
    assert words[4].startswith("At extreme sparsities: mine misses the mark: against magnitude pruning after training")


def test_a_method_whose_choices_matter():
    words = check_words(study({"shuffle": -0.05, "invert": 0.0, "mark": -0.05}), "mine")
    assert "within a layer matters: shuffling its masks costs accuracy, -5." in words[0]
    assert "the order of the scores of mine means little" in words[1]
    assert "mine hits the mark, within the margin" in words[2]


def test_an_open_question_says_how_many_replicates_would_close_it():
    words = check_words(study({"shuffle": -0.002}, spread=0.02), "mine")
    assert words[0].startswith("Whether it matters which weights mine keeps within a layer is open")
    assert re.search(r"About \d+ more replicates? would tell, with a chance of \d+ %\.", words[0])


def test_a_method_none_of_whose_trials_finished_is_not_judged():
    judged = study({"shuffle": 0.0, "random": 0.0, "mark": 0.0}, status="failed")
    assert check_words(judged, "mine") == [
        "Nothing can be said of mine: none of its trials finished that could be compared with others."
    ]


def test_a_method_that_does_no_better_than_random_pruning_is_told_so():
    assert check_words(study({"random": 0.05}), "mine")[0].startswith("mine does not beat random pruning by the margin")


def test_an_unfit_study_answers_nothing():
    (only,) = check_words(study({"shuffle": 0.0, "random": 0.0, "mark": -0.05}), "mine")
    assert only.startswith("This study cannot test the paper's claims: magnitude pruning after training does not stand")


def test_only_what_the_study_holds_is_answered():
    assert check_words(study({"shuffle": 0.0}), "mine")[1:] == []
    assert check_words(study({"shuffle": 0.0}), "other") == []


def test_a_method_against_others():
    for effect, spread, words in (
        (-0.05, 0.0005, "mine does better than snip, by +5.0"),
        (0.05, 0.0005, "mine does worse than snip, by -5.0"),
        (0.0, 0.0005, "mine does as well as snip, within the margin: it differs by "),
        (0.002, 0.02, "whether mine does better than snip is open: it differs by "),
    ):
        table = results({"rival": effect}, spread=spread)
        judged = judge(table, margin=0.5)
        found = rivals(table, judged.subjects[0], "mine", ["snip", "not-there"])
        said = check_words(judged, "mine", found)
        assert any(words in sentence.replace("Whether", "whether") for sentence in said), said
        assert not any("not-there" in sentence for sentence in said)
    told = answers(judged, "mine", found)
    assert list(told["question"])[-1] == "better than snip"
    assert list(told["answer"])[-1] == "open"
    assert set(told["method"]) == {"mine"}


def test_accuracies_at_chance_support_nothing():
    table = results({"shuffle": 0.0, "random": 0.0, "rival": 0.0}, base=0.1).assign(classes=10, test_images=10_000)
    judged = judge(table, margin=0.5)
    said = check_words(judged, "mine", rivals(table, judged.subjects[0], "mine", ["snip"]))
    assert said[0] == "Nothing can be said of mine: none of its trials finished that could be compared with others."
    assert said[1].endswith("questions about mine are not answered, because both sides are at chance.")
    assert set(answers(judged, "mine", [])["answer"]) == {"untested"}
