"""The process of a worker: one job per line on standard input, one outcome per line on standard output."""

import os
import sys

from prunemark.study.executors.pipes import Orders
from prunemark.study.job import Context, Job

ONCE = "--once"
"""The argument by which a process is told that it has one job, and therefore is what code of others may run in."""


def main() -> None:
    """Work until standard input ends, which it does when the driver is gone, however it went."""
    orders = Orders()
    context = Context(**orders.next())

    from prunemark.study.executors.apart import execute_apart
    from prunemark.study.jobs import execute, settle_process

    settle_process()
    orders.answer({"ready": os.getpid()})
    while True:
        job = Job.from_dict(orders.next())
        apart = job.foreign and ONCE not in sys.argv
        outcome = execute_apart(job, context) if apart else execute(job, context)
        orders.answer({"outcome": outcome.to_dict()})


if __name__ == "__main__":
    main()
