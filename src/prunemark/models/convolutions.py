"""Around a fault of oneDNN on CPUs."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

_BLOCK = 16  # channels, with AVX-512


@contextmanager
def sound_convolutions(model: nn.Module) -> Generator[None]:
    """Run a model's convolutions without oneDNN where its kernels would write outside their buffers.

    torch 2.13's oneDNN does so in the weight gradient of a 1x1 convolution with a stride and fewer input channels than
    one of its blocks (oneDNN issue 6035; crashes seen with 2 to 6 channels, and valgrind names
    `jit_avx2_1x1_convolution_bwd_weights`); what it damages crashes later, or is a gradient. Shortcuts of narrow
    residual networks are such layers; networks that contain one run without oneDNN, all others with it.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    if not any(
        max(c.kernel_size) == 1 and max(c.stride) > 1 and c.in_channels // c.groups < _BLOCK for c in convolutions
    ):
        yield
        return
    enabled, *_ = torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=enabled)
