"""Which unit feeds which, on models whose wires are known by hand."""

import pytest
import torch
from torch import Tensor, nn

from prunemark.methods.phew.wiring import wire
from prunemark.models.calling import call


def wires(model, input_shape, forward=call):
    found = wire(model, forward, input_shape)
    names = [c.layer.removesuffix(".weight") for c in found.calls]
    pairs = {
        (names[a], names[b]): sorted(zip(out.tolist(), into.tolist(), strict=True))
        for (a, b), (out, into) in found.wires.items()
    }
    return found.calls, pairs


def same(n):
    return [(i, i) for i in range(n)]


def test_a_chain_with_everything_elementwise_between():
    net = nn.Sequential(
        nn.Conv2d(2, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU6(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Conv2d(5, 7, 3, stride=2, padding=1), nn.InstanceNorm2d(7), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(7, 3), nn.LogSoftmax(1),
    )  # fmt: skip
    calls, pairs = wires(net, (2, 12, 12))
    assert pairs == {("0", "5"): same(5), ("5", "10"): same(7)}
    assert [c.from_input.tolist() for c in calls] == [[True] * 2, [False] * 5, [False] * 7]
    assert [c.to_output.any().item() for c in calls] == [False, False, True]
    assert calls[-1].to_output.all()


def test_flattening_spreads_a_channel_over_features():
    net = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    _, pairs = wires(net, (1, 4))
    assert pairs == {("0", "3"): [(i // 4, i) for i in range(12)]}


class Wired(nn.Module):
    """A shortcut, a concatenation, a gate, a slice, a layer used twice and a dead end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.branch = nn.Conv2d(4, 4, 1, groups=2)
        self.gate = nn.Linear(4, 4)
        self.dead = nn.Conv2d(4, 2, 1)
        self.twice = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        self.dead(x)
        x = x + torch.relu(self.branch(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[..., None, None]
        y = self.twice(self.twice(x))
        return self.head(torch.cat([x, y[:, 2:]], 1).amax((2, 3)))


def test_shortcuts_concatenation_gates_slices_and_repeated_layers():
    calls, _ = wires(Wired(), (1, 5, 5))
    order = ["stem", "dead", "branch", "gate", "twice", "twice", "head"]
    assert [c.layer for c in calls] == [f"{name}.weight" for name in order]
    found = wire(Wired(), call, (1, 5, 5)).wires
    by_name = {(a, b): sorted(zip(out.tolist(), into.tolist(), strict=True)) for (a, b), (out, into) in found.items()}
    assert by_name == {
        (0, 1): same(4),
        (0, 2): same(4),
        **{(source, 3): same(4) for source in (0, 2)},
        **{(source, 4): same(4) for source in (0, 2, 3)},
        (4, 5): same(4),
        **{(source, 6): same(4) for source in (0, 2, 3)},
        (5, 6): [(2, 4), (3, 5)],
    }
    assert calls[2].groups == 2
    assert calls[2].shape == (4, 2, 1)


def test_features_may_lie_on_the_last_of_several_axes():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    _, pairs = wires(net, (7, 3))
    assert pairs == {("0", "2"): same(5)}


def test_a_shared_weight_is_one_layer_with_two_calls():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    calls, _ = wires(net, (4,))
    assert [c.layer for c in calls] == ["0.weight", "0.weight"]


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 50), nn.Linear(50, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(self.first(x)))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), (3,), "from 0.weight to 2.weight: .* mix"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)), (1, 4, 4), "units mix"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)), (3,), "units mix"),
        (nn.Sequential(nn.ConvTranspose2d(1, 4, 1)), (1, 4, 4), "0.weight is of ConvTranspose2d"),
        (nn.LSTM(3, 4), (5, 3), "weight_ih_l0 is of LSTM"),
        (
            nn.Sequential(nn.Linear(3, 4), nn.Softshrink(), nn.Linear(4, 2)),
            (3,),
            "no path was found to 2.weight: .* 0.001",
        ),
        (nn.Sequential(nn.Linear(3, 4), nn.Hardshrink()), (3,), "no path was found to the output"),
        (nn.Sequential(nn.Threshold(1, 0), nn.Linear(3, 4)), (3,), "no path was found to 1.weight"),
        (Dropping(), (3,), "to last.weight: it receives other numbers each time"),
        (Unused(), (3,), r"\['unused.weight'\] cannot be followed: the layer's forward is never called"),
    ],
)
def test_what_cannot_be_followed_says_so(model, shape, message):
    with pytest.raises(ValueError, match=message):
        wire(model, call, shape)


def test_outputs_of_several_tensors_and_other_axes_first():
    with pytest.raises(ValueError, match="an output that is one tensor; the model gives a tuple"):
        wire(nn.Linear(3, 2), lambda model, x: (model(x), x), (3,))
    with pytest.raises(ValueError, match=r"the batch as first axis; weight gets \(5, 1, 3\)"):
        wire(nn.Linear(3, 2), lambda model, x: model(x.transpose(0, 1)), (5, 3))


def test_rounding_between_passes_is_no_random_function():
    class Mixed(nn.Module):
        """Multiplies between layers, which rounds otherwise in a batch of another size."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 300), nn.Linear(300, 2)
            self.register_buffer("scale", torch.diag(torch.rand(300, dtype=torch.float64) + 0.5))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x) @ self.scale)

    assert wires(Mixed(), (3,))[1] == {("first", "last"): same(300)}
