"""A process for tests of channels: does what its argument says."""

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from prunemark.study.executors.channel import send
from prunemark.study.executors.pipes import Orders


def answers(orders: Orders) -> NoReturn:
    while True:
        orders.answer(orders.next() | {"stdin": sys.stdin.read(), "last": os.environ["OMP_NUM_THREADS"]})


def dies_in_mid_reply(orders: Orders) -> None:
    # Longer than a pipe holds.
    send(orders._replies, {"long": "x" * 1_000_000})  # pyright: ignore[reportPrivateUsage]


def forks_and_dies(_: Orders) -> None:
    if os.fork() == 0:
        os.setsid()  # out of reach of whoever kills the session
        time.sleep(5)
    os._exit(3)


def leaves_a_process_behind(_: Orders) -> None:
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)


def writes_to_the_descriptors_it_finds(_: Orders) -> None:
    for path in Path("/proc/self/fd").iterdir():
        write(int(path.name) if int(path.name) > 2 else -1)
    time.sleep(600)


def writes_to_low_descriptors(orders: Orders) -> None:
    for number in range(3, 64):
        write(number)
    orders.answer({"alive": True})
    time.sleep(600)


def write(number: int) -> None:
    try:
        os.write(number, b"garbage\n" * 10)
    except OSError:
        return


def closes_its_channel(_: Orders) -> None:
    os.closerange(3, 2048)
    os._exit(4)


def holds_the_interpreter(_: Orders) -> None:
    # A regular expression that takes for ever, in one call that lets no other thread run.
    re.match(r"(a+)+$", "a" * 60 + "b")


def stops(_: Orders) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    told = Orders()
    told.answer({"began": os.getpid()})
    globals()[sys.argv[1]](told)
