"""Random generators derived by name, so that no draw depends on what was drawn before it or beside it."""

from __future__ import annotations

import hashlib
from numbers import Integral
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose: the first 63 bits of SHA-256 over the seed and the purpose's parts.

    Equal arguments give equal seeds on every machine; any difference in them gives an unrelated seed.
    `derive(seed, "order", 3)` is the data order of epoch 3 of the replicate whose seed is `seed`.

    Raises:
        ValueError: the seed is not a whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ValueError(f"a seed is a whole number; got {seed!r}")
    text = "\0".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator seeded with `derive(seed, *purpose)`; draw on the CPU, then move to the device."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *purpose))
