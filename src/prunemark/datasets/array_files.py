"""Data sets in one file of arrays: .npz, .safetensors or .parquet. No pickle is ever read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prunemark.datasets.from_tensors import from_tensors
from prunemark.datasets.in_memory import Dataset

_NAMES = ("train_inputs", "train_targets", "test_inputs", "test_targets")


def load(name: str, *, data_dir: str | Path | None = None) -> Dataset:
    """A file of arrays as a data set.

    .npz and .safetensors hold train_inputs, train_targets, test_inputs and test_targets, and may hold the names of the
    classes: an array of texts class_names in .npz, a JSON list under that name in the metadata of .safetensors. A table
    in .parquet has the columns "split" ("train" or "test") and "target"; its other columns are the inputs, numbers.

    Raises:
        ValueError: there is no such file, it is damaged or lacks an array; what `from_tensors` refuses.
    """
    path = Path(name)
    if not path.is_file():
        raise ValueError(f'data set "{name}": there is no such file')
    read = {".npz": _npz, ".safetensors": _safetensors, ".parquet": _parquet}[path.suffix]
    try:
        arrays, class_names = read(path)
    except ValueError as error:
        raise ValueError(f'data set "{path.name}": {error}') from error
    # Of many kinds, from each format's library.
    except Exception as error:
        raise ValueError(f'data set "{path.name}" cannot be read: {type(error).__name__}: {error}') from error
    if missing := [each for each in _NAMES if each not in arrays]:
        raise ValueError(f'data set "{path.name}" lacks {", ".join(missing)}; it has {", ".join(arrays) or "nothing"}')
    train_inputs, train_targets, test_inputs, test_targets = (arrays[each] for each in _NAMES)
    return from_tensors(
        path.name, train=(train_inputs, train_targets), test=(test_inputs, test_targets), class_names=class_names
    )


_Read = tuple[Mapping[str, Any], list[str] | None]


def _npz(path: Path) -> _Read:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = arrays.pop("class_names", None)
    return arrays, None if names is None else [str(name) for name in names.tolist()]


def _safetensors(path: Path) -> _Read:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = (file.metadata() or {}).get("class_names")
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(names) if names else None  # noqa: SIM118


def _parquet(path: Path) -> _Read:
    import pandas as pd

    table = pd.read_parquet(path)
    if missing := [name for name in ("split", "target") if name not in table.columns]:
        raise ValueError(f"the table lacks the columns {', '.join(missing)}")
    splits = set(table["split"])
    if splits != {"train", "test"}:
        raise ValueError(f'the column split holds {sorted(map(str, splits))}, not "train" and "test"')
    class_names = None
    target = table["target"]
    if not pd.api.types.is_numeric_dtype(target):
        class_names = sorted(map(str, set(target)))
        target = target.map({name: number for number, name in enumerate(class_names)}.__getitem__)
    features = table.drop(columns=["split", "target"])
    texts = [str(name) for name in features.columns if not pd.api.types.is_numeric_dtype(features[name])]
    if texts:
        raise ValueError(f"the columns {', '.join(texts)} are no numbers")
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        rows = (table["split"] == split).to_numpy()
        arrays[f"{split}_inputs"] = features.to_numpy(dtype=np.float32)[rows]
        arrays[f"{split}_targets"] = target.to_numpy()[rows]
    return arrays, class_names
