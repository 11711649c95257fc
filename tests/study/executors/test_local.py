import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunemark.study.executors import ExecutorError, apart
from prunemark.study.executors.local import LocalExecutor, usable_cores
from prunemark.study.job import Context, Job
from prunemark.study.jobs import execute
from prunemark.study.plan import plan
from prunemark.study.spec import Study

Tiny = Callable[..., Study]

METHODS = """
import os, signal, time, warnings
import torch

def dies(problem):
    os.kill(os.getpid(), signal.SIGKILL)

def sleeps(problem):
    time.sleep(600)

def wrong_name(problem):
    raise RuntimeError("bad \\udcff path \\x1b[31mred")

def forks_and_dies(problem):
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)

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


def jobs_of(tiny: Tiny, folder: Path, method: str) -> tuple[Job, Job]:
    """The initial state, and the score of one of the methods above."""
    (folder / "mine.py").write_text(METHODS)
    jobs = plan(tiny(methods=[f"{folder}/mine.py:{method}"], benchmarks=[])).jobs
    return jobs[0], next(job for job in jobs if job.kind == "score")


def test_the_life_of_a_worker(tiny: Tiny, tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    crew = LocalExecutor(Context(artifacts=str(tmp_path)), 1, log)
    initial, talks = jobs_of(tiny, tmp_path, "talks")
    for job in (initial, talks):
        crew.submit(job)
        finished = crew.wait()
        assert finished is not None
        assert finished.outcome is not None
        assert (finished.job, finished.outcome.status) == (job, "done"), finished.outcome.error
        assert finished.outcome.device == "cpu"
    printed = log.read_text()
    assert all(line in printed for line in ("not a reply", "nor is this", "a warning"))

    _, dies = jobs_of(tiny, tmp_path, "dies")
    crew.submit(dies)
    lost = crew.wait()
    assert lost is not None
    assert lost.job == dies
    assert lost.outcome is None
    assert lost.lost == f"the worker was killed (signal 9), perhaps because memory ran out; see {log}"

    crew.submit(initial)
    again = crew.wait()
    assert again is not None
    assert again.outcome is not None
    assert again.outcome.status == "done", "another worker has taken the dead one's place"

    _, sleeps = jobs_of(tiny, tmp_path, "sleeps")
    crew.submit(sleeps)
    while not crew.underway()[0].seconds:
        assert crew.wait(0.05) is None
    crew.close()  # does not wait ten minutes


def test_what_users_code_does_to_its_process_ends_in_a_sentence(tiny: Tiny, tmp_path: Path) -> None:
    crew = LocalExecutor(Context(artifacts=str(tmp_path), memory_gib=4), 1, tmp_path / "workers.log")
    initial, _ = jobs_of(tiny, tmp_path, "talks")
    said: list[str] = []
    for job in (initial, *(jobs_of(tiny, tmp_path, name)[1] for name in ("wrong_name", "forks_and_dies", "takes"))):
        crew.submit(job)
        finished = crew.wait()
        assert finished is not None
        assert finished.outcome is not None
        said.append(finished.outcome.error.partition("\n")[0])
    crew.close()
    assert said[:2] == ["", r"RuntimeError: bad \udcff path \x1b[31mred"]
    assert said[2].endswith("mine.py, ended with exit code 3 before the job was done")
    assert "allocate memory" in said[3]
    assert said[3].endswith("(a job may take 4 GiB: --job-memory)")


def test_workers_that_cannot_start_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of order >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    executor = LocalExecutor(Context(artifacts=str(tmp_path)), 2, tmp_path / "workers.log")
    executor.submit(Job(key="a", kind="dense", spec={}))
    message = r"a worker ended before it began: the worker ended with exit code 7; out of order \(see .*workers.log\)"
    with pytest.raises(ExecutorError, match=message):
        executor.wait()
    executor.close()


def test_the_default_number_of_workers_is_that_of_usable_cores() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_without_a_fork_a_job_of_the_users_code_has_a_fresh_process(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "can_fork", lambda _: False)
    (tmp_path / "mine.py").write_text(
        "import os, torch\n"
        "def own(problem):\n"
        "    torch.set_default_dtype(torch.float64)\n"
        f"    assert os.getpid() != {os.getpid()} and os.getppid() == {os.getpid()}\n"
        "    return dict(problem.weights)\n"
        "def quits(problem): os._exit(3)\n"
    )
    jobs = plan(tiny(methods=[f"{tmp_path}/mine.py:{name}" for name in ("own", "quits")], benchmarks=[])).jobs
    context = Context(artifacts=str(tmp_path))
    assert execute(jobs[0], context).status == "done"
    done, failed = (apart.execute_apart(job, context) for job in jobs if job.kind == "score")
    assert done.status == "done", done.error
    assert torch.get_default_dtype() == torch.float32
    assert failed.status == "failed"
    assert failed.error.endswith("mine.py, ended with exit code 3 before the job was done")
