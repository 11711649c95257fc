"""What every executor must do. A subclass says which it is: those of `test_contract.py` and `tests/ray`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prunemark.study.executors import Executor, Finished, MakeExecutor
from prunemark.study.job import Context, Job
from prunemark.study.plan import plan
from prunemark.study.run import run
from prunemark.study.spec import Study
from prunemark.study.store import Store
from tests.study.conftest import TINY
from tests.study.stored import compare

OWN = """
import os, signal, time, warnings
import torch

def own(problem):
    return {name: weight.abs() for name, weight in problem.weights.items()}

def fails(problem):
    raise RuntimeError("bad \\udcff path \\x1b[31mred")

def dies(problem):
    os.kill(os.getpid(), signal.SIGKILL)

def forks_and_dies(problem):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)

def sleeps(problem):
    time.sleep(600)

def takes(problem):
    return {name: torch.zeros(2**33) for name in problem.weights}

def talks(problem):
    print("not a reply")
    os.system("echo nor is this")
    warnings.warn("a warning")
    threads = torch.get_num_threads()
    one = [os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
    assert (threads, one) == (1, ["1", "1"]), (threads, one)
    assert torch.tensor(1e-42) / 2 == 0, "denormals are flushed"
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert os.getpgid(0) == os.getppid(), "in the group of its worker, not in that of the driver"
    return dict(problem.weights)
"""


def jobs_of(study: Study) -> list[Job]:
    """The initial state, and the score of each method."""
    jobs = plan(study).jobs
    return [jobs[0], *(job for job in jobs if job.kind == "score")]


def outcome(finished: Finished | None) -> Any:
    assert finished is not None
    assert finished.outcome is not None, finished.lost
    return finished.outcome


def done(crew: Executor, job: Job) -> Any:
    """The outcome of a job, and whether it is that job's."""
    crew.submit(job)
    finished = until_finished(crew)
    assert finished.job == job
    return outcome(finished)


def until_finished(crew: Executor) -> Finished:
    while (finished := crew.wait(1.0)) is None:
        pass
    return finished


class Contract:
    """A subclass has a fixture `executor`: the name in EXECUTORS and, for `run`, the options that go with it."""

    # Whether each job has a process, which it can lose.
    has_processes = True

    @pytest.fixture
    def executor(self) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    @pytest.fixture
    def make(self, executor: tuple[str, dict[str, Any]]) -> Iterator[MakeExecutor]:
        raise NotImplementedError

    @pytest.fixture
    def study(self, tmp_path: Path) -> Callable[..., Study]:
        (tmp_path / "own.py").write_text(OWN)

        def of(*names: str, **fields: Any) -> Study:
            methods = [f"{tmp_path}/own.py:{name}" for name in names]
            return Study(**(TINY | {"methods": methods, "benchmarks": [], "ablations": []} | fields))

        return of

    def test_a_study_comes_to_the_numbers_of_a_run_without_processes(
        self, study: Callable[..., Study], tmp_path: Path, inline: str, executor: tuple[str, dict[str, Any]]
    ) -> None:
        every = study("own", methods=[*TINY["methods"], f"{tmp_path}/own.py:own"], ablations=["shuffle", "invert"])
        name, options = executor
        for folder, chosen, more in (("a", inline, {}), ("b", name, options)):
            summary = run(every, out=tmp_path / folder, executor=chosen, workers=2, **more)
            assert (summary.failed, summary.left, summary.done) == (0, 0, len(plan(every).jobs))
        compare(tmp_path / "b", tmp_path / "a")

    def test_nothing_is_heard_while_nothing_is_under_way(self, make: MakeExecutor, tmp_path: Path) -> None:
        crew = make(Context(artifacts=str(tmp_path)), 1, tmp_path / "workers.log")
        if self.has_processes:
            assert crew.wait(0.01) is None
        assert (crew.slots, list(crew.underway())) == (1, [])
        crew.close()

    def test_what_fails_is_an_outcome_and_the_next_job_is_done(
        self, study: Callable[..., Study], make: MakeExecutor, tmp_path: Path
    ) -> None:
        crew = make(Context(artifacts=str(tmp_path)), 1, tmp_path / "workers.log")
        initial, score = jobs_of(study("fails"))
        early = done(crew, score)
        assert (early.status, list(early.unusable)) == ("failed", [initial.key]), "its input is not there"
        assert done(crew, initial).status == "done"
        failed = done(crew, score)
        assert failed.status == "failed"
        assert failed.error.partition("\n")[0] == r"RuntimeError: bad \udcff path \x1b[31mred"
        assert done(crew, initial).digest == done(crew, initial).digest
        crew.close()

    def test_a_job_that_is_taken_away_is_heard_of_no_more(
        self, study: Callable[..., Study], make: MakeExecutor, tmp_path: Path
    ) -> None:
        crew = make(Context(artifacts=str(tmp_path)), 1, tmp_path / "workers.log")
        initial, sleeps = jobs_of(study("sleeps"))
        assert done(crew, initial).status == "done"
        crew.submit(sleeps)
        assert [each.job for each in crew.underway()] == [sleeps]
        if self.has_processes:
            while not crew.underway()[0].seconds:
                assert crew.wait(0.05) is None
        crew.cancel(sleeps)
        assert not crew.underway()
        assert done(crew, initial).status == "done", "its place is free"
        crew.submit(sleeps)
        crew.close()  # does not wait ten minutes

    def test_an_artifact_that_is_lost_is_made_again_in_the_same_run(
        self, study: Callable[..., Study], tmp_path: Path, executor: tuple[str, dict[str, Any]]
    ) -> None:
        name, options = executor
        small = study(methods=["snip"])
        run(small, out=tmp_path / "out", executor=name, workers=1, **options)
        with Store.reading(tmp_path / "out") as store:
            place = store.artifact(plan(small).jobs[0].key)
        content = bytearray(place.read_bytes())
        content[-1] ^= 1
        place.write_bytes(content)
        more = study(methods=["snip", "synflow"])
        summary = run(more, out=tmp_path / "out", executor=name, workers=1, **options)
        assert (summary.failed, summary.left) == (0, 0)
        assert "its job is done again" in summary.notes[0]
        run(more, out=tmp_path / "one", executor=name, workers=1, **options)
        compare(tmp_path / "out", tmp_path / "one")


class ProcessContract(Contract):
    """What an executor must do whose jobs have processes."""

    def test_the_life_of_a_worker(self, study: Callable[..., Study], make: MakeExecutor, tmp_path: Path) -> None:
        log = tmp_path / "workers.log"
        crew = make(Context(artifacts=str(tmp_path)), 1, log)
        initial, talks, dies = jobs_of(study("talks", "dies"))
        assert done(crew, initial).status == "done"
        first = done(crew, talks)
        assert (first.status, first.device) == ("done", "cpu"), first.error
        printed = log.read_text()
        assert all(line in printed for line in ("not a reply", "nor is this", "a warning"))

        crew.submit(dies)
        lost = until_finished(crew)
        assert (lost.job, lost.outcome, lost.machine_lost) == (dies, None, False)
        assert lost.lost.startswith("the worker was killed (signal 9), perhaps because memory ran out")
        assert done(crew, initial).status == "done", "another worker has taken the dead one's place"
        crew.close()

    def test_what_users_code_does_to_its_process_ends_in_a_sentence(
        self, study: Callable[..., Study], make: MakeExecutor, tmp_path: Path
    ) -> None:
        crew = make(Context(artifacts=str(tmp_path), memory_gib=4), 1, tmp_path / "workers.log")
        jobs = jobs_of(study("fails", "forks_and_dies", "takes"))
        said = [done(crew, job).error.partition("\n")[0] for job in jobs]
        crew.close()
        assert said[:2] == ["", r"RuntimeError: bad \udcff path \x1b[31mred"]
        assert said[2].endswith("own.py, ended with exit code 3 before the job was done")
        assert "allocate memory" in said[3]
        assert said[3].endswith("(a job may take 4 GiB: --job-memory)")
