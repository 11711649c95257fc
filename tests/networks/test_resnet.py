"""The CIFAR ResNet against its definition."""

import pytest
import torch
from torch.nn import functional as F

from prunemark.networks import network
from prunemark.networks.resnet import BasicBlock, CifarResNet
from prunemark.randomness import generator


@pytest.mark.parametrize("depth", [2, 9, 18])
def test_a_depth_that_is_not_6n_plus_2_is_an_error(depth):
    with pytest.raises(ValueError, match=rf"6n \+ 2: 8, 14, 20, ..., not {depth}"):
        CifarResNet(input_shape=(3, 32, 32), classes=10, depth=depth)


def test_stages_have_16_32_and_64_channels_at_full_half_and_quarter_resolution():
    model = network("resnet-14", input_shape=(3, 32, 32), classes=10).eval()
    shapes = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(1, 16, 32, 32), (1, 32, 16, 16), (1, 64, 8, 8)]


def test_only_blocks_that_change_the_shape_have_a_shortcut_with_weights():
    model = network("resnet-14", input_shape=(3, 32, 32), classes=10)
    blocks = [block for block in model.modules() if isinstance(block, BasicBlock)]
    assert [len(block.shortcut) for block in blocks] == [0, 0, 2, 0, 2, 0]


def test_a_block_without_residual_is_the_rectified_identity():
    block = BasicBlock(4, 4, stride=1).eval()
    inputs = torch.randn(2, 4, 5, 5, generator=generator(0))
    with torch.no_grad():
        block.conv2.weight.zero_()
        assert torch.equal(block(inputs), F.relu(inputs))
