"""Kernels for instruction sets that this processor lacks: compiled, and run in an emulator or in other registers.

A recorded training step is replayed (kernels/check/replay.cpp) and compared with that of the kernels of this processor,
which the other tests compare with PyTorch.
"""

import copy
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from prunemark.networks import network
from prunemark.training.engines.sparse import trace
from prunemark.training.engines.sparse.builder import build
from prunemark.training.engines.sparse.kernels import new_program
from tests.training.engines.sparse.reference import apply_, batch, random_masks

KERNELS = Path(__file__).parents[4] / "kernels"


@dataclass(frozen=True)
class Target:
    """A compiler, its flags, and what runs the program."""

    name: str
    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] = ()

    @property
    def here(self) -> bool:
        return all(shutil.which(name) for name in (self.compiler, *self.runner[:1])) and KERNELS.is_dir()


TARGETS = [
    Target("tiles of AVX-512 in AVX2's registers", "g++", ("-mavx2", "-mfma", "-DPRUNEMARK_WIDTH=16")),
    Target("NEON in qemu", "aarch64-linux-gnu-g++", ("-static",), ("qemu-aarch64",)),
]


class Recorder:
    """A program that writes down every call."""

    def __init__(self, program, examples):
        self.program, self.lines = program, [str(examples)]

    def __getattr__(self, name):
        method = getattr(self.program, name)
        if name == "strides":
            return method

        def call(*arguments):
            shown = [list(arguments)] if name == "tensor" else arguments
            self.lines.append(" ".join([name, *map(text, shown)]))
            return method(*arguments)

        return call


def text(value):
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list | np.ndarray):
        items = np.asarray(value).reshape(-1).tolist()
        return " ".join([str(len(items)), *map(repr, items)])
    return str(value)


def recorded(name, shape, examples):
    """The recording of two steps, and the loss, gradients and weights that they come to here."""
    model = network(name, input_shape=shape, classes=10, seed=0, **({"width": 0.5} if name == "resnet-8" else {}))
    masks = random_masks(model, density=0.4)
    apply_(model, masks)
    recorder = Recorder(new_program(examples), examples)
    built = build(trace(model, shape), copy.deepcopy(model), masks, recorder)
    inputs, targets = batch(examples, shape)
    found = []
    for _ in range(2):
        shown = [list(shape), inputs.numpy(), targets.numpy(), 0.1, 0.9, 0.01]
        recorder.lines += [" ".join(["step", *map(text, shown)]), "read"]
        loss = recorder.program.step(inputs, targets, None, 0.1, 0.9, 0.01)
        found.append(np.float64(loss).reshape(1))
        for stored in sorted(built.parameters.values(), key=lambda each: each.id):
            size = model.get_parameter(next(n for n, s in built.parameters.items() if s is stored)).numel()
            count = size if stored.positions is None else len(stored.positions)
            value, velocity, gradient = (np.empty(count, np.float32) for _ in range(3))
            recorder.program.read_parameter(stored.id, value, velocity, gradient)
            found += [gradient, value]
    return "\n".join(recorder.lines) + "\n", found


@pytest.fixture(scope="session", params=[target for target in TARGETS if target.here], ids=lambda target: target.name)
def replay(request, tmp_path_factory):
    """The program that replays recordings, compiled for a target."""
    folder, target = tmp_path_factory.mktemp("replay"), request.param
    common = [target.compiler, "-O2", "-std=c++20", "-Wno-psabi", "-Wno-ignored-attributes", *target.flags]
    table = ["-DPRUNEMARK_TABLE=PORTABLE", f'-DPRUNEMARK_NAME="{target.name}"']
    source = [str(KERNELS / "src" / name) for name in ("kernels.cpp", "program.cpp")]
    subprocess.run([*common, *table, "-c", source[0], "-o", folder / "kernels.o"], check=True)
    program = folder / "replay"
    subprocess.run(
        [*common, source[1], str(KERNELS / "check/replay.cpp"), folder / "kernels.o", "-o", program], check=True
    )
    return lambda recording: (
        subprocess.run([*target.runner, program], input=recording, capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "shape", "examples"),
    [("resnet-8", (3, 9, 8), 37), ("lenet-300-100", (1, 7, 7), 20), ("vgg-16", (3, 32, 32), 3)],
)
def test_two_steps_as_on_this_processor(name, shape, examples, replay):
    recording, expected = recorded(name, shape, examples)
    lines = replay(recording).splitlines()
    assert len(lines) == len(expected)
    for line, numbers in zip(lines, expected, strict=True):
        found = np.array(line.split(), np.float64)
        assert found.shape == numbers.shape
        assert np.linalg.norm(found - numbers) <= 1e-4 * np.linalg.norm(numbers) + 1e-6
