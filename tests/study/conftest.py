"""A study that runs in a second, and an executor that needs no processes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from prunemark.study.executors import EXECUTORS, ExecutorEntry
from prunemark.study.spec import Study
from prunemark.training.engines.sparse import available_kernels
from tests.study.inline import InlineExecutor

# Its tests run kernels, which `make` builds where there is a C++ compiler.
collect_ignore = [] if available_kernels() else ["test_engines.py"]

TINY: dict[str, Any] = {
    "name": "tiny",
    "network": "lenet-300-100",
    "dataset": "digits",
    "methods": ["random", "snip", {"name": "synflow", "rounds": 2}],
    "benchmarks": ["lottery-rewinding"],
    "ablations": ["shuffle", "invert"],
    "sparsities": [0.9],
    "replicates": 1,
    "recipe": {"epochs": 1, "rewind_to": "3it"},
}


FILE = """
name = "mine"
network = "lenet-300-100"
dataset = "digits"
methods = ["snip"]
sparsities = [0.5]
"""


@pytest.fixture
def tiny() -> Callable[..., Study]:
    """tiny(field=value, ...): the tiny study with other fields."""
    return lambda **changes: Study(**(TINY | changes))


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an executor that runs jobs in this process, with the arithmetic of a worker."""
    entry = ExecutorEntry(target="tests.study.inline:InlineExecutor", summary="for tests")
    monkeypatch.setitem(EXECUTORS, "inline", entry)
    InlineExecutor.executed.clear()
    torch.set_flush_denormal(True)
    yield "inline"
    torch.set_flush_denormal(False)
