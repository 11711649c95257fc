"""State of a model that its state dict leaves out: attributes of Python, and buffers that are not persistent."""

import hashlib
import io
import pickle
import types
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Of every module: what is saved, and hooks.
_OF_ALL = frozenset(vars(nn.Module()))
_FIXED = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type)


def unchanged(model: nn.Module) -> Callable[[], bool]:
    """A question to ask later: has the model the same state beside its state dict as now? No where it cannot be told.

    Not seen is what a forward pass keeps outside the model, such as in a global variable.
    """
    before = unsaved_state(model)
    return lambda: before is not None and unsaved_state(model) == before


def unsaved_state(model: nn.Module) -> str | None:
    """A digest of what the state dict leaves out; None where it cannot be told."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        state: dict[str, object] = {key: value for key, value in vars(module).items() if key not in _OF_ALL}
        state |= {key: buffer for key, buffer in module.named_buffers(recurse=False) if id(buffer) not in saved}
        for key, value in state.items():
            content = io.BytesIO()
            try:
                _Bytes(content, saved).dump(value)
            except Exception:  # whatever the classes of a user's do
                return None
            digest.update(f"{name}\0{key}\0".encode() + content.getvalue())
    return digest.hexdigest()


class _Bytes(pickle.Pickler):
    """Bytes to compare, which nobody reads: what is saved elsewhere, or cannot change, is named by its identity."""

    def __init__(self, file: io.BytesIO, saved: set[int]) -> None:
        super().__init__(file)
        self._saved = saved

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, weakref.ref):
            return id(obj())
        if isinstance(obj, torch.Generator):
            return obj.get_state().numpy().tobytes()
        return id(obj) if id(obj) in self._saved or isinstance(obj, _FIXED) else None
