"""Data sets of a user's own code: "FILE.py:data"."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from prunemark.datasets.from_tensors import Pair, from_tensors
from prunemark.datasets.in_memory import Dataset
from prunemark.models.isolation import isolated
from prunemark.own_code import OwnCode, explained, short_name

_EXPECTED = (
    "must return train and test: each a pair (inputs, targets) or a map-style data set of such pairs; or "
    '{"train": ..., "test": ..., "class_names": [...]}'
)


def load(name: str, *, data_dir: str | Path | None = None) -> Dataset:
    """What "FILE.py:data" returns, called without arguments, as a data set.

    A data set of map style, with a length and items (input, target), is read whole into memory. Random numbers that the
    function draws from the global generators are the same each time.

    Raises:
        ValueError: the file or function fails, or returns anything else; what `from_tensors` refuses.
    """
    shown = short_name(name)
    function = OwnCode.find(name).load()
    with explained(shown), isolated(0, "data", device=torch.device("cpu")):
        returned = function()
        if isinstance(returned, Dataset):
            return returned
        names: Sequence[str] | None = None
        if isinstance(returned, Mapping):
            table = cast("Mapping[str, Any]", returned)
            if not {"train", "test"} <= table.keys() or table.keys() - {"train", "test", "class_names"}:
                raise ValueError(f"{shown} {_EXPECTED}; not a mapping of {', '.join(map(str, table))}")
            returned, names = (table["train"], table["test"]), table.get("class_names")
        if not isinstance(returned, tuple | list) or len(cast("Sequence[Any]", returned)) != 2:
            raise ValueError(f"{shown} {_EXPECTED}; not {type(returned).__name__}")
        train, test = cast("Sequence[Any]", returned)
        pairs = [_pair(shown, label, split) for label, split in (("train", train), ("test", test))]
    return from_tensors(shown, train=pairs[0], test=pairs[1], class_names=names)


def _pair(shown: str, label: str, split: Any) -> Pair:
    if isinstance(split, tuple | list) and len(cast("Sequence[Any]", split)) == 2:
        return cast("Pair", tuple(cast("Sequence[Any]", split)))
    if isinstance(split, Tensor) or not (hasattr(split, "__len__") and hasattr(split, "__getitem__")):
        raise ValueError(f"{shown} {_EXPECTED}; its {label} is a {type(split).__name__}")
    items = [split[i] for i in range(len(split))]
    if not items:
        raise ValueError(f"{shown}: its {label} is empty")
    if not all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
        raise ValueError(f"{shown}: the items of its {label} are no pairs (input, target)")
    return _stacked(shown, label, [item[0] for item in items]), _stacked(shown, label, [item[1] for item in items])


def _stacked(shown: str, label: str, values: list[Any]) -> Tensor:
    tensors = [torch.as_tensor(value) for value in values]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        few = ", ".join(map(str, sorted(shapes)[:3]))
        raise ValueError(f"{shown}: examples of its {label} differ in shape: {few}")
    return torch.stack(tensors)
