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
