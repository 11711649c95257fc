"""A user's own network, by "FILE.py:build"."""

import pytest
import torch

import prunemark as pm


@pytest.fixture
def build(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def build(*, input_shape, classes, width=4):\n"
        "    return nn.Sequential(nn.Linear(*input_shape, width), nn.ReLU(), nn.Linear(width, classes))\n"
        "def number(*, input_shape, classes):\n"
        "    return 3\n"
        "class Drawn(nn.Linear):\n"
        "    def __init__(self, *, input_shape, classes):\n"
        "        super().__init__(*input_shape, classes)\n"
        "    def initialize_(self, generator):\n"
        "        self.weight.data.normal_(generator=generator)\n"
    )
    return f"{tmp_path}/mine.py"


def test_it_is_drawn_from_the_seed_and_leaves_the_global_state_alone(build):
    state = torch.get_rng_state()
    first, again, other = (
        pm.network(f"{build}:build", input_shape=(6,), classes=3, seed=seed, width=5) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first[0].weight.shape == (5, 6)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_one_that_can_draw_itself_does(build):
    from prunemark.randomness import generator

    model = pm.network(f"{build}:Drawn", input_shape=(6,), classes=3, seed=2)
    assert torch.equal(model.weight, torch.empty(3, 6).normal_(generator=generator(2, "weights")))


def test_what_is_no_module_is_refused(build):
    with pytest.raises(ValueError, match=r"mine\.py:number must return a torch\.nn\.Module, not int"):
        pm.network(f"{build}:number", input_shape=(6,), classes=3)
    with pytest.raises(ValueError, match="there is no file"):
        pm.network("no.py:build", input_shape=(6,), classes=3)
