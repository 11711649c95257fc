"""All that two folders of results hold, compared."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def stored(folder: Path) -> dict[str, Any]:
    """All that is stored of a study, but for times."""
    with contextlib.closing(sqlite3.connect(folder / "study.sqlite")) as db:
        jobs = {
            key: (status, {name: value for name, value in json.loads(result).items() if name != "train_seconds"})
            for key, status, result in db.execute("SELECT key, status, result FROM jobs")
        }
        trials = db.execute("SELECT * FROM trials ORDER BY position").fetchall()
    return {"jobs": jobs, "trials": trials}


def compare(folder: Path, undisturbed: Path) -> None:
    assert stored(folder) == stored(undisturbed)
    names = sorted(path.name for path in (undisturbed / "artifacts").iterdir())
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == names
    for name in names:
        ours, theirs = (load_file(each / "artifacts" / name) for each in (folder, undisturbed))
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
