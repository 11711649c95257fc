"""Whether somebody listens at an address of a Ray cluster."""

import socket

from prunemark.study.executors import ExecutorError

ANSWER_TIMEOUT_S = 5.0
"""Seconds in which the head of a cluster has to answer."""
CLIENT = "ray://"
"""How the address of a head begins that is reached as a client."""
_CLIENT_PORT, _HEAD_PORT = 10001, 6379


def require_answer(address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    """Check that somebody listens at the address of a head: Ray itself waits for minutes, and may end the process.

    Raises:
        ExecutorError: nobody does.
        ValueError: the address is of no form that is known.
    """
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon:
        host, port = port, str(_CLIENT_PORT if address.startswith(CLIENT) else _HEAD_PORT)
    if not host or not port.isdigit():
        raise ValueError(f'the address of a Ray cluster is "auto", HOST:PORT or ray://HOST:PORT, not "{address}"')
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except OSError as error:
        reason = f"no answer in {timeout_s:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ExecutorError(f"the Ray cluster {address} does not answer: {reason}") from error
