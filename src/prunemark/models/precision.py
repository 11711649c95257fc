"""The precision in which a model computes: float32 that is float32, and float64 where rounding would decide."""

import itertools
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def true_float32(*, tf32: bool = False) -> Generator[None]:
    """Compute convolutions and products of float32 in float32, whatever the process has set; restored after.

    A GPU by default rounds the factors of a convolution to TF32, which has 10 bits after the point instead of 23.

    Args:
        tf32: allow it, in products too.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def cast_(model: nn.Module, dtype: torch.dtype) -> None:
    """Turn parameters and buffers into `dtype`, in place, but for those of whole numbers."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = cast(tensor.data, dtype)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in `dtype`, or in complex numbers of that precision; as it is if it holds whole numbers."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
