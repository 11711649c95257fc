"""Units' numbers spelled in binary: a row of booleans for all units, and one for each bit."""

import torch
from torch import Tensor

# Derivatives below this share of the largest are rounding noise.
_NOISE = 1e-9


def binary_codes(units: Tensor, *, with_complements: bool) -> Tensor:
    """Rows of booleans: all units, for each bit of their numbers those that have it, and those that have it not."""
    bits = [((units >> bit) & 1).bool() for bit in range((len(units) - 1).bit_length())]
    return torch.stack([torch.ones_like(units, dtype=torch.bool), *bits, *(~bit for bit in bits if with_complements)])


def of_others(used: Tensor, arrived: Tensor) -> Tensor:
    """Places where units other than the one that arrives are used too; used: rows of `binary_codes` x sink units."""
    bits = (len(used) - 1) // 2
    powers = torch.arange(bits)[:, None]
    spelled = ((arrived >> powers) & 1).bool()
    return (arrived >= 0) & used[0] & ((used[1 : 1 + bits] != spelled) | (used[1 + bits :] == spelled)).any(0)


def among(patterns: Tensor, units: int) -> Tensor:
    """Units that may be used where a pattern was found; patterns: rows of `binary_codes` but the first x patterns."""
    codes = binary_codes(torch.arange(units), with_complements=True)[1:]
    return torch.stack([(~codes | pattern[:, None]).all(0) for pattern in patterns.T]).any(0)


def decode(tangent: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Places where something arrives, the number that it spells there, and whether some of it spells none."""
    noticed = noticeable(tangent[0])
    ratios = tangent[1:] / tangent[0].where(noticed, 1)
    bits = ratios.round()
    mixed = bool((noticed & ((ratios - bits).abs() > 1e-6)).any() or (noticed & (bits != 0) & (bits != 1)).any())
    powers = 2 ** torch.arange(len(bits)).view(-1, 1, 1)
    return noticed, (bits.long() * powers).sum(0), mixed


def noticeable(tangent: Tensor) -> Tensor:
    """Places where a derivative is more than rounding noise."""
    size = tangent.abs()
    return size > _NOISE * size.max()
