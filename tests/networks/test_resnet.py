"""Residual networks against their definitions."""

import pytest
import torch
from torch.nn import functional as F

from prunemark.networks import network
from prunemark.networks.resnet import BasicBlock, Bottleneck, CifarResNet, ImageNetResNet
from prunemark.randomness import generator


@pytest.mark.parametrize("depth", [2, 9, 18])
def test_a_depth_that_is_not_6n_plus_2_is_an_error(depth):
    with pytest.raises(ValueError, match=rf"6n \+ 2: 8, 14, 20, ..., not {depth}"):
        CifarResNet(input_shape=(3, 32, 32), classes=10, depth=depth)


@pytest.mark.parametrize("depth", [20, 34])
def test_a_depth_that_is_not_18_or_50_is_an_error(depth):
    with pytest.raises(ValueError, match=f"18 or 50, not {depth}"):
        ImageNetResNet(input_shape=(3, 64, 64), classes=10, depth=depth)


def stage_shapes(model, side):
    shapes = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return shapes


@pytest.mark.parametrize(
    ("name", "side", "first", "expansion"),
    [("resnet-18", 64, 16, 1), ("resnet-18-modified", 64, 64, 1), ("resnet-50", 64, 16, 4)],
)
def test_stages_of_the_imagenet_kind_double_the_channels_and_halve_the_resolution(name, side, first, expansion):
    model = network(name, input_shape=(3, side, side), classes=5, width=1 / 16).eval()
    expected = [(1, expansion * 4 * 2**stage) + (first // 2**stage,) * 2 for stage in range(4)]
    assert stage_shapes(model, side) == expected


def test_stage_lengths_are_those_of_the_paper():
    lengths = {
        name: [len(stage) for stage in network(name, input_shape=(3, 32, 32), classes=5, width=1 / 64).stages]
        for name in ("resnet-18", "resnet-18-modified", "resnet-50")
    }
    assert lengths == {"resnet-18": [2] * 4, "resnet-18-modified": [2] * 4, "resnet-50": [3, 4, 6, 3]}


def test_the_bottleneck_strides_in_its_3x3_convolution():
    block = Bottleneck(8, 4, stride=2)
    assert [conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3, block.shortcut[0])] == [1, 2, 1, 2]
    assert [conv.kernel_size[0] for conv in (block.conv1, block.conv2, block.conv3)] == [1, 3, 1]
    assert block(torch.zeros(2, 8, 7, 6)).shape == (2, 16, 4, 3)


def test_stages_have_16_32_and_64_channels_at_full_half_and_quarter_resolution():
    model = network("resnet-14", input_shape=(3, 32, 32), classes=10).eval()
    shapes = stage_shapes(model, 32)
    assert shapes == [(1, 16, 32, 32), (1, 32, 16, 16), (1, 64, 8, 8)]


def test_only_blocks_that_change_the_shape_have_a_shortcut_with_weights():
    model = network("resnet-14", input_shape=(3, 32, 32), classes=10)
    blocks = [block for block in model.modules() if isinstance(block, BasicBlock)]
    assert [len(block.shortcut) for block in blocks] == [0, 0, 2, 0, 2, 0]


@pytest.mark.parametrize(
    ("block", "last"), [(BasicBlock(4, 4, stride=1), "conv2"), (Bottleneck(4, 1, stride=1), "conv3")]
)
def test_a_block_without_residual_is_the_rectified_identity(block, last):
    block.eval()
    inputs = torch.randn(2, 4, 5, 5, generator=generator(0))
    with torch.no_grad():
        getattr(block, last).weight.zero_()
        assert torch.equal(block(inputs), F.relu(inputs))
