"""Keys of jobs do not move: what was computed is found again, by whatever version of the program."""

import hashlib
from typing import Any

import pytest

from prunemark.study.plan import plan
from prunemark.study.spec import Study

# By the program of 0.1.0. A key that has to change needs a new schema version, and a line in the CHANGELOG.
PINNED = {
    # Moved twice, because it is another study: first a part of Fashion-MNIST, which shows the paper's conclusion, in
    # place of the digits, which do not; then at fewer sparsities, trained for less.
    "quickstart": (170, "b541ef67dbabd7e0"),
    "laptop/e2-digits": (995, "2b4ddfae98a7ef4f"),
    # Moved with version 2 of vgg-16, which has an average pool in place of the fifth max-pool.
    "paper/e4-vgg-16": (540, "f2293deb8f663505"),
    # Moved once: SNIP and GraSP in several rounds are scored in float64 (before, in float32: "7ed8cb793a0d2879").
    "laptop/e6-fashion-mnist": (345, "4aabefd05a61fade"),
}


def specs(**fields: Any) -> list[dict[str, Any]]:
    """The specs of a study's jobs."""
    study = {"name": "s", "methods": ["random", "snip"], "sparsities": [0.5], "replicates": 1}
    return [job.spec for job in plan(Study(**(study | fields))).jobs]


def test_what_was_changed_has_its_version_in_every_spec_and_what_was_not_has_none():
    for spec in specs(network="vgg-16", dataset="cifar-10"):
        assert spec["network"] == {"name": "vgg-16", "version": 2, "options": {}}
        assert "dataset_version" not in spec
    for spec in specs(network="resnet-50", dataset="imagenet"):
        assert spec["network"] == {"name": "resnet-50", "options": {}}
        assert spec["dataset_version"] == 2


def test_training_of_resnet_18_on_tinyimagenet_moved_and_its_scores_at_initialisation_did_not():
    by_network = {name: specs(network=name, dataset="tinyimagenet") for name in ("resnet-18", "resnet-18-modified")}
    augmented = {
        name: {tuple(s["recipe"]["augment"]) for s in all_ if s.get("recipe")} for name, all_ in by_network.items()
    }
    assert augmented == {"resnet-18": {("paper-resized-crop", "flip")}, "resnet-18-modified": {("crop", "flip")}}
    score = next(spec for spec in by_network["resnet-18"] if spec.get("method") == {"name": "snip"})
    assert not {"recipe", "dataset_version"} & score.keys()


def test_named_deviations_are_in_the_specs_that_they_change_and_only_where_they_are_not_as_ever():
    plain = specs(network="resnet-20", dataset="cifar-10")
    assert specs(network="resnet-20", dataset="cifar-10", normalise="own", scoring_batch=250) == plain
    paper = specs(network="resnet-20", dataset="cifar-10", normalise="paper")
    assert all(spec["normalise"] == "paper" for spec in paper)
    smaller = specs(network="resnet-20", dataset="cifar-10", scoring_batch=128)
    scored = [spec for spec in smaller if "scoring_batch" in spec]
    assert {spec["method"]["name"] for spec in scored} == {"snip"}
    assert {spec["scoring_batch"] for spec in scored} == {128}
    # One score, and the mask that is made of it; all else depends on them through the mask's key.
    assert len(scored) == 2


@pytest.mark.parametrize("name", PINNED)
def test_the_keys_of_a_study_are_those_of_the_first_version(name: str):
    keys = sorted(job.key for job in plan(Study.load(name)).jobs)
    assert (len(keys), hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]) == PINNED[name]
