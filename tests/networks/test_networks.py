"""The table of networks, and every network in it."""

import subprocess
import sys

import pytest
import torch

from prunemark.networks import NETWORKS, network
from prunemark.prunable import prunable
from prunemark.randomness import generator
from prunemark.registry import Entry

SHALLOW = [name for name in NETWORKS if name not in ("resnet-44", "resnet-56", "resnet-110")]


def prunable_weights(name, **options):
    return sum(weight.numel() for weight in prunable(network(name, **options)).values())


def test_the_table_is_read_without_torch():
    program = (
        "import sys; from prunemark.networks import NETWORKS; import prunemark.recipes\n"
        "NETWORKS['resnet-8'].check((1, 8, 8), 10, {'width': 2, 'init': 'orthogonal'})\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_lenet_on_mnist_has_266200_prunable_weights():
    assert prunable_weights("lenet-300-100", input_shape=(1, 28, 28), classes=10) == 266_200


def test_resnet_20_on_cifar_10_has_270896_prunable_weights():
    assert prunable_weights("resnet-20", input_shape=(3, 32, 32), classes=10) == 270_896


def test_resnet_8_on_digits_has_as_many_prunable_weights_as_counted_by_hand():
    stem, stages = 9 * 16, 9 * (2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    shortcuts, classifier = 16 * 32 + 32 * 64, 64 * 10
    assert prunable_weights("resnet-8", input_shape=(1, 8, 8), classes=10) == (stem + stages + shortcuts + classifier)


@pytest.mark.parametrize("name", NETWORKS)
def test_depth_is_the_number_in_the_name(name):
    if "depth" not in NETWORKS[name].options:
        return
    model = network(name, input_shape=(3, 8, 8), classes=10)
    counted = [w for n, w in prunable(model).items() if "shortcut" not in n]
    assert name == f"resnet-{len(counted)}"


def test_width_multiplies_the_channels():
    model = network("resnet-8", input_shape=(3, 8, 8), classes=10, width=1.5)
    assert [w.shape[0] for n, w in prunable(model).items() if n.endswith("conv1.weight")] == [24, 48, 96]


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("input_shape", [(1, 8, 8), (3, 4, 4), (5, 7, 12)])
def test_logits_have_one_column_a_class_whatever_the_inputs(name, input_shape):
    model = network(name, input_shape=input_shape, classes=7).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, *input_shape, generator=generator(0)))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_seed_alone_and_global_randomness_is_untouched(name):
    def build(seed):
        return network(name, input_shape=(1, 8, 8), classes=10, seed=seed).state_dict()

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
    model = network(name, input_shape=(1, 8, 8), classes=10, seed=1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    state = torch.get_rng_state()
    model.initialize_(generator(2, "weights"))
    assert torch.equal(state, torch.get_rng_state())
    expected = network(name, input_shape=(1, 8, 8), classes=10, seed=2).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_accepted_option_is_a_parameter_of_the_target(name):
    entry = NETWORKS[name]
    options = {"init": "orthogonal", "batchnorm": "ones", "width": 0.5}
    accepted = {option: options[option] for option in entry.accepts}
    assert isinstance(entry, Entry)
    assert network(name, input_shape=(1, 8, 8), classes=10, **accepted).training


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
        ("resnet-8", {"classes": 1}, "at least 2 classes, not 1"),
        ("resnet-8", {"widht": 2}, 'unknown option "widht"; .*did you mean "width"'),
        ("resnet-8", {"width": 0}, "above 0, not 0"),
        ("resnet-8", {"init": "he"}, 'unknown init "he"; known: he-normal'),
        ("resnet-8", {"batchnorm": "one"}, 'did you mean "ones"'),
        ("lenet-300-100", {"batchnorm": "ones"}, 'unknown option "batchnorm"; known: init'),
    ],
)
def test_input_that_a_network_cannot_take_is_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(name, **({"input_shape": (1, 8, 8), "classes": 10} | arguments))


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError, match=r"images must be .*classes.*unknown option"):
        NETWORKS["resnet-8"].check((1, 2, 2), 1, {"widht": 2})
