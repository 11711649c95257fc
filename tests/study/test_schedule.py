from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from prunemark.study.job import Job
from prunemark.study.plan import plan
from prunemark.study.schedule import Schedule, critical_paths, pending
from prunemark.study.spec import Study

Tiny = Callable[..., Study]


def job(key: str, *inputs: str, cost: float = 1.0) -> Job:
    return Job(key=key, kind="train", spec={}, inputs={name: name for name in inputs}, cost=cost)


@st.composite
def graphs(draw: st.DrawFn) -> list[Job]:
    jobs: list[Job] = []
    for i in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(jobs), unique_by=lambda j: j.key, max_size=3)) if jobs else []
        jobs.append(job(str(i), *(j.key for j in inputs), cost=draw(st.integers(0, 5))))
    return jobs


@given(graphs(), st.sets(st.integers(0, 11)), st.integers(1, 3), st.randoms())
def test_every_job_is_handed_out_once_its_inputs_are_there(
    jobs: list[Job], bad: set[int], slots: int, random: "object"
) -> None:
    schedule = Schedule(jobs)
    handed: list[str] = []
    done: set[str] = set()
    given_up: list[str] = []
    running: list[Job] = []
    while True:
        while len(running) < slots and (job := schedule.next()):
            assert set(job.inputs.values()) <= done
            handed.append(job.key)
            running.append(job)
        if not running:
            break
        job = running.pop(random.randrange(len(running)))  # pyright: ignore[reportAttributeAccessIssue]
        if int(job.key) in bad:
            given_up += [lost.key for lost in schedule.failed(job)]
        else:
            done.add(job.key)
            schedule.succeeded(job)
    assert sorted(handed + given_up) == sorted(job.key for job in jobs), "each once: handed out or given up"
    doomed: set[str] = set()
    for job in jobs:
        if int(job.key) in bad or doomed & set(job.inputs.values()):
            doomed.add(job.key)
    assert done == {job.key for job in jobs} - doomed


def test_the_longest_chain_goes_first() -> None:
    jobs = [job("a"), job("b", cost=2), job("c", "a", cost=5), job("d", "c")]
    assert critical_paths(jobs) == {"a": 7, "b": 2, "c": 6, "d": 1}
    schedule = Schedule(jobs)
    assert [schedule.next(), schedule.next(), schedule.next()] == [jobs[0], jobs[1], None]


def test_dense_training_that_benchmarks_wait_for_goes_first(tiny: Tiny) -> None:
    schedule = Schedule(plan(tiny(methods=["snip"], benchmarks=["magnitude-after-training"])).jobs)
    initial = schedule.next()
    assert initial is not None
    schedule.succeeded(initial)
    following = schedule.next()
    assert following is not None
    assert (following.kind, following.spec["step"]) == ("dense", 11)


def test_pending_is_what_trials_still_need(tiny: Tiny) -> None:
    job_plan = plan(tiny())
    everything = {job.key: "done" for job in job_plan.jobs}
    assert pending(job_plan, {}, lambda _: False) == list(job_plan.jobs)
    assert pending(job_plan, everything, lambda _: False) == [], "artifacts that nothing needs may be gone"

    train = next(job for job in job_plan.jobs if job.kind == "train")
    again = everything | {train.key: "failed"}
    assert pending(job_plan, again, lambda _: True) == [train], "what failed is tried again"
    mask = train.inputs["mask"]
    chain = pending(job_plan, again, lambda key: key != mask)
    assert [job.key for job in chain] == [mask, train.key], "an artifact that is gone is made again"
