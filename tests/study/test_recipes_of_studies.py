"""Other recipes in studies: what their jobs are, that they run, and what is found wrong before they do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prunemark.masks import Masks
from prunemark.recipes import recipe_for
from prunemark.study import jobs
from prunemark.study.job import Context
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.provenance import stored_recipe
from prunemark.study.spec import Study
from prunemark.training import Checkpoint

Tiny = Callable[..., Study]
OTHER: dict[str, Any] = {
    "epochs": 1,
    "optimizer": "AdamW",
    "optimizer_options": {"betas": [0.9, 0.95]},
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "mixup": 0.2,
    "augment": ["cutout:3"],
    "ema": 0.5,
    "rewind_to": "3it",
}


def own_loss(folder: Path, factor: int = 1) -> str:
    text = f"from torch.nn.functional import cross_entropy\n\n\ndef loss(outputs, targets):\n    return {factor} * "
    (folder / "mine.py").write_text(f"{text}cross_entropy(outputs, targets)\n")
    return f"{folder / 'mine.py'}:loss"


def test_fields_as_ever_are_not_in_a_spec_and_others_are(tiny: Tiny) -> None:
    def recipe(**changes: Any) -> dict[str, Any]:
        return next(job.spec["recipe"] for job in plan(tiny(recipe={"epochs": 1} | changes)).jobs if job.steps)

    as_ever = recipe()
    assert as_ever == recipe(optimizer="SGD", schedule="steps", loss="cross-entropy", ema=0, optimizer_options={})
    assert as_ever.keys() == recipe(lr=0.3).keys()
    changed = recipe(**OTHER)
    later = OTHER.keys() - as_ever.keys() - {"rewind_to"}
    assert changed.keys() - as_ever.keys() == later
    assert changed["optimizer"] == "adamw"
    assert (changed["lr"], changed["momentum"]) == (0.001, 0)


def test_a_study_with_another_recipe_runs_and_its_end_is_the_average(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(recipe=OTHER, methods=["magnitude"], ablations=[], benchmarks=["magnitude-after-training"])
    ends = 0
    for job in plan(study).jobs:
        outcome = jobs.execute(job, Context(artifacts=str(tmp_path)))
        assert outcome.status == "done", outcome.error
        if job.kind == "dense" and job.spec["step"] == study.total_steps:
            end = Checkpoint.load(tmp_path / f"{job.key}.safetensors")
            assert not end.average
            ends += 1
        elif job.kind == "dense" and job.spec["step"]:
            assert Checkpoint.load(tmp_path / f"{job.key}.safetensors").average
        elif job.kind == "train":
            masks = Masks.load(tmp_path / f"{job.inputs['mask']}.safetensors")
            assert outcome.result["kept"] == masks.kept
    assert ends == 1


def test_the_rest_of_a_schedule_begins_with_a_new_state_of_the_optimizer(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(recipe=OTHER, methods=["magnitude"], ablations=[], benchmarks=[], prune_at=["3it"], retrain="rest")
    for job in plan(study).jobs:
        outcome = jobs.execute(job, Context(artifacts=str(tmp_path)))
        assert outcome.status == "done", outcome.error


def test_a_loss_of_ones_own_is_part_of_the_keys_of_scores_and_trainings(tiny: Tiny, tmp_path: Path) -> None:
    def keys(factor: int) -> dict[str, list[str]]:
        study = tiny(recipe={"epochs": 1, "loss": own_loss(tmp_path, factor)}, benchmarks=[], ablations=[])
        assert study.own_code == (f"{tmp_path / 'mine.py'}:loss",)
        found: dict[str, list[str]] = {}
        for job in plan(study).jobs:
            method = job.spec.get("method", {}).get("name", "")
            found.setdefault(f"{job.kind} {method} {job.steps > 0}", []).append(job.key)
            assert bool(job.files) == ("loss" in job.spec or bool(job.spec.get("recipe")))
        return found

    first, second = keys(1), keys(2)
    assert first == keys(1)
    same = {kind for kind in first if first[kind] == second[kind]}
    # What uses no loss: the initial network, and the scores of methods that need no data.
    assert same == {"dense  False", "score random False", "mask random False", "mask synflow False"}


def test_methods_score_by_the_loss_of_the_recipe(tiny: Tiny, tmp_path: Path) -> None:
    def scores(recipe: dict[str, Any]) -> dict[str, torch.Tensor]:
        study = tiny(recipe={"epochs": 1} | recipe, methods=["snip"], benchmarks=[], ablations=[])
        for job in plan(study).jobs:
            if job.steps == 0 and job.kind != "mask":
                outcome = jobs.execute(job, Context(artifacts=str(tmp_path)))
                assert outcome.status == "done", outcome.error
                path = tmp_path / f"{job.key}.safetensors"
        return jobs._load_scores(path)

    plain, squares = scores({}), scores({"loss": "mse"})
    mine, smoothed = scores({"loss": own_loss(tmp_path)}), scores({"label_smoothing": 0.2})
    assert all(torch.equal(plain[name], mine[name]) for name in plain)
    assert all(torch.equal(plain[name], smoothed[name]) for name in plain)
    assert not any(torch.equal(plain[name], squares[name]) for name in plain)


def test_everything_that_is_wrong_is_found_at_once_while_planning(tiny: Tiny) -> None:
    wrong = {
        "epochs": 2,
        "optimizer": "adamw",
        "optimizer_options": {"nesterov": True, "eps": -1},
        "drops": [3],
        "warmup_epochs": 5,
        "loss": "crossentropy",
        "label_smoothing": 0.1,
    }
    with pytest.raises(StudyError) as caught:
        tiny(recipe=wrong)
    text = str(caught.value)
    for problem in (
        'unknown option of adamw "nesterov"; known: amsgrad, betas, eps',
        "optimizer_options.eps is a number of at least 0, not -1",
        "drops must increase between 0 and the end (epoch 2)",
        "warmup_epochs must end before training does (epoch 2), not at 5",
        'unknown loss "crossentropy"; known: cross-entropy, mse',
        'label_smoothing is of the loss "cross-entropy"',
    ):
        assert problem in text


def test_a_report_needs_no_file_of_the_loss(tiny: Tiny, tmp_path: Path) -> None:
    study = tiny(recipe={"epochs": 2, "loss": own_loss(tmp_path)})
    (tmp_path / "mine.py").unlink()
    recipe = stored_recipe(study.model_dump())
    assert recipe == recipe_for("lenet-300-100", "digits").override({"epochs": 2})


def test_a_plan_notes_an_average_longer_than_training(tiny: Tiny) -> None:
    notes = plan(tiny(recipe={"epochs": 1, "ema": 0.999})).notes
    assert "ema = 0.999 averages over some 1,000 steps, of 11 in all" in notes
