"""Changes of a study from outside its file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prunemark.study.changes import parse_changes
from prunemark.study.plan import plan
from prunemark.study.problems import StudyError
from prunemark.study.spec import Study
from tests.study.conftest import FILE


def problems(call: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(StudyError) as caught:
        call()
    return caught.value.problems


def test_a_change_is_what_the_file_would_be_with_it(tmp_path: Path) -> None:
    path, same = tmp_path / "x.toml", tmp_path / "same.toml"
    path.write_text(f"{FILE}[recipe]\nlr = 0.2\n")
    same.write_text(f"{FILE.replace('0.5', '0.8')}[recipe]\nlr = 0.2\nepochs = 5\n")
    study = Study.load(path, set={"recipe.epochs": 5, "sparsities": [0.8], "network_options.width": 0.5})
    assert study.recipe == {"lr": 0.2, "epochs": 5}, "the other fields of the recipe stay"
    written = Study.load(same).remade(network_options={"width": 0.5})
    assert study.model_dump() == written.model_dump(), "the stored study holds what was set"
    assert [job.key for job in plan(study).jobs] == [job.key for job in plan(written).jobs]
    assert "\n  set: recipe.epochs = 5, sparsities = [0.8], network_options.width = 0.5\n" in plan(study).describe()
    assert "set:" not in plan(written).describe()


def test_values_are_written_as_in_a_study_file() -> None:
    texts = ["recipe.epochs=5", 'recipe.schedule = "cosine"', "replicates={ min = 3, max = 8 }", "curves=false"]
    assert parse_changes([*texts, 'name="a=b"']) == {
        "recipe.epochs": 5,
        "recipe.schedule": "cosine",
        "replicates": {"min": 3, "max": 8},
        "curves": False,
        "name": "a=b",
    }


def test_texts_that_set_nothing_are_all_said() -> None:
    texts = [
        "recipe.epochs",
        "=5",
        "a..b=1",
        "dataset=mnist",
        "margin=",
        "seed=1\nmargin = 2.0",
        "tf32=true",
        "tf32=false",
    ]
    assert problems(lambda: parse_changes(texts)) == (
        '--set recipe.epochs: is written FIELD=VALUE, as in "recipe.epochs=5"',
        '--set =5: is written FIELD=VALUE, as in "recipe.epochs=5"',
        '--set a..b=1: is written FIELD=VALUE, as in "recipe.epochs=5"',
        "--set dataset: mnist is not a TOML value, as in a study file; text needs quotes: --set 'dataset=\"mnist\"'",
        "--set margin: nothing is not a TOML value, as in a study file",
        "--set seed: 1\nmargin = 2.0 is not a TOML value, as in a study file",
        "--set tf32: is given twice",
    )


def test_unknown_fields_are_said_as_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE)
    wrong = {"recipee.epochs": 5, "recipe.epoch": 5, "replicate": 3, "network_options.depth": 3}
    found = problems(lambda: Study.load(path, set=wrong))
    assert len(found) == 4
    assert all(line.startswith(f"{path}: ") for line in found)
    for words in (
        'did you mean "recipe"?',
        'did you mean "epochs"?',
        'did you mean "replicates"?',
        "network_options: ",
    ):
        assert any(words in line for line in found), words


def test_paths_through_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE)
    wrong = {"methods.0.rounds": 2, "recipe": {}, "recipe.epochs": 5}
    assert problems(lambda: Study.load(path, set=wrong)) == (
        f"{path}: set methods.0.rounds: methods is no table; set it as a whole",
        f"{path}: set recipe.epochs: recipe is set as a whole, too",
    )
