import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemark.study.executors import channel
from prunemark.study.executors.channel import Frames, Message, NoMessageError, receive, send
from prunemark.study.executors.fork import forked
from prunemark.study.executors.pipes import Child

TALKER = "tests.study.executors.talker"
PATIENCE_S = 60.0  # of a test, with a machine that does much else


def written(*messages: Message) -> bytes:
    results, replies = os.pipe()
    for message in messages:
        send(replies, message)
    os.close(replies)
    with os.fdopen(results, "rb") as file:
        return file.read()


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False))), st.integers(1, 50))
def test_messages_come_whole_in_whatever_pieces(messages: list[Message], size: int) -> None:
    frames, content = Frames(), b"what an interpreter prints first" + written(*messages)
    heard = [each for i in range(0, len(content), size) for each in frames.feed(content[i : i + size])]
    assert heard == messages


def test_text_that_is_not_utf_8_travels() -> None:
    assert Frames().feed(written({"path": "bad \udcff"})) == [{"path": "bad \udcff"}]


@settings(max_examples=50)
@given(st.integers(0, 60), st.integers(1, 255))
def test_damage_is_no_message(position: int, change: int) -> None:
    content = bytearray(written({"a": 1}, {"b": "x" * 40}))
    position += len(written({"a": 1}))
    content[position] ^= change
    frames = Frames()
    try:
        heard = frames.feed(bytes(content))
    except NoMessageError:
        return
    assert heard == [{"a": 1}], "its length has grown, and the rest is waited for"


def test_messages_that_are_too_long_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"a message of 2,\d+ bytes is too long: at most 1,000 are sent"):
        written({"long": "x" * 2000})


class Talk:
    """A child process, and what is heard of it."""

    def __init__(self, what: str) -> None:
        self.heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.process = Child(TALKER, self.heard.put, arguments=(what,))

    def hear(self) -> Message | None:
        return self.heard.get(timeout=PATIENCE_S)

    def end(self) -> str:
        """How it ends, by itself or because a message is no message."""
        while self.hear() is not None:
            pass
        return self.process.buried()


def test_a_child_answers_until_it_is_dismissed() -> None:
    talk = Talk("answers")
    assert talk.hear() is not None
    for number in (1, 2):
        talk.process.tell({"number": number})
        # Nothing of its orders is on standard input, where a user's code may read.
        assert talk.hear() == {"number": number, "stdin": "", "last": "1"}
    assert talk.process.buried() == "ended with exit code 0"
    assert talk.hear() is None


def test_a_child_that_is_killed_in_mid_reply_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # The driver, busy with something else, does not read what is sent.
    reading = os.read
    monkeypatch.setattr(channel, "_PIECE", 10)

    def slow(descriptor: int, size: int) -> bytes:
        piece = reading(descriptor, size)
        if began:
            os.kill(began[0], signal.SIGKILL)
        return piece

    began: list[int] = []
    monkeypatch.setattr(channel.os, "read", slow)
    talk = Talk("dies_in_mid_reply")
    message = talk.hear()
    assert message is not None
    began.append(message["began"])
    assert talk.end() == "was killed (signal 9), perhaps because memory ran out"


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("forks_and_dies", "ended with exit code 3"),
        ("leaves_a_process_behind", "ended with exit code 3"),
        ("closes_its_channel", "ended with exit code 4"),
    ],
)
def test_the_end_of_a_process_counts_and_not_that_of_its_pipe(what: str, end: str) -> None:
    assert Talk(what).end() == end


def test_garbage_on_a_channel_ends_its_process() -> None:
    assert (
        Talk("writes_to_the_descriptors_it_finds").end().startswith("sent what is no message, and was ended: b'garba")
    )


def test_code_that_writes_to_descriptors_from_3_on_does_not_find_the_channel() -> None:
    talk = Talk("writes_to_low_descriptors")
    assert talk.hear() is not None
    assert talk.hear() == {"alive": True}
    talk.process.kill()
    assert talk.end() == "was killed (signal 9), perhaps because memory ran out"


def test_a_process_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemark.study.executors.pipes._END_TIMEOUT_S", 0.1)
    talk = Talk("stops")
    message = talk.hear()
    assert message is not None
    while " T " not in Path(f"/proc/{message['began']}/stat").read_text():
        time.sleep(0.01)
    assert talk.process.buried() == "was killed (signal 9), perhaps because memory ran out"


DRIVER = """
import queue, sys, time
from prunemark.study.executors.pipes import Child
heard = queue.SimpleQueue()
child = Child("tests.study.executors.talker", heard.put, arguments=("holds_the_interpreter",))
print(heard.get()["began"], flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the signal")
def test_a_process_in_a_call_that_lets_no_thread_run_ends_with_its_driver() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    time.sleep(0.1)  # it is in that call now, most likely
    driver.kill()
    driver.communicate()
    until = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < until, "it outlived its driver"
        time.sleep(0.01)


def test_without_descriptors_of_processes_their_end_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_watched", lambda _: None)
    assert Talk("forks_and_dies").end() == "ended with exit code 3"


def test_work_in_a_fork() -> None:
    heard: list[Message] = []

    def work(tell: channel.Hear) -> Message:
        tell({"step": 1})
        return {"pid": os.getpid()}

    answer, code = forked(work, heard.append)
    assert answer is not None
    assert answer["pid"] != os.getpid()
    assert (heard, code) == ([{"step": 1}], 0)


def test_a_fork_that_ends_before_its_work_is_done() -> None:
    def forks_and_dies(_: channel.Hear) -> Message:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        os._exit(3)

    assert forked(forks_and_dies) == (None, 3)

    def dies_of_a_signal(_: channel.Hear) -> Message:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    assert forked(dies_of_a_signal) == (None, -signal.SIGSEGV)


def test_a_fork_that_writes_to_its_channel_is_killed() -> None:
    def writes(_: channel.Hear) -> Message:
        for path in Path("/proc/self/fd").iterdir():
            if int(path.name) > 500:
                os.write(int(path.name), b"x" * 100)
        return {}

    with pytest.raises(NoMessageError):
        # What precedes the first message is nothing; what follows it is damage.
        forked(lambda tell: (tell({}), writes(tell))[1])


def test_a_pipe_without_a_process_is_heard_to_its_end() -> None:
    results, replies = os.pipe()
    send(replies, {"a": 1})
    os.close(replies)
    heard: list[Message] = []
    receive(results, heard.append)
    os.close(results)
    assert heard == [{"a": 1}]
