"""Running a user's code so that nothing of the process's state reaches in or is changed."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from prunemark.randomness import derive


@contextmanager
def isolated(seed: int, *purpose: str | int, device: torch.device) -> Generator[None]:
    """Random states of torch, NumPy and Python drawn from the seed, gradients on, autocast off; all restored after."""
    drawn = derive(seed, *purpose)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    on_cuda = device.type == "cuda"
    try:
        with (
            torch.random.fork_rng([device] if on_cuda else []),
            torch.inference_mode(False),  # turns gradients on too
            torch.autocast(device.type, enabled=False),
        ):
            seed_generators(drawn, device)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def seed_generators(drawn: int, device: torch.device) -> None:
    """Seed the global generators of torch (on the CPU and this device), NumPy and Python, and no others."""
    # `torch.manual_seed` would seed every other device too.
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(drawn)
    random.seed(drawn)
    np.random.seed(drawn % 2**32)  # noqa: NPY002
