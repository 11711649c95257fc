"""A user's own network, by "FILE.py:build"."""

import random

import numpy as np
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


def written(tmp_path, text):
    (tmp_path / "other.py").write_text(text)
    return f"{tmp_path}/other.py:build"


def made(reference, seed=0):
    return pm.network(reference, input_shape=(6,), classes=3, seed=seed)


def test_the_generators_of_python_and_numpy_are_seeded_and_left_alone_too(tmp_path):
    reference = written(
        tmp_path,
        "import random\nimport numpy as np\nimport torch\nfrom torch import nn\n"
        "def build(*, input_shape, classes):\n"
        "    model = nn.Linear(*input_shape, classes)\n"
        "    model.order = random.sample(range(64), 64)\n"
        "    model.weight.data.copy_(torch.from_numpy(np.random.rand(3, 6)))\n"
        "    return model\n",
    )
    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = (made(reference, seed) for seed in (0, 0, 1))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002
    assert first.order == again.order != other.order
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize(
    ("before", "returned", "problem"),
    [
        ("model = nn.Linear(6, 3)", "model", "returns the same module each time"),
        ("model = nn.Linear(6, 3)", "copy.deepcopy(model)", "returns the same weights for every seed"),
        (
            "draw = torch.Generator()",
            "nn.Linear(6, 3).requires_grad_(False).apply(lambda m: m.weight.normal_(generator=draw))",
            "returns other weights each time it is called with the same seed",
        ),
    ],
)
def test_a_network_that_does_not_draw_its_weights_from_the_seed_is_refused(tmp_path, before, returned, problem):
    reference = written(
        tmp_path,
        f"import copy\nimport torch\nfrom torch import nn\n{before}\n"
        f"def build(*, input_shape, classes): return {returned}\n",
    )
    with pytest.raises(ValueError, match=rf"^other\.py:build {problem}"):
        made(reference)


def test_weights_that_are_meant_to_be_fixed_say_so(tmp_path):
    reference = written(
        tmp_path,
        "import copy\nfrom torch import nn\nmodel = nn.Linear(6, 3)\n"
        "def build(*, input_shape, classes): return copy.deepcopy(model)\n"
        "build.fixed_weights = True\n",
    )
    one, other = made(reference), made(reference, seed=1)
    assert one is not other
    assert torch.equal(one.weight, other.weight)


def test_weights_drawn_at_import_are_the_same_in_every_process(tmp_path):
    text = (
        "import copy\nfrom torch import nn\nmodel = nn.Linear(6, 3)\n"
        "def build(*, input_shape, classes): return copy.deepcopy(model)\n"
        "build.fixed_weights = True\n# "
    )
    torch.manual_seed(7)
    one = made(written(tmp_path, f"{text}one"))
    torch.manual_seed(8)
    # Another comment is another content, so it is imported anew.
    assert torch.equal(one.weight, made(written(tmp_path, f"{text}other")).weight)
