"""Keys of jobs do not move: what was computed is found again, by whatever version of the program."""

import hashlib

import pytest

from prunemark.study.plan import plan
from prunemark.study.spec import Study

# By the program of 0.1.0. A key that has to change needs a new schema version, and a line in the CHANGELOG.
PINNED = {
    "quickstart": (339, "f14655d5f0984b76"),
    "laptop/e2-digits": (995, "2b4ddfae98a7ef4f"),
    "paper/e4-vgg-16": (540, "297ff622e3d0cf78"),
    # Moved once: SNIP and GraSP in several rounds are scored in float64 (before, in float32: "7ed8cb793a0d2879").
    "laptop/e6-fashion-mnist": (345, "4aabefd05a61fade"),
}


@pytest.mark.parametrize("name", PINNED)
def test_the_keys_of_a_study_are_those_of_the_first_version(name: str):
    keys = sorted(job.key for job in plan(Study.load(name)).jobs)
    assert (len(keys), hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]) == PINNED[name]
