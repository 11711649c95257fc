import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prunemark.datasets import dataset
from prunemark.pruning.quotas import _QUOTA_RULES
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from prunemark.terms.looks import Looks
from prunemark.terms.quotas import QUOTAS
from tests.study.conftest import FILE, TINY


def problems(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        Study(**(TINY | changes))
    return caught.value.problems


def test_a_network_that_does_not_fit_the_data_hides_no_other_problem() -> None:
    found = problems(network="vgg-16", recipe={"epochs": 1}, rewind_to="999ep", examples_per_class=1000)
    assert [problem.split(": ")[1] for problem in found] == ["rewind_to", "examples_per_class", "dataset"]
    assert found[-1] == "Study: dataset: vgg-16: images must be at least 17x17 pixels, not 8x8"


def test_defaults_of_what_a_study_may_leave_out() -> None:
    study = Study(name="s", network="resnet-8", dataset="digits", methods=["snip"], sparsities=[0.5])
    assert study.replicates == 3
    assert study.prune_at == ("0ep",)
    assert (study.benchmarks, study.ablations) == ((), ())
    assert (study.seed, study.margin, study.examples_per_class) == (0, 0.5, 10)
    assert (study.scoring_batch, study.normalise) == (250, "own")
    assert study.rewind_step == str(study.full_recipe.rewind_to) == "1ep"


def test_a_study_and_a_data_set_are_shown_in_a_line() -> None:
    assert repr(Study.load("quickstart")) == (
        'Study("quickstart": lenet-300-100 on fashion-mnist-small, 4 methods, 1 benchmark, 1 ablation, 2 sparsities, '
        "5 replicates)"
    )
    several = Study(**(TINY | {"replicates": {"min": 3, "max": 9}, "ablations": []}))
    assert repr(several) == (
        f'Study("tiny": lenet-300-100 on digits, 3 methods, 1 benchmark, 1 sparsity, {several.looks})'
    )
    data = dataset("digits")
    assert repr(data) == 'Dataset("digits": 1,297 train and 500 test examples, 1x8x8, 10 classes)'
    assert repr(data.test) == "Split(500 examples, 1x8x8)"


def test_a_study_does_not_change() -> None:
    study = Study(**TINY)
    with pytest.raises(ValueError, match="frozen"):
        study.seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "a b"}, 'Study: name: is made of letters'),
        ({"network": "resnt-20"}, 'did you mean "resnet-20"?'),
        ({"dataset": "digit"}, 'Study: dataset: unknown dataset "digit"'),
        ({"methods": ["snip", "snipp"]}, 'Study: methods[1]: unknown method "snipp"; known: '),
        ({"methods": ["snip", "snipp"]}, '; did you mean "snip"?'),
        ({"methods": [{"name": "snip", "round": 2}]}, 'Study: methods[0]: unknown key "round"; known: label, name'),
        ({"methods": [{"name": "snip", "rounds": 0}]}, "methods[0].rounds: must be greater than or equal to 1, not 0"),
        ({"methods": [{"name": "snip", "quotas": "erkk"}]}, 'Study: methods[0].quotas: unknown quota rule "erkk"'),
        (
            {"methods": [{"name": "snip", "quotas": {"fc1.*": 1.0}}]},
            'Study: methods[0].quotas: "fc1.*": sparsity is the pruned fraction, in [0, 1), not 1.0',
        ),
        ({"methods": [{"name": "snip", "quotas": {}}]}, "Study: methods[0].quotas: is a name (uniform, uniform-plus,"),
        ({"methods": [{"name": "snip", "options": {"x": float("nan")}}]}, "Study: methods[0].options: "),
        ({"methods": [{"rounds": 2}]}, "Study: methods[0]: is missing"),
        ({"methods": ["snip", {"name": "snip"}]}, 'Study: methods[1]: label "snip" is already that of methods[0]'),
        ({"methods": [{"name": "snip", "label": "random"}]}, 'label "random" means something else'),
        ({"methods": [{"name": "snip", "label": "dense"}]}, 'label "dense" means something else'),
        ({"methods": [{"name": "snip", "label": "all methods"}]}, 'label "all methods" means something else'),
        ({"methods": [{"name": "snip", "label": "All Benchmarks"}]}, 'in the results (it reads as "all benchmarks")'),
        ({"methods": [{"name": "snip", "label": "imp"}]}, 'label "imp" means something else in the results; choose'),
        ({"methods": [{"name": "snip", "label": "Random "}]}, 'label "Random " means something else in the results'),
        ({"methods": [{"name": "snip", "label": "lottery_rewinding"}]}, '(it reads as "lottery-rewinding"); choose'),
        ({"methods": [3]}, "Study: methods[0]: must be"),
        ({"benchmarks": ["lottery"]}, 'Study: benchmarks[0]: unknown benchmark "lottery"'),
        ({"benchmarks": ["imp:2ep"]}, 'Study: benchmarks[0]: "imp:2ep": imp keeps the trained weights'),
        ({"benchmarks": ["lottery-rewinding:2"]}, "Study: benchmarks[0]: a step is written like"),
        ({"benchmarks": ["lottery-rewinding:12it"]}, "Study: benchmarks[0]: 12it is step 12, after the end"),
        ({"ablations": ["shufle"]}, 'did you mean "shuffle"?'),
        ({"ablations": ["shuffle", "shuffle"]}, "Study: ablations[1]: 'shuffle' is already there"),
        ({"sparsities": [0.5, 1]}, "Study: sparsities[1]: sparsity is the pruned fraction, in [0, 1), not 1.0"),
        ({"sparsities": [-0.1]}, "in [0, 1), not -0.1"),
        ({"sparsities": [float("nan")]}, "in [0, 1), not nan"),
        ({"sparsities": ["0.5"]}, 'Study: sparsities[0]: must be a valid number, not "0.5"'),
        ({"sparsities": []}, "Study: sparsities: needs at least one item"),
        ({"sparsities": [0.5, 0.50]}, "Study: sparsities[1]: 0.5 is already there"),
        ({"sparsities": [0.8, 0.80000000001]}, "Study: sparsities[1]: 0.80000000001 is already there, as 0.8"),
        ({"sparsities": {"levels": [1, 1]}}, "Study: sparsities[1]: 1 is already there"),
        ({"sparsities": {"levels": [-1]}}, "whole numbers from 0, not -1"),
        ({"sparsities": {"level": [1]}}, "or { levels = [0, 5, 10] }"),
        ({"replicates": 0}, "Study: replicates: must be a whole number from 1, or { min = 3, max = 20, "),
        ({"replicates": True}, "until = \"claims\" }, not true"),
        ({"replicates": {"mn": 3}}, "Study: replicates: unknown key \"mn\"; known: max, min, until"),
        ({"replicates": {"min": 2}}, "Study: replicates: min is a whole number from 3, not 2"),
        ({"replicates": {"max": 5.5}}, "Study: replicates: max is a whole number from 3, not 5.5"),
        ({"replicates": {"min": 8, "max": 5}}, "Study: replicates: min = 8 is above max = 5"),
        ({"replicates": {"until": "bored"}}, "Study: replicates: unknown until \"bored\"; known: cells, claims"),
        ({"recipe": {"epoch": 3}}, 'Study: recipe: unknown recipe field "epoch"'),
        ({"recipe": {"lr": -1}}, "Study: recipe: lr is a number above 0, not -1"),
        ({"prune_at": ["10"]}, 'Study: prune_at[0]: a step is written like "1000it"'),
        ({"prune_at": ["0ep", "2ep"]}, "Study: prune_at[1]: 2ep is step 22, after the end of training (step 11)"),
        ({"prune_at": ["0ep", "0it"]}, 'Study: prune_at[1]: "0it" is the same step as "0ep"'),
        ({"rewind_to": "12it"}, "Study: rewind_to: 12it is step 12, after the end of training (step 11)"),
        ({"recipe": {"epochs": 1, "rewind_to": "12it"}}, "Study: rewind_to: 12it is step 12"),
        ({"normalise": "paper"}, 'Study: normalise: "paper" is for data that the paper normalises otherwise than we'),
        ({"normalise": "ours"}, 'Study: normalise: unknown normalisation "ours"; known: own, paper'),
        ({"scoring_batch": 0}, "Study: scoring_batch: "),
        ({"examples_per_class": 200}, "Study: examples_per_class: 1,297 training examples of 10 classes give 129"),
        ({"network_options": {"widht": 2}}, 'Study: network_options: lenet-300-100: unknown option "widht"'),
        ({"margin": 0}, "Study: margin: must be greater than 0, not 0"),
        ({"seed": -1}, "Study: seed: must be greater than or equal to 0, not -1"),
        ({"benchmark": []}, 'Study: unknown key "benchmark"; known: ablations, benchmarks,'),
    ],
)  # fmt: skip
def test_one_problem_is_one_sentence_that_says_where(changes: dict[str, Any], expected: str) -> None:
    (problem,) = problems(**changes)
    assert problem.startswith("Study: ")
    assert expected in problem


def test_labels_and_sparsities_that_are_only_alike_are_allowed() -> None:
    methods = [{"name": "snip", "label": "randomised"}, {"name": "snip", "rounds": 2, "label": "all-snip"}]
    assert len(Study(**(TINY | {"methods": methods})).methods) == 2
    assert len(Study(**(TINY | {"sparsities": [0.8, 0.800000002]})).sparsities) == 2


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "x"\nnetwork = "resnet-8"\ndatset = "digits"\nmethods = ["snip", "snipp", "snip"]\n'
        'sparsities = [0.5, 2.0]\nreplicates = "three"\n[recipe]\nepoch = 3\n'
    )
    with pytest.raises(StudyError) as caught:
        Study.load(path)
    found = caught.value.problems
    assert all(problem.startswith(f"{path}: ") for problem in found)
    for part in ("methods[1]:", "methods[2]:", "sparsities[1]:", "replicates:", "recipe:", "dataset: is missing"):
        assert sum(part in problem for problem in found) == 1, part
    assert sum('unknown key "datset"' in problem for problem in found) == 1
    assert len(found) == 7
    assert str(caught.value) == "\n".join(found)


def test_quickstart_asks_for_the_conclusion_with_as_many_replicates_as_keep_it() -> None:
    study = Study.load("quickstart")
    assert [method.name for method in study.methods] == ["random", "magnitude", "snip", "synflow"]
    assert "magnitude-after-training" in study.benchmarks
    assert "shuffle" in study.ablations
    assert len(study.sparsities) >= 2
    assert study.replicates >= 5  # with fewer, one outlier forbids the verdict that accuracy is kept


def test_the_battery_of_check_asks_the_whole_question() -> None:
    study, quickstart = Study.load("check"), Study.load("quickstart")
    assert study.benchmarks == ("magnitude-after-training", "lottery-rewinding")
    assert study.ablations == ("shuffle", "reinit", "invert")
    assert study.recipe == quickstart.recipe
    assert study.sparsities == quickstart.sparsities


def test_levels_are_rounds_of_twenty_per_cent() -> None:
    study = Study(**(TINY | {"sparsities": {"levels": [0, 1, 2, 10]}}))
    assert study.sparsities == (0.0, 0.2, 0.36, pytest.approx(1 - 0.8**10))


def test_labels_tell_variants_apart() -> None:
    methods = ["snip", {"name": "snip", "rounds": 100, "label": "snip-100"}, {"name": "synflow"}]
    study = Study(**(TINY | {"methods": methods}))
    assert [method.label for method in study.methods] == ["snip", "snip-100", "synflow"]
    assert [method.entry_rounds for method in study.methods] == [1, 100, 100]


def test_the_names_of_quota_rules_are_those_of_quotas() -> None:
    assert tuple(_QUOTA_RULES) == QUOTAS


def test_planning_and_reading_start_without_torch() -> None:
    modules = ("spec", "plan", "store", "schedule", "progress", "executors", "executors.local")
    code = "import sys, " + ", ".join(f"prunemark.study.{name}" for name in modules)
    code += "\nfrom prunemark.study.spec import Study\nprunemark.study.plan.plan(Study.load('quickstart'))"
    code += "\nprint([name for name in ('torch', 'pandas', 'scipy', 'altair') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_replicates_are_a_number_or_looks(tmp_path: Path) -> None:
    given = {"min": 5, "max": 12, "until": "cells"}
    study = Study(**(TINY | {"replicates": given}))
    assert study.looks == study.replicates == Looks(min=5, max=12, until="cells")
    assert study.sizes == (5, 8, 12)
    assert study.model_dump()["replicates"] == given
    assert json.loads(study.model_dump_json())["replicates"] == given
    assert Study(**(TINY | {"replicates": study.replicates})) == study
    assert Study(**(TINY | {"replicates": {}})).looks == Looks()
    fixed = Study(**(TINY | {"replicates": 4}))
    assert (fixed.looks, fixed.sizes, fixed.model_dump()["replicates"]) == (None, (4,), 4)
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace("[0.5]", "[0.5]\nreplicates = { max = 8 }"))
    assert Study.load(path).sizes == (3, 5, 8)


def test_all_problems_of_looks_are_reported_at_once() -> None:
    assert len(problems(replicates={"min": 1, "max": "x", "until": 3, "looks": []})) == 4
