"""The numbers of weights, against the literature and against counts by hand."""

import pytest
import torch
from torch import nn

from prunemark.models.prunable import prunable
from prunemark.networks import NETWORKS


def on_meta(name, input_shape, classes, **options):
    """The network with its shapes but without memory."""
    entry = NETWORKS[name]
    with torch.device("meta"):
        return entry.load()(input_shape=input_shape, classes=classes, **entry.options, **options)


def prunable_weights(model):
    return sum(weight.numel() for weight in prunable(model).values())


@pytest.mark.parametrize(
    ("name", "input_shape", "classes", "weights", "parameters"),
    [
        ("lenet-300-100", (1, 28, 28), 10, 266_200, 266_610),
        ("resnet-20", (3, 32, 32), 10, 270_896, 272_474),
        # 14,728,266: the published size of VGG-16 with BatchNorm and one linear layer on CIFAR-10.
        ("vgg-16", (3, 32, 32), 10, 14_715_584, 14_728_266),
        # 11,689,512 and 25,557,032: torchvision's resnet18 and resnet50; 5,717,416: timm's vit_tiny_patch16_224.
        ("resnet-18", (3, 224, 224), 1000, 11_678_912, 11_689_512),
        ("resnet-18", (3, 64, 64), 200, 11_269_312, 11_279_112),
        ("resnet-18-modified", (3, 64, 64), 200, 11_261_632, 11_271_432),
        ("resnet-50", (3, 224, 224), 1000, 25_502_912, 25_557_032),
        ("vit-tiny", (3, 224, 224), 1000, 5_647_872, 5_717_416),
    ],
)
def test_published_sizes(name, input_shape, classes, weights, parameters):
    model = on_meta(name, input_shape, classes)
    assert prunable_weights(model) == weights
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_vgg_16_without_batchnorm_has_the_published_14719818_weights_and_biases():
    model = on_meta("vgg-16", (3, 32, 32), 10)
    mapping = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(p.numel() for module in mapping for p in module.parameters()) == 14_719_818


def test_lenet_of_half_the_width_by_hand():
    model = on_meta("lenet-300-100", (1, 28, 28), 10, width=0.5)
    assert prunable_weights(model) == 784 * 150 + 150 * 50 + 50 * 10


def test_resnet_8_on_digits_by_hand():
    stem, stages = 9 * 16, 9 * (2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    shortcuts, classifier = 16 * 32 + 32 * 64, 64 * 10
    assert prunable_weights(on_meta("resnet-8", (1, 8, 8), 10)) == stem + stages + shortcuts + classifier


def test_resnet_50_by_hand():
    def block(inputs, narrow):
        return inputs * narrow + 9 * narrow**2 + narrow * 4 * narrow

    total = 49 * 3 * 64 + 2048 * 1000
    inputs = 64
    for narrow, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        total += block(inputs, narrow) + inputs * 4 * narrow + (count - 1) * block(4 * narrow, narrow)
        inputs = 4 * narrow
    assert prunable_weights(on_meta("resnet-50", (3, 224, 224), 1000)) == total == 25_502_912


def test_a_block_of_the_transformer_has_12_squares_of_its_width():
    names = prunable(on_meta("vit-tiny", (3, 32, 32), 10))
    block = {n.removeprefix("blocks.0."): w.numel() for n, w in names.items() if n.startswith("blocks.0.")}
    assert block == {
        "attention.in_proj_weight": 3 * 192**2,
        "attention.out_proj.weight": 192**2,
        "mlp.0.weight": 4 * 192**2,
        "mlp.2.weight": 4 * 192**2,
    }
    assert not any("token" in name or "position" in name for name in names)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("resnet")])
def test_depth_is_the_number_in_the_name(name):
    side = max(8, NETWORKS[name].min_size)
    counted = [weight for weight in prunable(on_meta(name, (3, side, side), 10)) if "shortcut" not in weight]
    assert len(counted) == int(name.split("-")[1])
