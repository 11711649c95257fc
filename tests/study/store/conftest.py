"""A folder in which every job of the tiny study is done, with made-up numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prunemark.study.job import Outcome
from prunemark.study.plan import Plan, plan
from prunemark.study.spec import Study
from prunemark.study.store import Store


def outcome(**result: object) -> Outcome:
    return Outcome(status="done", result=result, seconds=1.0, device="cpu", torch_version="2", code_version="0")


@pytest.fixture
def filled(tiny: Callable[..., Study]) -> Callable[..., Plan]:
    """filled(folder, field=value, ...): the plan of the study whose results fill the folder now."""

    def fill(folder: Path, **changes: object) -> Plan:
        job_plan = plan(tiny(**changes))
        with Store.writing(folder) as store:
            store.begin(job_plan)
            store.require_fact("data set digits", "f1", "changed")
            for i, job in enumerate(job_plan.jobs):
                numbers = {"test_accuracy": i / 100, "test_loss": 1.5, "train_seconds": 2.0, "density": 0.25}
                store.record(job, outcome(**numbers, engine="dense"))
        return job_plan

    return fill
