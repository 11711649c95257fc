"""Whether somebody listens at an address of a Ray cluster."""

import importlib
import os
import socket
from typing import Any

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
    try:
        socket.create_connection(_parts(address), timeout=timeout_s).close()
    except OSError as error:
        reason = f"no answer in {timeout_s:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ExecutorError(f"the Ray cluster {address} does not answer: {reason}") from error


def require_ray(address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    """Check that what listens there speaks gRPC, as the head of a Ray cluster does: a proxy accepts any connection.

    Raises:
        ExecutorError: it does not.
    """
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    grpc: Any = importlib.import_module("grpc")
    host, port = _parts(address)
    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=timeout_s)
    except grpc.FutureTimeoutError as error:
        reason = f"what listens there is no Ray cluster (no answer in {timeout_s:g} s)"
        raise ExecutorError(f"the Ray cluster {address} does not answer: {reason}") from error
    finally:
        channel.close()


def _parts(address: str) -> tuple[str, int]:
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon:
        host, port = port, str(_CLIENT_PORT if address.startswith(CLIENT) else _HEAD_PORT)
    if not host or not port.isdigit():
        raise ValueError(f'the address of a Ray cluster is "auto", HOST:PORT or ray://HOST:PORT, not "{address}"')
    return host.strip("[]"), int(port)
