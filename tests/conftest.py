"""Small networks and batches that many tests share."""

import os
import platform

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from prunemark.training.engines.sparse import available_kernels

torch.set_num_threads(1)
# Examples are as quick as the machine lets them be: time is not what these tests are about.
settings.register_profile("prunemark", deadline=None)
settings.load_profile("prunemark")


class ConvNet(nn.Module):
    """Convolutions with BatchNorm, a stride, a shortcut and a classifier: 2x6x6 -> 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
        self.shortcut = nn.Conv2d(4, 8, 1, stride=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.down(x) + self.shortcut(x))
        return self.head(x.mean((2, 3)))


_INSTRUCTION_SETS = {"x86_64": ("portable", "avx2", "avx512")}


def pytest_report_header() -> str:
    """Which of the sparse engine's kernels the tests run here, and which this processor lacks."""
    run = available_kernels()
    if not run:
        return "sparse kernels: not installed, none is run"
    known = _INSTRUCTION_SETS.get(platform.machine(), ("portable",))
    lacking = [name for name in known if name not in run]
    return f"sparse kernels: {', '.join(run)} run; not run: {', '.join(lacking) or 'none'}"


@pytest.fixture(autouse=True)
def _same_draws_in_any_order() -> None:
    """Draws of a test from torch's global generator do not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture
def convnet() -> ConvNet:
    """A ConvNet with random BatchNorm weights, the same in every test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ConvNet()
        nn.init.uniform_(net.norm.weight)
    return net


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    """Two batches of unequal size for a ConvNet."""
    source = torch.Generator().manual_seed(1)
    inputs = torch.randn(20, 2, 6, 6, generator=source)
    targets = torch.randint(0, 3, (20,), generator=source)
    return [(inputs[:12], targets[:12]), (inputs[12:], targets[12:])]
