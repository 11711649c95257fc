import tomllib

import pytest

from prunemark.study.spec import Study
from prunemark.study.toml_text import toml_text


@pytest.mark.parametrize(
    "name", ["quickstart", "laptop/e4-digits", "laptop/e6-digits", "reference/synflow-vgg16-cifar100"]
)
def test_a_shipped_study_comes_back_from_its_text(name: str) -> None:
    study = Study.load(name)
    assert Study(**tomllib.loads(toml_text(study.model_dump(mode="json")))) == study


def test_settings_texts_and_tables_survive() -> None:
    study = Study(
        name="odd",
        description='a "quoted"\\ \t text\nof two lines \x7f',
        network="resnet-8",
        dataset="digits",
        methods=[
            {"name": "snip", "rounds": 3, "label": "snip, 3 rounds"},
            {"name": "grasp", "options": {"bn": "eval"}, "quotas": {"stages.2.*": 0.95, "fc.weight": 0.5}},
        ],
        sparsities=[0.5, 1 - 0.8**7],
        recipe={"epochs": 3, "drops": [1, 2]},
    )
    text = toml_text(study.model_dump(mode="json"))
    assert Study(**tomllib.loads(text)) == study
    assert "None" not in text


def test_mappings_of_replicates_are_inline_tables() -> None:
    fields = {"name": "x", "replicates": {"min": 3, "max": 20, "until": "claims"}, "network_options": {"a b": [1, 0.5]}}
    assert tomllib.loads(toml_text(fields)) == fields
