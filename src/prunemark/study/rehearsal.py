"""The preflight of a study that runs code of the user's, in a process of its own and within a limit of time.

Whatever that code does, end the process or never return, the driver continues and says so in a sentence.
"""

import json
import queue
import time
from collections.abc import Callable
from dataclasses import asdict

from prunemark.datasets.files import data_folder
from prunemark.study.executors.channel import Message, NoMessageError
from prunemark.study.executors.fork import can_fork, forked
from prunemark.study.executors.pipes import Child, Orders, ended
from prunemark.study.preflight import Findings, preflight
from prunemark.study.problems import StudyError
from prunemark.study.progress import duration
from prunemark.study.spec import Study

CHECK_TIMEOUT_S = 300.0
"""Seconds that code of the user's may take for each part of a study that is checked."""


def rehearse(
    study: Study, *, data_dir: str | None, device: str, engine: str, here: bool, costs: bool, timeout_s: float
) -> Findings:
    """`preflight` in a process of its own.

    Args:
        timeout_s: how long each network or method of the user's may take.

    The other arguments are those of `preflight`.

    Raises:
        StudyError: the study has problems, one of which may be that such code does not return or ends its process.
        ValueError: the data are missing or damaged.
    """
    heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    process = Child("prunemark.study.rehearsal", heard.put)
    where = {"data_dir": data_dir, "device": device, "engine": engine, "here": here, "costs": costs}
    process.tell({"study": json.loads(study.model_dump_json()), **where})
    running, began = "", time.monotonic()
    try:
        while True:
            left = max(0.0, began + timeout_s - time.monotonic()) if running else None
            match heard.get(timeout=left):
                case {"begin": str(running)}:
                    began = time.monotonic()
                case {"problems": [*problems]}:
                    raise StudyError(map(str, problems))
                case {"error": str(error)}:
                    raise ValueError(error)
                case {"findings": {**found}}:
                    return Findings(**found)
                case _:
                    raise StudyError([f"{study.name}: {running or 'its check'} {_how(process)}"])
    except queue.Empty:
        raise StudyError(
            [
                f"{study.name}: {running} has not returned after {duration(timeout_s)}; "
                "if it needs longer, say so: --check-timeout SECONDS"
            ]
        ) from None
    finally:
        process.buried()


def _how(process: Child) -> str:
    how = process.buried()
    return _ended(process.code) if process.code >= 0 else how


def _ended(code: int) -> str:
    return f"ended the program with exit code {code}" if code >= 0 else ended(code)


def main() -> None:
    """Check the study that standard input names."""
    orders = Orders()
    order = orders.next()
    orders.answer(_findings(orders, order))


def _findings(orders: Orders, order: Message) -> Message:
    device = order["device"]
    try:
        with data_folder(order["data_dir"]):
            found = preflight(
                Study(**order["study"]),
                data_dir=order["data_dir"],
                device=device,
                engine=order["engine"],
                here=order["here"],
                costs=order["costs"],
                begin=lambda what: orders.answer({"begin": what}),
                apart=_in_fork if can_fork(device) else lambda _, work: work(),
            )
    except StudyError as error:
        return {"problems": list(error.problems)}
    except (OSError, ValueError) as error:
        return {"error": str(error)}
    return {"findings": asdict(found)}


def _in_fork(name: str, work: Callable[[], str]) -> str:
    try:
        answer, code = forked(lambda _: {"problem": work()})
    except NoMessageError as error:
        return f"{name} wrote to a descriptor that is not its own: {error}"
    if answer is None:
        return f"{name} {_ended(code)}"
    return str(answer["problem"])


if __name__ == "__main__":
    main()
