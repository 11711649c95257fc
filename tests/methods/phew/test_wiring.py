"""Wires between units, on models whose wires are known by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

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


class Between(nn.Module):
    """o(between(a(x))), or of two layers a and b."""

    def __init__(self, between: Callable[..., Tensor], layers: int = 1) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)
        if layers == 2:
            self.b = nn.Linear(4, 3)
        self.o = nn.Linear(3, 2)
        self.p = nn.Parameter(torch.ones(3))
        self.chosen = nn.Parameter(torch.tensor([2, 0, 1]), requires_grad=False)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "b"):
            return self.o(self.between(self.a(x), self.b(x), self.p))
        return self.o(self.between(self.a(x)))


@pytest.mark.parametrize(
    "between",
    [
        lambda a, b, p: functional.relu(a - b),
        lambda a, b, p: functional.relu(a) + functional.relu(-b),
        lambda a, b, p: functional.relu(a) + functional.relu(b - 0.5),
        lambda a, b, p: functional.relu6(a) + functional.softshrink(b),
        lambda a, b, p: functional.hardtanh(a) * functional.threshold(b, 2, 0),
        lambda a, b, p: torch.maximum(a, b),
        lambda a, b, p: torch.minimum(a, b).relu(),
        lambda a, b, p: functional.relu(a) * functional.relu(-b),
        lambda a, b, p: functional.relu(-a) * functional.relu(-b),
        lambda a, b, p: functional.relu(p * a) + functional.relu((1 - p) * b),
        lambda a, b, p: functional.relu((p - 1) * a) + functional.relu((p - 2 * p.flip(0)) * b),
        lambda a, b, p: torch.lerp(a, b, p).clamp(-5, 5),
    ],
    ids=[
        "difference", "negative", "shifted", "shrunk", "bounded", "maximum", "minimum", "product", "both negative",
        "1 - p", "signs of parameters", "lerp",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [1.0, -2.0])
def test_either_of_two_operands_is_followed_whatever_hides_the_other(between, value):
    model = Between(between, layers=2)
    model.p.data.fill_(value)
    _, pairs = wires(model, (4,))
    assert pairs == {("a", "o"): same(3), ("b", "o"): same(3)}


def test_frozen_parameters_keep_their_values():
    model = Between(lambda a: a)
    model.between = lambda a: a[:, model.chosen]
    _, pairs = wires(model, (4,))
    assert pairs == {("a", "o"): [(0, 1), (1, 2), (2, 0)]}


def test_a_maximum_over_units_as_output():
    model = nn.Linear(3, 4)
    (found,), _ = wires(model, (3,), lambda model, x: model(x)[:, :2].amax(1, keepdim=True))
    assert found.to_output.tolist() == [True, True, False, False]


def test_what_is_multiplied_by_0_is_not_used():
    chosen = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    _, pairs = wires(Between(lambda a: functional.relu(a) * chosen), (4,))
    assert pairs == {("a", "o"): same(2)}


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), (3,), "from 0.weight to 2.weight: .* mix"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)), (1, 4, 4), "units mix"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)), (3,), "units mix"),
        (nn.Sequential(nn.ConvTranspose2d(1, 4, 1)), (1, 4, 4), "0.weight is of ConvTranspose2d"),
        (nn.LSTM(3, 4), (5, 3), "weight_ih_l0 is of LSTM"),
        (
            Between(torch.sign),
            (4,),
            "a.weight to o.weight, which it leads to: .* no derivative",
        ),
        (Between(torch.detach), (4,), "no path was found from a.weight to o.weight"),
        (Between(lambda a: torch.cat([a[:, :2], a[:, 2:].round()], 1)), (4,), "from a.weight to o.weight"),
        (Between(lambda a: torch.cat([a[:, 1:], a.amax(1, keepdim=True)], 1)), (4,), "units mix"),
        (nn.Sequential(nn.Linear(3, 4), nn.Threshold(1e9, 0)), (3,), "no path was found to the output: nothing"),
        (
            nn.Sequential(nn.Threshold(1e9, 0), nn.Linear(3, 4)),
            (3,),
            "no path was found to 1.weight: nothing",
        ),
        (
            Between(lambda a: torch.ones(len(a), 3).double()),
            (4,),
            "no path was found to o.weight: nothing",
        ),
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
