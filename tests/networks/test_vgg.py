"""VGG against its definition."""

import pytest
import torch
from torch import nn

from prunemark.networks import network
from prunemark.networks.vgg import Vgg
from prunemark.randomness import generator


def pooled(model, side):
    """Shapes after each max-pool."""
    shapes = []
    for module in model.features:
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return shapes


def test_channels_and_sizes_after_the_four_max_pools():
    model = network("vgg-16", input_shape=(3, 32, 32), classes=10, width=1 / 16).eval()
    assert pooled(model, 32) == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]


@pytest.mark.parametrize(("side", "sizes"), [(17, [9, 5, 3, 2]), (28, [14, 7, 4, 2]), (64, [32, 16, 8, 4])])
def test_every_pool_has_something_to_halve(side, sizes):
    model = network("vgg-16", input_shape=(3, side, side), classes=10, width=1 / 64).eval()
    assert [shape[1] for shape in pooled(model, side)] == sizes


def test_every_convolution_is_followed_by_batchnorm_and_relu():
    kinds = [type(module).__name__ for module in network("vgg-16", input_shape=(3, 32, 32), classes=3).features]
    stages = [["Conv2d", "BatchNorm2d", "ReLU"] * count + ["MaxPool2d"] for count in (2, 2, 3, 3, 3)]
    assert kinds == [kind for stage in stages for kind in stage][:-1]


# The layers of VGG-16 in models/cifar_vgg.py of open_lth, the program of the study; M is a max-pool.
PLAN = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)


def test_at_32_pixels_the_logits_are_those_of_the_studys_network():
    model = network("vgg-16", input_shape=(3, 32, 32), classes=10, width=1 / 16).eval()
    inputs = torch.randn(2, 3, 32, 32, generator=generator(0))
    mine = iter(module for module in model.features if not isinstance(module, nn.MaxPool2d))
    with torch.no_grad():
        features = inputs
        for step in PLAN:
            if step == "M":
                features = nn.functional.max_pool2d(features, kernel_size=2, stride=2)
            else:
                convolution, batchnorm, relu = next(mine), next(mine), next(mine)
                assert convolution.out_channels == step / 16
                features = relu(batchnorm(convolution(features)))
        features = nn.AvgPool2d(2)(features)
        assert features.shape == (2, 32, 1, 1)
        torch.testing.assert_close(model(inputs), model.fc(features.view(2, -1)))


def test_biases_can_be_drawn_as_zeros():
    model = network("vgg-16", input_shape=(3, 32, 32), classes=10, width=1 / 64, biases="zeros")
    biases = [module.bias for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(biases) == 14
    assert not any(bias.any() for bias in biases)
    with pytest.raises(ValueError, match=r'vgg-16: unknown biases "zero"; known: .* did you mean "zeros"'):
        network("vgg-16", input_shape=(3, 32, 32), classes=10, biases="zero")


def test_another_depth_is_an_error():
    with pytest.raises(ValueError, match="one of 16, not 19"):
        Vgg(input_shape=(3, 32, 32), classes=10, depth=19)
