"""The table of networks, and every network in it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from prunemark.models.prunable import prunable
from prunemark.networks import NETWORKS, network
from prunemark.randomness import generator
from prunemark.registry import Entry

SHALLOW = [name for name in NETWORKS if name not in ("resnet-44", "resnet-56", "resnet-110")]


def narrow(name, *, channels=1, classes=10, **options):
    """A network of the table at the smallest size it takes (8 pixels at least), as narrow as it can be."""
    entry = NETWORKS[name]
    side = max(8, entry.min_size)
    if "width" in entry.accepts:
        options.setdefault("width", 0.05)
    return network(name, input_shape=(channels, side, side), classes=classes, **options)


def test_the_table_is_read_without_torch():
    program = (
        "import sys; from prunemark.networks import NETWORKS; import prunemark.recipes\n"
        "NETWORKS['resnet-8'].check((1, 8, 8), 10, {'width': 2, 'init': 'orthogonal'})\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_width_multiplies_the_channels():
    model = network("resnet-8", input_shape=(3, 8, 8), classes=10, width=1.5)
    assert [w.shape[0] for n, w in prunable(model).items() if n.endswith("conv1.weight")] == [24, 48, 96]


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize(("channels", "extra"), [(1, (0, 0)), (3, (4, 4)), (5, (3, 8))])
def test_logits_have_one_column_a_class_whatever_the_inputs(name, channels, extra):
    entry = NETWORKS[name]
    input_shape = (channels, *(entry.min_size + more for more in extra))
    options = {"width": 0.05} if "width" in entry.accepts else {}
    model = network(name, input_shape=input_shape, classes=7, **options).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, *input_shape, generator=generator(0)))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_seed_alone_and_global_randomness_is_untouched(name):
    def build(seed):
        return narrow(name, seed=seed).state_dict()

    state = torch.get_rng_state()
    first, other = build(3), build(4)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    again = build(3)
    torch.set_rng_state(state)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if first[key].ndim > 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_initialize_draws_the_whole_network_anew_like_network_does(name):
    model = narrow(name, seed=1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    state = torch.get_rng_state()
    model.initialize_(generator(2, "weights"))
    assert torch.equal(state, torch.get_rng_state())
    expected = narrow(name, seed=2).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_accepted_option_is_a_parameter_of_the_target(name):
    entry = NETWORKS[name]
    options = {"init": "orthogonal", "batchnorm": "ones", "biases": "zeros", "width": 0.07, "patch": 4}
    accepted = {option: options[option] for option in entry.accepts}
    assert isinstance(entry, Entry)
    assert narrow(name, **accepted).training


def test_an_unknown_name_lists_the_known_ones_and_suggests():
    with pytest.raises(ValueError, match=r'unknown network "resnt-20"; known: .*did you mean "resnet-20"'):
        network("resnt-20", input_shape=(3, 32, 32), classes=10)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "resnet-8",
            {"input_shape": (1, 2, 3)},
            r"resnet-8: images must be at least 4x4 pixels, not 2x3",
        ),
        ("resnet-8", {"input_shape": (8, 8)}, r"\(channels, height, width\)"),
        ("resnet-8", {"input_shape": (0, 8, 8)}, r"all at least 1, not \(0, 8, 8\)"),
        ("resnet-8", {"input_shape": (1, 8.0, 8)}, r"all at least 1, not \(1, 8\.0, 8\)"),
        ("resnet-8", {"input_shape": 8}, "all at least 1, not 8"),
        ("vit-tiny", {"input_shape": "8,8", "patch": 2}, "all at least 1, not '8,8'"),
        ("resnet-8", {"classes": 1}, "at least 2 classes, not 1"),
        ("resnet-8", {"classes": 10.5}, r"at least 2 classes, not 10\.5"),
        ("resnet-8", {"width": True}, "above 0, not True"),
        ("resnet-8", {"widht": 2}, 'unknown option "widht"; .*did you mean "width"'),
        ("resnet-8", {"width": 0}, "above 0, not 0"),
        ("vgg-16", {"input_shape": (3, 32, 16)}, "vgg-16: images must be at least 17x17 pixels, not 32x16"),
        ("resnet-50", {}, "resnet-50: images must be at least 32x32 pixels, not 8x8"),
        ("vit-tiny", {"patch": 3}, "patch is a whole number of pixels that divides the image's sides, not 3"),
        ("vit-tiny", {"patch": 0}, "divides the image's sides, not 0"),
        ("vit-tiny", {"patch": 2.0}, r"not 2\.0"),
        ("vit-tiny", {"batchnorm": "ones"}, 'unknown option "batchnorm"; known: init, patch, width'),
        ("resnet-8", {"init": "he"}, 'unknown init "he"; known: he-normal'),
        ("resnet-8", {"batchnorm": "one"}, 'did you mean "ones"'),
        ("lenet-300-100", {"batchnorm": "ones"}, 'unknown option "batchnorm"; known: init, width'),
    ],
)
def test_input_that_a_network_cannot_take_is_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(name, **({"input_shape": (1, 8, 8), "classes": 10} | arguments))


def test_numpys_whole_numbers_will_do():
    shape = (1, *np.array([8, 8]))
    assert network("resnet-8", input_shape=shape, classes=np.int64(3))(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError, match=r"images must be .*classes.*unknown option"):
        NETWORKS["resnet-8"].check((1, 2, 2), 1, {"widht": 2})
