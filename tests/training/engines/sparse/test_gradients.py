"""The kernels' gradients against the dense masked network in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunemark.networks import network
from prunemark.training.engines.sparse import available_kernels
from tests.training.engines.sparse.reference import (
    apply_,
    assert_gradients_agree,
    batch,
    dense,
    draw_,
    engine,
    random_masks,
)

KERNELS = available_kernels()


class Around(nn.Module):
    """A layer between two convolutions with BatchNorm, so that its input and its output have gradients."""

    def __init__(self, layer, *, channels, outputs):
        super().__init__()
        self.before = nn.Conv2d(2, channels, 1)
        self.bn = nn.BatchNorm2d(channels)
        self.layer = layer
        self.after = nn.BatchNorm2d(outputs)
        self.fc = nn.Linear(outputs, 10)

    def forward(self, inputs):
        features = F.relu(self.bn(self.before(inputs)))
        return self.fc(F.relu(self.after(self.layer(features))).mean(dim=(2, 3)))


CONVOLUTIONS = [
    # side, kernel, stride, padding, groups, dilation
    ((8, 8), 3, 1, 1, 1, 1),
    ((8, 8), 3, 2, 1, 1, 1),
    ((7, 9), 3, 2, 1, 1, 1),
    ((32, 32), 3, 1, 1, 1, 1),
    ((17, 33), 3, 1, 1, 1, 1),
    ((1, 1), 3, 1, 1, 1, 1),
    ((2, 2), 3, 1, 1, 1, 1),
    ((3, 2), 3, 2, 1, 1, 1),
    ((5, 5), 1, 1, 0, 1, 1),
    ((5, 6), 1, 2, 0, 1, 1),
    ((9, 9), 5, 1, 2, 1, 1),
    ((9, 8), 5, 2, 0, 1, 1),
    ((12, 12), 7, 2, 3, 1, 1),
    ((6, 6), 3, 1, 0, 1, 1),
    ((6, 6), 3, 1, 2, 1, 1),
    ((6, 7), (3, 1), 1, (1, 0), 1, 1),
    ((6, 6), 4, 2, 1, 1, 1),
    ((4, 4), 4, 1, 0, 1, 1),
    ((4, 3), (4, 3), 3, 0, 1, 1),
    ((8, 8), 3, 1, 1, 2, 1),
    ((8, 8), 3, 2, 1, 6, 1),
    ((9, 9), 3, 1, 2, 1, 2),
    ((9, 9), 3, 2, 2, 3, 2),
]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("side", "kernel", "stride", "padding", "groups", "dilation"), CONVOLUTIONS)
def test_convolutions(side, kernel, stride, padding, groups, dilation, kernels):
    layer = nn.Conv2d(6, 12, kernel, stride, padding, dilation, groups)
    model = Around(layer, channels=6, outputs=12)
    draw_(model)
    masks = random_masks(model, density=0.4)
    biases = {"before.bias", "layer.bias"}  # BatchNorm takes them away again
    assert_gradients_agree(model, masks, (2, *side), examples=24, kernels=kernels, cancelled=biases)


@pytest.mark.parametrize("examples", [2, 15, 16, 17, 64, 129])
@pytest.mark.parametrize("kernels", KERNELS)
def test_batches_of_any_size(examples, kernels):
    model = Around(nn.Conv2d(6, 12, 3, padding=1, bias=False), channels=6, outputs=12)
    draw_(model)
    masks = random_masks(model, density=0.4)
    assert_gradients_agree(model, masks, (2, 5, 5), examples=examples, kernels=kernels, cancelled={"before.bias"})


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1])
@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [
        ("lenet-300-100", (1, 14, 14), None),
        ("resnet-8", (1, 8, 8), None),
        ("resnet-20", (3, 8, 8), 0.5),
        ("resnet-18", (3, 32, 32), 0.06),
        ("resnet-18-modified", (3, 9, 9), 0.05),
        ("vgg-16", (3, 18, 17), 0.03),
    ],
)
def test_networks_of_the_study(name, shape, width, density):
    options = {} if width is None else {"width": width}
    model = network(name, input_shape=shape, classes=10, seed=0, **options)
    biases = {n for n, _ in model.named_parameters() if n.startswith("features.") and n.endswith("bias")}
    convolutions = {n for n in biases if isinstance(model.get_submodule(n.removesuffix(".bias")), nn.Conv2d)}
    masks = random_masks(model, density=density)
    assert_gradients_agree(model, masks, shape, examples=8, cancelled=convolutions)


@pytest.mark.parametrize("name", ["resnet-8", "resnet-20"])
def test_hardly_anything_kept(name):
    model = network(name, input_shape=(1, 8, 8), classes=10, seed=0)
    assert_gradients_agree(model, random_masks(model, density=0.02), (1, 8, 8), examples=20)


def test_the_loss_of_a_deep_network_with_bottlenecks():
    model = network("resnet-50", input_shape=(3, 32, 32), classes=10, seed=0, width=0.1)
    masks = random_masks(model, density=0.3)
    apply_(model, masks)
    inputs, targets = batch(16, (3, 32, 32))
    loss, _, _ = dense(model, masks, inputs.double(), targets)
    got = engine(model, masks).built_for((3, 32, 32)).program.gradients(inputs, targets)
    assert got == pytest.approx(loss, rel=1e-4)


class Mixed(nn.Module):
    """Additions before and after BatchNorm, tensors read thrice, a ReLU beside what it is applied to, two poolings."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pre = nn.BatchNorm2d(8, affine=False)
        self.a = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.b = nn.Conv2d(8, 8, 1)
        self.post = nn.BatchNorm2d(8, momentum=None, eps=1e-3)
        self.max = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.average = nn.AvgPool2d(2, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * 4 * 4, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10)
        )

    def forward(self, inputs):
        x = self.stem(inputs)
        x = x + self.a(F.relu(self.pre(x)))
        y = self.post(x + self.b(x))
        x = F.relu(x) + y
        pooled = self.max(x)
        x = self.average(pooled + self.max(y))
        return self.head(x)


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_network_wired_in_other_ways(kernels):
    model = Mixed()
    draw_(model)
    masks = random_masks(model, density=0.5)
    cancelled = {"head.1.bias", "b.bias"}
    assert_gradients_agree(model, masks, (3, 13, 12), examples=19, kernels=kernels, cancelled=cancelled)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), ((2, 3), (1, 2), (1, 0))])
def test_poolings(kernel, stride, padding, count_padding, kernels):
    for pool in (
        nn.AvgPool2d(kernel, stride, padding, ceil_mode=True, count_include_pad=count_padding),
        nn.MaxPool2d(kernel, stride, padding, ceil_mode=not count_padding),
    ):
        model = Around(nn.Sequential(pool, nn.Conv2d(6, 12, 3, bias=False)), channels=6, outputs=12)
        draw_(model)
        masks = random_masks(model, density=0.5)
        assert_gradients_agree(model, masks, (2, 9, 10), kernels=kernels, cancelled={"before.bias"})


def test_empty_rows_columns_and_layers():
    model = network("resnet-14", input_shape=(3, 7, 7), classes=10, seed=0)
    masks = random_masks(model, density=0.3)
    masks["stages.0.0.conv1.weight"][::2] = False  # outputs without inputs
    masks["stages.0.0.conv2.weight"][:, 1::2] = False  # outputs without readers
    masks["stages.0.1.conv2.weight"][:, ::3] = False
    masks["stages.1.0.conv1.weight"][:] = False
    masks["stages.1.1.conv2.weight"][:] = False
    masks["stages.2.0.shortcut.0.weight"][:] = False
    masks["fc.weight"][3] = False
    assert_gradients_agree(model, masks, (3, 7, 7), examples=18)


@pytest.mark.parametrize("emptied", ["fc1.weight", "fc2.weight", "fc3.weight"])
def test_a_network_cut_in_two(emptied):
    model = network("lenet-300-100", input_shape=(1, 6, 6), classes=10, seed=0)
    draw_(model)
    masks = random_masks(model, density=0.2)
    masks[emptied][:] = False
    assert_gradients_agree(model, masks, (1, 6, 6))


def test_a_mean_that_is_large_beside_the_deviation():
    model = Around(nn.Conv2d(6, 6, 1), channels=6, outputs=6)
    draw_(model)
    with torch.no_grad():
        model.layer.bias.fill_(30.0)
        model.after.running_mean.fill_(30.0)
    masks = random_masks(model, density=0.5)
    assert_gradients_agree(model, masks, (2, 6, 6), examples=32, cancelled={"before.bias", "layer.bias"})


def test_losses_of_large_logits():
    model = network("lenet-300-100", input_shape=(1, 6, 6), classes=10, seed=0)
    with torch.no_grad():
        model.fc3.weight.mul_(200)
    masks = random_masks(model, density=0.5)
    assert_gradients_agree(model, masks, (1, 6, 6), examples=32)
