"""Models of known parts, about which more may be assumed than about any module."""

import torch
from torch import nn

_KNOWN = ("torch.nn.modules.", "prunemark.networks.", "torchvision.models.")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def is_plain(model: nn.Module) -> bool:
    """True if torch's layers and networks of ours (or torchvision's) are all there is: no code of a user's, no hooks.

    A forward pass of such a model changes nothing but buffers, and takes inputs in any memory format.
    """
    return all(
        type(module).__module__.startswith(_KNOWN)
        and "forward" not in vars(module)
        and not any(getattr(module, hooks, None) for hooks in _HOOKS)
        for module in model.modules()
    )


def use_fast_layout_(model: nn.Module) -> None:
    """Lay a plain model's weights out as float64 convolutions on a CPU take half the time: channels last.

    Only oneDNN's convolutions are tuned for another layout, and it has none in float64; sums round otherwise.
    """
    if any(isinstance(module, nn.Conv2d) for module in model.modules()):
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # torch's stubs lack it
