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


def computes_in_bfloat16(device: torch.device) -> bool:
    """True if a device multiplies bfloat16 numbers in hardware; others convert every number, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def require_bfloat16(device: torch.device) -> None:
    """Raise a ValueError unless the device computes in bfloat16."""
    if not computes_in_bfloat16(device):
        raise ValueError(
            f'precision = "bfloat16" needs a device that multiplies bfloat16 numbers, which this {device.type} does '
            'not (a CPU with AVX-512 or Arm\'s bf16 does, and a GPU from Ampere on): take precision = "float32"'
        )
