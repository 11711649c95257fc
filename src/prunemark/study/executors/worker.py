"""The process of a worker: one job after the other, as its orders have them, one outcome for each."""

import os
import sys

from prunemark.study.executors.pipes import Orders
from prunemark.study.job import Context, Job

ONCE = "--once"
"""The argument by which a process is told that it has one job, and therefore is what code of others may run in."""


def main() -> None:
    """Work until the orders end, which they do when the driver is gone, however it went."""
    orders = Orders()
    context = Context(**orders.next())

    from prunemark.study.executors.apart import execute_apart
    from prunemark.study.jobs import execute, settle_process

    settle_process(context.memory_gib)
    orders.answer({"ready": os.getpid()})
    while True:
        job = Job.from_dict(orders.next())
        orders.answer({"began": job.key})
        work = execute_apart if job.foreign and ONCE not in sys.argv else execute
        orders.answer({"outcome": work(job, context, orders.answer).to_dict()})


if __name__ == "__main__":
    main()
