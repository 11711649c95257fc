"""The published files of a data set, sent once to each node of a cluster.

Nodes that share a folder of data need none of this; others get the files that this machine has. They are verified by
their SHA-256 when they are read, there as here.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from prunemark.artifacts import write_atomically
from prunemark.datasets.files import cache_folder, found
from prunemark.datasets.sources import SOURCES

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class NodeData:
    """A data set's files in the object store of a cluster.

    Attributes:
        name: of the data set.
        digest: of what the files are.
        files: name -> reference to the bytes.
    """

    name: str
    digest: str
    files: Mapping[str, Any]


def put(name: str, data_dir: str | None, store: Callable[[Bytes], Any]) -> NodeData | None:
    """Put the files of a data set into an object store.

    Args:
        name: of the data set.
        data_dir: where it is looked for, see `prunemark.dataset`.
        store: puts bytes there and returns a reference to them.

    Returns:
        None for data that are part of the package, of the hub, or a folder of images: nodes read those themselves.
    """
    source = SOURCES.get(name)
    if source is None or not source.files:
        return None
    paths = [found(source, file, data_dir) or cache_folder(name) / file.name for file in source.files]
    if not all(path.is_file() for path in paths):
        return None
    digest = hashlib.sha256(
        " ".join(f"{path.name} {file.sha256}" for path, file in zip(paths, source.files, strict=True)).encode()
    )
    files = {path.name: store(np.fromfile(path, np.uint8)) for path in paths}
    return NodeData(name=name, digest=digest.hexdigest()[:16], files=files)


def unpacked(data: NodeData, fetch: Callable[[Any], Bytes], *, folder: Path | None = None) -> str:
    """The folder on this node that holds the files of a data set, which the first process to ask for it fetches.

    Args:
        data: what `put` returned.
        fetch: gets the bytes of a reference.
        folder: where it is made; by default the node's folder for temporary files.
    """
    owner = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    root = (folder or Path(tempfile.gettempdir())) / f"prunemark-{owner}" / f"data-{data.digest}"
    place = root / data.name
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "lock"):
        for name, reference in data.files.items():
            if not (place / name).is_file():
                write_atomically(place / name, fetch(reference).tobytes())
    return str(root)
