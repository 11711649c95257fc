"""Kills of all kinds at random moments of a study whose jobs are long; then every stored number is compared.

    python -m tests.study.drill FOLDER KILLS SEED EPOCHS

Drivers and workers are forks of this process, which spares each the seconds in which an interpreter loads torch; all
else is theirs: channels, sessions, signals, store. Prints what happened as JSON.
"""

import contextlib
import errno
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from prunemark import artifacts, parts
from prunemark.study.disk import DiskFullError
from prunemark.study.executors import apart, pipes, worker
from prunemark.study.jobs import settle_process
from prunemark.study.progress import Event
from prunemark.study.run import run
from prunemark.study.spec import Study
from tests.study.conftest import TINY
from tests.study.stored import compare

CHECKPOINT_S = 0.02
LONGEST_S = 0.4  # until a kill, from when the driver has planned
PATIENCE_S = 120.0
assert apart  # loaded before anything forks

EPOCHS = int(sys.argv[4])
STUDY = Study(
    **(
        TINY
        | {
            "methods": ["snip", {"name": "synflow", "rounds": 60}],
            "benchmarks": ["imp-rewinding"],
            "ablations": [],
            "sparsities": [0.5],
            "recipe": {"epochs": EPOCHS, "rewind_to": "3it"},
        }
    )
)


class Forked:
    """`subprocess.Popen` of a worker, as far as `Child` uses it, by a fork of this process."""

    def __init__(self, _: list[str], *, stdin: int, stdout: int, stderr: Any, **__: object) -> None:
        self.returncode: int | None = None
        # Python's own handlers run at a fork, and an interruption there would be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.pid = os.fork()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self.pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            for number, descriptor in enumerate((stdin, stdout, stderr.fileno())):
                os.dup2(descriptor, number)
            os.closerange(3, 4096)
            with contextlib.suppress(BaseException):
                worker.main()
            os._exit(1)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def driver(folder: Path, heard: int, prepare: Callable[[], None]) -> NoReturn:
    """Run the study in this process, tell of it in bytes, and end."""
    code = 1
    try:
        prepare()
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def tell(_: Event) -> None:
            os.write(heard, b".")

        summary = run(STUDY, out=folder, workers=2, progress=tell, checkpoint_minutes=CHECKPOINT_S / 60)
        code = 130 if summary.interrupted else summary.failed
    except DiskFullError:
        code = 28
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def fills_the_disk() -> None:
    """Let the tenth write of each worker find the disk full."""
    written = Counter[str]()
    write = artifacts.write_atomically

    def full(place: Any, content: bytes) -> None:
        written["times"] += 1
        if written["times"] > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(place, content)

    artifacts.write_atomically = parts.write_atomically = full
    # It is told by the module that it comes from.
    full.__code__ = full.__code__.replace(co_filename=artifacts.__file__)


def workers_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def send(signal_: int, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_)


def kill_worker(how: int) -> Callable[[int, list[int]], None]:
    return lambda _, workers: send(how, *workers[:1])


def stop_then_kill_worker(_: int, workers: list[int]) -> None:
    send(signal.SIGSTOP, *workers[:1])
    time.sleep(0.05)
    send(signal.SIGKILL, *workers[:1])


def stop_then_kill_driver(pid: int, _: list[int]) -> None:
    send(signal.SIGSTOP, pid)
    time.sleep(0.1)  # workers finish, or block in a reply
    send(signal.SIGKILL, pid)


def interrupt_twice(pid: int, _: list[int]) -> None:
    send(signal.SIGINT, pid)
    time.sleep(0.01)
    send(signal.SIGINT, pid)


def everything(pid: int, workers: list[int]) -> None:
    send(signal.SIGKILL, *workers, pid)


KILLS: dict[str, Callable[[int, list[int]], None]] = {
    "worker KILL": kill_worker(signal.SIGKILL),
    "driver KILL": lambda pid, _: send(signal.SIGKILL, pid),
    "driver TERM": lambda pid, _: send(signal.SIGTERM, pid),
    "driver INT": lambda pid, _: send(signal.SIGINT, pid),
    "driver INT twice": interrupt_twice,
    "driver HUP": lambda pid, _: send(signal.SIGHUP, pid),
    "driver QUIT": lambda pid, _: send(signal.SIGQUIT, pid),
    "driver STOP then KILL": stop_then_kill_driver,
    "worker STOP then KILL": stop_then_kill_worker,
    "worker ABRT": kill_worker(signal.SIGABRT),
    "both workers KILL": lambda _, workers: send(signal.SIGKILL, *workers),
    "driver and workers KILL": everything,
    "disk full": lambda *_: None,
    "driver KILL, state damaged": lambda pid, _: send(signal.SIGKILL, pid),
}


def disturbed(folder: Path, kind: str, chance: random.Random, said: Counter[str]) -> bool:
    """Run the study, disturb it, see it end; True if it was disturbed before it was done."""
    results, replies = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(results)
        driver(folder, replies, fills_the_disk if kind == "disk full" else lambda: None)
    os.close(replies)
    os.read(results, 1)  # it has planned
    was_done = wait(pid, folder.parent / "kept", chance)
    workers = workers_of(pid)
    if not was_done:
        KILLS[kind](pid, workers)
        if "worker" in kind and "driver" not in kind:
            time.sleep(chance.uniform(0, LONGEST_S))
            workers += workers_of(pid)
            send(signal.SIGKILL, pid)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said[f"exit {code}"] += 1
    os.close(results)
    gone(workers)
    if kind.endswith("state damaged"):
        for path in (folder / "artifacts").glob("*.part"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            said["states damaged"] += 1
    return not was_done


def wait(pid: int, kept: Path, chance: random.Random) -> bool:
    """Wait for a while, or until workers have written down how far they are; True if the driver has ended."""
    until = time.monotonic() + chance.uniform(0, LONGEST_S)
    if chance.random() < 0.5:
        states = kept.stat().st_size + chance.randint(1, 8)
        until += PATIENCE_S
    else:
        states = sys.maxsize
    while time.monotonic() < until and kept.stat().st_size < states:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    return False


def gone(workers: list[int]) -> None:
    """Wait for the end of workers, whose driver has ended."""
    until = time.monotonic() + PATIENCE_S
    for pid in workers:
        while True:
            try:
                status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                break
            if status == "Z":
                break
            assert time.monotonic() < until, f"worker {pid} outlived its driver"
            time.sleep(0.005)


def finished(folder: Path) -> dict[str, str]:
    """When each job that is done was recorded."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(folder / "study.sqlite")) as db:
        return dict(db.execute("SELECT key, finished_at FROM jobs WHERE status != 'failed'"))
    return {}


def count(folder: Path) -> None:
    """Write a byte to a file whenever a worker writes down how far a job is, or a job goes on from there."""
    for name in ("kept", "resumed"):
        (folder / name).touch()
    find, keep = parts.Keeper.kept, parts.Keeper.keep

    def found(keeper: parts.Keeper) -> parts.Part | None:
        part = find(keeper)
        if part is not None:
            with (folder / "resumed").open("ab") as log:
                log.write(b".")
        return part

    def kept(keeper: parts.Keeper, *state: Any) -> None:
        keep(keeper, *state)
        with (folder / "kept").open("ab") as log:
            log.write(b".")

    parts.Keeper.kept, parts.Keeper.keep = found, kept


def drill(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Disturb the study so many times, in as many folders as that takes, and compare each with an undisturbed run."""
    chance, said = random.Random(seed), Counter[str]()
    run(STUDY, out=folder / "undisturbed", workers=2)
    count(folder)
    kinds: list[str] = []
    while said["kills"] < kills:
        said["studies"] += 1
        out = folder / str(said["studies"])
        before: dict[str, str] = {}
        done = False
        while not done:
            if not kinds:
                kinds = chance.sample(list(KILLS), len(KILLS))
            kind = kinds.pop() if said["kills"] < kills else ""
            if not kind:
                break
            done = not disturbed(out, kind, chance, said)
            said["kills"] += not done
            said[kind] += not done
            now = finished(out)
            assert before.items() <= now.items(), "a job that was recorded was recorded again, or is gone"
            before = now
        summary = run(STUDY, out=out, workers=2, checkpoint_minutes=CHECKPOINT_S / 60)
        assert (summary.failed, summary.left) == (0, 0)
        assert before.items() <= finished(out).items()
        compare(out, folder / "undisturbed")
    said["resumed"] = (folder / "resumed").stat().st_size
    return dict(said)


if __name__ == "__main__":
    settle_process()
    pipes.subprocess.Popen = Forked  # pyright: ignore[reportAttributeAccessIssue]
    run.__globals__["preflight"].__globals__["time_step"] = lambda *_, **__: 0.001
    print(json.dumps(drill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
