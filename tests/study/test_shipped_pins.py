"""The shipped studies are what they were: same names, same fields, same jobs, however their files are arranged.

`shipped_pins.json` was computed from 83 files that spelled each study out. A change to it means that stored results no
longer belong to the study of that name, so it is edited by hand and never regenerated as a whole. "moved" says why jobs
that are pinned there have other keys than they had.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from prunemark.study.files import studies
from prunemark.study.plan import plan
from prunemark.study.spec import Study

PINS: dict[str, Any] = json.loads(Path(__file__).with_name("shipped_pins.json").read_text(encoding="utf-8"))
# Spelled out, so that a field that comes later, with its default, moves no pin.
FIELDS = (
    *("name", "description", "network", "dataset", "network_options", "recipe", "methods", "benchmarks", "ablations"),
    *("sparsities", "replicates", "prune_at", "rewind_to", "examples_per_class", "seed", "margin"),
)
METHOD_FIELDS = ("name", "rounds", "quotas", "label", "options")


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def pinned_fields(study: Study) -> dict[str, Any]:
    """The fields that are pinned, as JSON."""
    dump = study.model_dump(mode="json")
    methods = [{field: method[field] for field in METHOD_FIELDS} for method in dump["methods"]]
    return {field: dump[field] for field in FIELDS} | {"methods": methods}


def first_keys(study: Study) -> dict[str, str]:
    """The key of the first job of each kind, and a digest of all keys."""
    jobs = plan(study).jobs
    return {job.kind: job.key for job in reversed(jobs)} | {"all": digest(sorted(job.key for job in jobs))}


def test_all_names_of_old_are_known() -> None:
    assert len(PINS["studies"]) == 83
    assert PINS["studies"].keys() <= studies().keys()


@pytest.mark.parametrize("name", PINS["studies"])
def test_a_shipped_study_keeps_its_fields(name: str) -> None:
    fields = pinned_fields(Study.load(name))
    assert digest(fields) == PINS["studies"][name], fields


@pytest.mark.parametrize("name", PINS["jobs"])
def test_a_shipped_study_keeps_its_jobs(name: str) -> None:
    assert first_keys(Study.load(name)) == PINS["jobs"][name]
