"""What a module is traced to, and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunemark.networks import network
from prunemark.training.engines.sparse import UnsupportedError, trace
from prunemark.training.engines.sparse.graph import Convolution, Join, Pool


def kinds(graph):
    return [type(operation).__name__ for operation in graph.operations]


def test_lenet_is_three_linear_maps_with_relus_between():
    graph = trace(network("lenet-300-100", input_shape=(1, 6, 5), classes=10, seed=0), (1, 6, 5))
    assert kinds(graph) == ["Convolution", "Join", "Convolution", "Join", "Convolution"]
    assert graph.flat_input
    assert graph.shapes["input"] == (30, 1, 1)
    assert [o.weight for o in graph.operations if isinstance(o, Convolution)] == [f"fc{n}.weight" for n in (1, 2, 3)]
    assert [o.relu for o in graph.operations if isinstance(o, Join)] == [True, True]


def test_a_residual_block_is_two_convolutions_and_two_joins():
    graph = trace(network("resnet-8", input_shape=(3, 8, 8), classes=10, seed=0), (3, 8, 8))
    first_block = graph.operations[2:6]
    assert [type(o).__name__ for o in first_block] == ["Convolution", "Join", "Convolution", "Join"]
    inner, outer = first_block[1], first_block[3]
    assert (inner.normalisation, inner.residual, inner.relu) == ("stages.0.0.bn1", None, True)
    assert (outer.normalisation, outer.residual, outer.relu) == ("stages.0.0.bn2", graph.operations[1].target, True)
    assert sum(isinstance(o, Join) for o in graph.operations) == 9  # one for each BatchNorm
    assert isinstance(graph.operations[-2], Pool)
    assert graph.shapes[graph.operations[-2].target] == (64, 1, 1)


@pytest.mark.parametrize("name", ["vgg-16", "resnet-18", "resnet-18-modified", "resnet-50", "resnet-110"])
def test_all_convolutional_networks_of_the_study(name):
    model = network(name, input_shape=(3, 32, 32), classes=10, seed=0, width=0.1)
    graph = trace(model, (3, 32, 32))
    weights = {o.weight for o in graph.operations if isinstance(o, Convolution)}
    assert weights == {n for n, p in model.named_parameters() if p.ndim > 1}
    norms = {o.normalisation for o in graph.operations if isinstance(o, Join)} - {None}
    assert norms == {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


def test_what_another_operation_reads_is_not_fused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)
            self.bn = nn.BatchNorm2d(2)
            self.fc = nn.Linear(2, 3)

        def forward(self, x):
            x = self.bn(self.conv(x))
            return self.fc((F.relu(x) + x).mean((2, 3)))

    joins = [o for o in trace(Twice(), (1, 4, 4)).operations if isinstance(o, Join)]
    assert [(j.normalisation is not None, j.relu, j.residual is not None) for j in joins] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


class Functional(nn.Module):
    """A convolution, some function, and a linear map."""

    def __init__(self, function, features=2):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.fc = nn.Linear(features, 3)
        self.function = function

    def forward(self, x):
        return self.fc(self.function(self.conv(x)))


def mean(x):
    return x.mean((2, 3))


@pytest.mark.parametrize(
    "function",
    [
        mean,
        lambda x: x.mean(dim=[-1, -2]),
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        lambda x: torch.flatten(F.avg_pool2d(x, 4), 1),
        lambda x: F.max_pool2d(x, kernel_size=4).view(x.size(0), -1),
        lambda x: F.max_pool2d(x, 4).reshape(x.shape[0], 2),
        lambda x: F.max_pool2d(x, 4).view(-1, 2),
    ],
)
def test_ways_to_pool_and_flatten(function):
    graph = trace(Functional(function), (1, 4, 4))
    assert kinds(graph) == ["Convolution", "Pool", "Convolution"]
    assert graph.shapes[graph.operations[1].target] == (2, 1, 1)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: mean(F.gelu(x)), "calls gelu"),
        (lambda x: mean(x * 2), "calls mul"),
        (lambda x: mean(F.dropout(x)), "calls dropout"),
        (lambda x: mean(torch.add(x, x, alpha=2)), "factor"),
        (lambda x: mean(x + 1), "where a tensor of the network is expected"),
        (lambda x: mean(x + x), "to itself"),
        (lambda x: x.mean((1, 2)), "averages over something else"),
        (lambda x: x.flatten(2).mean(2), "flattens"),
        (lambda x: x.view(x.size(0), 2, -1), "reshapes"),
        (lambda x: mean(x if x.sum() > 0 else -x), "torch.fx cannot trace"),
        (lambda x: mean(F.relu(x, inplace=True) + x), "overwrites"),
        (lambda x: (F.relu(x), mean(x))[1], "not used"),
    ],
)
def test_functions_that_are_refused(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        trace(Functional(function), (1, 4, 4))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.GELU(), "layer is a GELU"),
        (nn.Dropout(0.1), "dropout"),
        (nn.LayerNorm([2, 4, 4]), "LayerNorm"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.Conv2d(2, 2, 1, stride=3), "stride"),
        (nn.Conv2d(2, 2, 2, padding="same"), "differently"),
        (nn.BatchNorm2d(2, track_running_stats=False), "running statistics"),
        (nn.MaxPool2d(2, dilation=2), "dilated"),
        (nn.AdaptiveAvgPool2d(2), "not to 1"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 1)), "Conv2d"),
    ],
)
def test_layers_that_are_refused(layer, reason):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)
            self.layer = layer
            self.fc = nn.Linear(2, 3)

        def forward(self, x):
            return self.fc(mean(self.layer(self.conv(x))))

    with pytest.raises(UnsupportedError, match=reason):
        trace(Model(), (1, 4, 4))


def test_hooks_shared_layers_and_changes_of_mode_are_refused():
    hooked = Functional(mean)
    hooked.conv.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="conv has hooks"):
        trace(hooked, (1, 4, 4))

    shared = nn.Conv2d(1, 1, 1)
    with pytest.raises(UnsupportedError, match="more than once"):
        trace(nn.Sequential(shared, nn.ReLU(), shared, nn.Flatten(), nn.Linear(16, 3)), (1, 4, 4))

    class Moody(Functional):
        def forward(self, x):
            x = self.conv(x)
            return self.fc(mean(F.relu(x) if self.training else x))

    moody = Moody(None).eval()
    with pytest.raises(UnsupportedError, match="eval mode"):
        trace(moody, (1, 4, 4))
    assert not moody.training


def test_a_transformer_is_refused():
    model = network("vit-tiny", input_shape=(3, 8, 8), classes=10, seed=0, width=0.1)
    with pytest.raises(UnsupportedError):
        trace(model, (3, 8, 8))
