"""Paths are checked against graphs built value by value with plain loops, and against gradients at random weights."""

import copy
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune as torch_prune
from torch.utils.checkpoint import checkpoint

from prunemark.connectivity import Topology, topology
from prunemark.masks import Masks
from prunemark.models.prunable import prunable
from prunemark.networks import network
from tests.conftest import ConvNet

Edge = tuple[int, int, tuple[str, tuple[int, ...]] | None]
draws = given(seed=st.integers(0, 10_000), density=st.sampled_from([0.05, 0.15, 0.3, 0.6, 1.0]))
few = settings(max_examples=10, deadline=None)


def draw_masks(model: nn.Module, seed: int, density: float) -> Masks:
    """Random masks whose layers differ in density, some of them empty or full."""
    source = torch.Generator().manual_seed(seed)
    masks = {}
    for name, weight in prunable(model).items():
        own = density if density == 1 else density * 2 * torch.rand((), generator=source).item()
        masks[name] = torch.rand(weight.shape, generator=source) < own
    return Masks(masks)


def all_kept(model: nn.Module) -> Masks:
    return Masks.ones(prunable(model))


class Graph:
    """The network as single values (nodes) and single connections (edges); kept weights label theirs."""

    def __init__(self, masks: Masks) -> None:
        self.masks = {name: mask.numpy() for name, mask in masks.items()}
        self.edges: list[Edge] = []
        self.nodes = itertools.count()
        self.units: dict[str, np.ndarray] = {}

    def values(self, *shape: int) -> np.ndarray:
        return np.array([next(self.nodes) for _ in range(math.prod(shape))]).reshape(shape)

    def join(self, *sources: np.ndarray) -> np.ndarray:
        """Sums, element by element."""
        out = self.values(*sources[0].shape)
        for source in sources:
            self.edges += [(int(a), int(b), None) for a, b in zip(source.flat, out.flat, strict=True)]
        return out

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        mask = self.masks[name]
        out = self.values(*x.shape[:-1], len(mask))
        for at in np.ndindex(*x.shape[:-1]):
            for o, i in np.argwhere(mask).tolist():
                self.edges.append((int(x[(*at, i)]), int(out[(*at, o)]), (name, (o, i))))
        self.units[name] = np.moveaxis(out, -1, 0)
        return out

    def windows(
        self, x: np.ndarray, kernel: Sequence[int], stride: int, padding: int, dilation: int
    ) -> Iterable[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """(position of the output, tap of the kernel, position of the input) of a sliding window."""
        size = [
            (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[1:], kernel, strict=True)
        ]
        for out in np.ndindex(*size):
            for tap in np.ndindex(*kernel):
                at = tuple(o * stride + t * dilation - padding for o, t in zip(out, tap, strict=True))
                if all(0 <= p < n for p, n in zip(at, x.shape[1:], strict=True)):
                    yield out, tap, at

    def conv(
        self, x: np.ndarray, name: str, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
    ) -> np.ndarray:
        mask = self.masks[name]
        steps = list(self.windows(x, mask.shape[2:], stride, padding, dilation))
        size = [max(out[axis] for out, _, _ in steps) + 1 for axis in range(mask.ndim - 2)]
        out = self.values(len(mask), *size)
        per_group = len(mask) // groups
        for o, i in np.ndindex(*mask.shape[:2]):
            channel = o // per_group * mask.shape[1] + i
            for position, tap, at in steps:
                if mask[(o, i, *tap)]:
                    label = (name, (o, i, *tap))
                    self.edges.append((int(x[(channel, *at)]), int(out[(o, *position)]), label))
        self.units[name] = out
        return out

    def transposed(self, x: np.ndarray, name: str, *, stride: int, groups: int = 1) -> np.ndarray:
        mask = self.masks[name]
        inputs, outputs, *kernel = mask.shape
        size = [(n - 1) * stride + k for n, k in zip(x.shape[1:], kernel, strict=True)]
        out = self.values(groups * outputs, *size)
        for i, o in np.ndindex(inputs, outputs):
            channel = i // (inputs // groups) * outputs + o
            for at in np.ndindex(*x.shape[1:]):
                for tap in np.ndindex(*kernel):
                    if mask[(i, o, *tap)]:
                        to = tuple(a * stride + t for a, t in zip(at, tap, strict=True))
                        self.edges.append((int(x[(i, *at)]), int(out[(channel, *to)]), (name, (i, o, *tap))))
        self.units[name] = out
        return out

    def pool(self, x: np.ndarray, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> np.ndarray:
        steps = list(self.windows(x, (kernel,) * (x.ndim - 1), stride, padding, dilation))
        size = [max(out[axis] for out, _, _ in steps) + 1 for axis in range(x.ndim - 1)]
        out = self.values(len(x), *size)
        for c in range(len(x)):
            self.edges += [(int(x[(c, *at)]), int(out[(c, *position)]), None) for position, _, at in steps]
        return out

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Over all but the first axis."""
        out = self.values(len(x))
        for c in range(len(x)):
            self.edges += [(int(node), int(out[c]), None) for node in x[c].flat]
        return out

    def reachable(self, start: np.ndarray, *, backward: bool = False) -> set[int]:
        following = defaultdict(list)
        for a, b, _ in self.edges:
            following[b if backward else a].append(a if backward else b)
        seen, queue = {int(node) for node in start.flat}, [int(node) for node in start.flat]
        while queue:
            for node in following[queue.pop()]:
                if node not in seen:
                    seen.add(node)
                    queue.append(node)
        return seen

    def compare(self, found: Topology, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Check everything that a Topology says about paths."""
        reached, leading = self.reachable(inputs), self.reachable(outputs, backward=True)
        expected = {name: np.zeros_like(mask) for name, mask in self.masks.items()}
        for a, b, label in self.edges:
            if label is not None and a in reached and b in leading:
                expected[label[0]][label[1]] = True
        assert found.effective_masks is not None
        for name, mask in expected.items():
            np.testing.assert_array_equal(found.effective_masks[name].numpy(), mask, err_msg=name)
        assert found.effective == sum(mask.sum() for mask in expected.values())
        assert (found.inputs, found.outputs) == (inputs.size, outputs.size)
        assert found.inputs_used == sum(int(node) in leading for node in inputs.flat)
        assert found.outputs_reached == sum(int(node) in reached for node in outputs.flat)
        assert found.cut == (found.outputs_reached == 0)
        # What is read: a kept weight or the output lies behind, with no other weight in between.
        ends = [np.array([a for a, _, label in self.edges if label is not None], dtype=int), outputs]
        bare = Graph.__new__(Graph)
        bare.edges = [edge for edge in self.edges if edge[2] is None]
        read = bare.reachable(np.concatenate([end.ravel() for end in ends]), backward=True)
        for layer in found.layers:
            units = self.units[layer.name]
            on_path = tuple(any(int(n) in reached and int(n) in leading for n in unit.flat) for unit in units)
            assert layer.unit_on_path == on_path
            assert layer.unit_is_read == tuple(any(int(n) in read for n in unit.flat) for unit in units)


class Perceptron(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


@draws
@few
def test_a_chain_agrees_with_every_path_enumerated(seed, density):
    model = Perceptron()
    masks = draw_masks(model, seed, density)
    found = topology(model, masks, input_shape=(2, 2))
    first, second, third = (masks[f"{at}.weight"] for at in (1, 3, 5))
    expected = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for i, a, b, o in itertools.product(range(4), range(5), range(4), range(3)):
        if first[a, i] and second[b, a] and third[o, b]:
            expected["1.weight"][a, i] = expected["3.weight"][b, a] = expected["5.weight"][o, b] = True
    assert found.effective_masks == Masks(expected)


@draws
@few
def test_a_chain_agrees_with_its_graph(seed, density):
    model = Perceptron()
    masks = draw_masks(model, seed, density)
    graph = Graph(masks)
    inputs = graph.values(4)
    outputs = graph.linear(graph.linear(graph.linear(inputs, "1.weight"), "3.weight"), "5.weight")
    graph.compare(topology(model, masks, input_shape=(2, 2)), inputs, outputs)


@draws
@few
def test_strides_shortcuts_and_normalisation_agree_with_their_graph(seed, density):
    model = ConvNet()
    masks = draw_masks(model, seed, density)
    graph = Graph(masks)
    inputs = graph.values(2, 4, 5)
    stem = graph.conv(inputs, "stem.weight", padding=1)
    down = graph.conv(stem, "down.weight", stride=2, padding=1)
    joined = graph.join(down, graph.conv(stem, "shortcut.weight", stride=2))
    outputs = graph.linear(graph.mean(joined), "head.weight")
    graph.compare(topology(model, masks, input_shape=(2, 4, 5)), inputs, outputs)


class Mixed(nn.Module):
    """Concatenation, identity shortcuts, groups, dilation, depth-wise convolution, pooling, flattening."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False)
        self.grouped = nn.Conv2d(4, 4, 2, groups=2)
        self.wide = nn.Conv2d(6, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3 * 2 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.relu(self.one(x), inplace=True)
        a = a + functional.leaky_relu(self.depthwise(a))
        b = torch.cat([a, x], 1)
        pooled = functional.max_pool2d(self.norm(self.wide(b)), 3, stride=2, padding=1)
        side = functional.avg_pool2d(functional.pad(self.grouped(a), (0, 1, 0, 1)), 2)[:, :3]
        pooled += side
        return self.fc(torch.flatten(pooled, 1))


@draws
@few
def test_concatenation_groups_and_pooling_agree_with_their_graph(seed, density):
    model = Mixed()
    masks = draw_masks(model, seed, density)
    graph = Graph(masks)
    inputs = graph.values(2, 4, 4)
    a = graph.conv(inputs, "one.weight", padding=1)
    a = graph.join(a, graph.conv(a, "depthwise.weight", padding=2, dilation=2, groups=4))
    wide = graph.conv(np.concatenate([a, inputs]), "wide.weight")
    grouped = graph.conv(a, "grouped.weight", groups=2)
    padded = np.pad(grouped, ((0, 0), (0, 1), (0, 1)), constant_values=next(graph.nodes))
    joined = graph.join(graph.pool(wide, 3, 2, padding=1), graph.pool(padded, 2, 2)[:3])
    outputs = graph.linear(joined.ravel(), "fc.weight")
    graph.compare(topology(model, masks, input_shape=(2, 4, 4)), inputs, outputs)


class OneDimensional(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv1d(2, 4, 3, stride=2),
            nn.MaxPool1d(2, stride=2, dilation=2, ceil_mode=False),
            nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2),
            nn.AdaptiveMaxPool1d(1),
        )


@draws
@few
def test_transposed_convolutions_agree_with_their_graph(seed, density):
    model = OneDimensional()
    masks = draw_masks(model, seed, density)
    graph = Graph(masks)
    inputs = graph.values(2, 12)
    pooled = graph.pool(graph.conv(inputs, "0.weight", stride=2), 2, 2, dilation=2)
    outputs = graph.mean(graph.transposed(pooled, "2.weight", stride=2, groups=2))
    graph.compare(topology(model, masks, input_shape=(2, 12)), inputs, outputs)


def matter_at_random_weights(model: nn.Module, masks: Masks, call: Callable[[nn.Module], Tensor]) -> Masks:
    """The kept weights that a random combination of the outputs depends on, where no constants are added anywhere."""
    source = torch.Generator().manual_seed(5)
    found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for _ in range(3):
        private = copy.deepcopy(model).double().eval()
        for parameter in private.parameters():
            parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        masks.apply_(private)
        outputs = call(private)
        private.zero_grad()
        (outputs * torch.randn(outputs.shape, generator=source, dtype=torch.float64)).sum().backward()
        for name, parameter in private.named_parameters(remove_duplicate=False):
            if name in masks and parameter.grad is not None:
                found[name] |= masks[name] & (parameter.grad.abs() > 1e-13)
    return Masks(found)


class Attention(nn.Module):
    def __init__(self, **options: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, bias=False, batch_first=True, **options)
        self.fc = nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        values = memory[..., : self.attention.vdim]
        return self.fc(torch.tanh(self.attention(x, memory, values, need_weights=False)[0]))


class Gated(nn.Module):
    """Gates, matrix products of signals, einsum, and heads made by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12, bias=False)
        self.gate = nn.Linear(4, 4, bias=False)
        self.squeeze = nn.Linear(4, 2, bias=False)
        self.excite = nn.Linear(2, 4, bias=False)
        self.mix = nn.Parameter(torch.empty(4, 3))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = self.qkv(x).view(batch, length, 3, 2, 2).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.shape)
        scores = torch.einsum("blc,bmc->blm", attended, functional.silu(self.gate(memory))).softmax(-1)
        mixed = scores @ memory + attended
        mixed = mixed * torch.sigmoid(self.excite(torch.tanh(self.squeeze(mixed.mean(1, keepdim=True)))))
        return mixed @ self.mix


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: int) -> None:
        super().__init__()
        self.rnn = kind(4, 3, num_layers=2, bidirectional=True, bias=False, batch_first=True, **options)
        self.fc = nn.Linear(2 * (options.get("proj_size") or 3), 2, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.fc(self.rnn(torch.cat([x, memory], 1))[0][:, -1])


@pytest.mark.parametrize(
    "build",
    [
        Attention,
        lambda: Attention(kdim=4, vdim=3),
        Gated,
        lambda: Recurrent(nn.RNN),
        lambda: Recurrent(nn.GRU),
        lambda: Recurrent(nn.LSTM),
        lambda: Recurrent(nn.LSTM, proj_size=2),
    ],
    ids=["attention", "cross-attention", "gates", "rnn", "gru", "lstm", "lstm-projected"],
)
@given(seed=st.integers(0, 1000), density=st.sampled_from([0.15, 0.3, 0.6]))
@settings(max_examples=5, deadline=None)
def test_products_agree_with_gradients_at_random_weights(build, seed, density):
    model = build()
    masks = draw_masks(model, seed, density)
    if isinstance(model, Gated):
        masks = Masks({**masks, "mix": torch.rand(4, 3, generator=torch.Generator().manual_seed(seed)) < density})
    source = torch.Generator().manual_seed(seed)
    x, memory = torch.randn(1, 3, 4, generator=source), torch.randn(1, 3, 4, generator=source)
    found = topology(model, masks, data=[((x, memory), None)])
    expected = matter_at_random_weights(model, masks, lambda m: m(x.double(), memory.double()))
    assert found.effective_masks == expected


def test_with_everything_kept_everything_is_effective():
    for name in ("resnet-8", "lenet-300-100"):
        model = network(name, input_shape=(3, 8, 8), classes=10)
        found = topology(model, all_kept(model), input_shape=(3, 8, 8))
        assert (found.effective, found.kept, found.effective_sparsity) == (found.total, found.total, 0)
        assert all(layer.units_off_path == layer.units_without_output == 0 for layer in found.layers)
        assert found.flops_dense == found.flops_sparse == found.flops_effective
        assert (found.collapsed, found.disconnected, found.cut) == ((), (), False)


def test_with_everything_pruned_the_network_is_cut():
    model = ConvNet()
    found = topology(model, Masks({n: ~mask for n, mask in all_kept(model).items()}), input_shape=(2, 6, 6))
    assert (found.kept, found.effective, found.flops_sparse, found.outputs_reached) == (0, 0, 0, 0)
    assert found.cut
    assert found.collapsed == ("stem.weight", "down.weight", "shortcut.weight", "head.weight")
    assert found.disconnected == ()
    assert "no output depends on the input" in str(found)


def test_one_layer():
    model = nn.Linear(3, 2)
    found = topology(model, Masks({"weight": torch.tensor([[True, False, True], [False] * 3])}), input_shape=(3,))
    (layer,) = found.layers
    assert (layer.kept, layer.effective, layer.units, layer.inputs_per_unit) == (2, 2, 2, 3)
    assert layer.kept_inputs == (2, 0)
    assert (layer.unit_is_read, layer.unit_on_path) == ((True, True), (True, False))
    assert (found.inputs_used, found.outputs_reached, found.cut) == (2, 1, False)
    assert (layer.flops_dense, layer.flops_sparse) == (6, 2)


def test_a_cut_network_keeps_weights_that_do_nothing():
    model = Perceptron()
    masks = Masks({**all_kept(model), "3.weight": torch.zeros(4, 5, dtype=torch.bool)})
    found = topology(model, masks, input_shape=(4,))
    assert (found.kept, found.effective, found.cut) == (32, 0, True)
    assert found.collapsed == ("3.weight",)
    assert found.disconnected == ("1.weight", "5.weight")
    assert "Layer collapse: 3 is fully pruned." in found.findings


def test_a_collapsed_layer_beside_a_shortcut_cuts_nothing():
    model = ConvNet()
    masks = Masks({**all_kept(model), "down.weight": torch.zeros(8, 4, 3, 3, dtype=torch.bool)})
    found = topology(model, masks, input_shape=(2, 6, 6))
    assert found.collapsed == ("down.weight",)
    assert not found.cut
    assert "The network is still connected: other paths bypass these layers." in found.findings


def test_a_bias_is_on_no_path():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    masks = Masks({"0.weight": torch.tensor([[True, True], [False, False]]), "1.weight": torch.ones(1, 2).bool()})
    found = topology(model, masks, input_shape=(2,))
    assert found.effective_masks is not None
    assert found.effective_masks["1.weight"].tolist() == [[True, False]]
    assert found.layers[0].units_without_input == 1
    assert found.layers[0].units_without_output == 0


def test_taps_that_only_meet_padding_do_not_count():
    model = nn.Conv2d(1, 1, 3, padding=1)
    assert topology(model, all_kept(model), input_shape=(1, 1, 1)).effective == 1
    assert topology(model, all_kept(model), input_shape=(1, 2, 2)).effective == 9


def test_depth_neither_overflows_nor_vanishes():
    model = network("resnet-110", input_shape=(1, 4, 4), classes=3)
    found = topology(model, all_kept(model), input_shape=(1, 4, 4))
    # The last stage is one position of values, where a 3x3 kernel has one tap, after a stride from two positions.
    last = [layer for layer in found.layers if layer.name.startswith("stages.2") and layer.shape[1:] == (64, 3, 3)]
    assert {layer.effective for layer in last} == {64 * 64}
    assert found.layers[0].effective == found.layers[0].total
    deep = nn.Sequential(*(nn.Linear(50, 50) for _ in range(400)))
    thin = Masks({name: torch.eye(50, dtype=torch.bool) for name in prunable(deep)})
    assert topology(deep, thin, input_shape=(50,)).effective == 50 * 400


def test_flops_of_resnet_20():
    model = network("resnet-20", input_shape=(3, 32, 32), classes=10)
    found = topology(model, all_kept(model), input_shape=(3, 32, 32))
    convolutions = (
        9 * 1024 * (3 * 16 + 6 * 16 * 16) + 9 * 256 * (16 * 32 + 5 * 32 * 32) + 9 * 64 * (32 * 64 + 5 * 64 * 64)
    )
    assert found.flops_dense == convolutions + 256 * 16 * 32 + 64 * 32 * 64 + 640
    assert found.flops_other == 0


def test_flops_of_attention_and_of_what_has_no_mask():
    model = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    masks = Masks({name: mask for name, mask in all_kept(model).items() if "linear2" not in name})
    found = topology(model, masks, input_shape=(5, 8))
    flops = {layer.name: layer.flops_dense for layer in found.layers}
    assert flops == {
        "self_attn.in_proj_weight": 5 * 8 * 24,
        "self_attn.out_proj.weight": 5 * 8 * 8,
        "linear1.weight": 5 * 8 * 16,
    }
    assert found.flops_other == 2 * 5 * 5 * 8 + 5 * 16 * 8
    assert found.flops_dense == sum(flops.values()) + found.flops_other


def test_flops_of_convolutions():
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 4, 2, stride=2))
    masks = Masks(
        {"0.weight": torch.arange(108).view(6, 2, 3, 3) < 30, "1.weight": torch.arange(96).view(6, 4, 2, 2) < 7}
    )
    found = topology(model, masks, input_shape=(4, 6, 6))
    assert [layer.flops_dense for layer in found.layers] == [16 * 108, 16 * 96]
    assert [layer.flops_sparse for layer in found.layers] == [16 * 30, 16 * 7]


def test_kept_inputs_of_transposed_convolutions_belong_to_output_channels():
    model = nn.ConvTranspose1d(4, 6, 2, groups=2)
    mask = torch.zeros(4, 3, 2, dtype=torch.bool)
    mask[0, 1, 0] = mask[1, 1, :] = mask[3, 2, 1] = True
    (layer,) = topology(model, Masks({"weight": mask}), input_shape=(4, 3)).layers
    assert layer.kept_inputs == (0, 3, 0, 0, 0, 1)
    assert layer.inputs_per_unit == 4


def test_dead_attention_heads():
    model = nn.TransformerEncoderLayer(8, 4, dim_feedforward=8, batch_first=True)
    in_proj = torch.ones(24, 8, dtype=torch.bool)
    in_proj[16:18] = False
    masks = Masks({**all_kept(model), "self_attn.in_proj_weight": in_proj})
    found = topology(model, masks, input_shape=(3, 8))
    layer = found.layers[0]
    assert (layer.heads, layer.heads_off_path) == (4, 1)
    assert (
        "1 of 4 attention heads of self_attn.in_proj passes nothing on: no path leads through its values."
        in found.findings
    )
    assert all(other.heads is None for other in found.layers[1:])


class Tagger(nn.Module):
    """Token ids in a dict, positions, weights tied and used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.positions = nn.Embedding(5, 4)
        self.mix = nn.Linear(4, 4)
        self.out = nn.Linear(4, 7, bias=False)
        self.out.weight = self.words.weight

    def forward(self, ids: Tensor, seen: Tensor) -> dict[str, Tensor]:
        states = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
        states = states.masked_fill(~seen.unsqueeze(-1), 0)
        states = self.mix(torch.relu(self.mix(states)))
        return {"scores": self.out(states)}


def test_token_ids_dicts_and_shared_weights():
    model = Tagger()
    mix = torch.zeros(4, 4, dtype=torch.bool)
    mix[1, 0] = mix[2, 1] = mix[0, 3] = True
    masks = Masks({"words.weight": torch.ones(7, 4, dtype=torch.bool), "mix.weight": mix})
    batch = {"ids": torch.zeros(6, 5, dtype=torch.int64), "seen": torch.ones(6, 5, dtype=torch.bool)}
    found = topology(model, masks, data=[(batch, None)])
    assert found.effective_masks is not None
    # Through mix twice: 0 -> 1 -> 2 and 3 -> 0 -> 1.
    assert found.effective_masks["mix.weight"].sum() == 3
    assert (found.inputs, found.outputs, found.outputs_reached) == (5, 35, 35)
    columns = found.effective_masks["words.weight"].any(0).tolist()
    assert columns == [True, True, True, True]
    assert found.layers[1].flops_dense == 2 * 5 * 16


def test_vision_transformers_are_followed():
    model = network("vit-tiny", input_shape=(3, 8, 8), classes=4)
    found = topology(model, all_kept(model), input_shape=(3, 8, 8))
    assert found.effective == found.total
    assert not found.cut


def test_masked_attention_sees_only_what_its_mask_allows():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.Sequential()
    model.encoder = nn.TransformerEncoder(layer, 2)
    padding = torch.tensor([[False, False, True]])

    def first_token(model: nn.Module, x: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(3)
        return model.encoder(x, mask=causal, src_key_padding_mask=torch.zeros(1, 3))[:, 0]

    def second_token(model: nn.Module, x: Tensor) -> Tensor:
        return model.encoder(x, src_key_padding_mask=padding)[:, 1]

    masks = all_kept(model)
    assert topology(model, masks, input_shape=(3, 4), forward=first_token).inputs_used == 4
    assert topology(model, masks, input_shape=(3, 4), forward=second_token).inputs_used == 8
    assert topology(model, masks, input_shape=(3, 4), forward=lambda model, x: model.encoder(x)).inputs_used == 12


def test_nothing_of_the_callers_is_touched():
    model = ConvNet().train()
    model.norm.running_mean.fill_(3)
    before = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    model.head.weight.requires_grad_(False)
    with torch.no_grad():
        topology(model, draw_masks(model, 1, 0.5), input_shape=(2, 6, 6))
    assert model.training
    assert not model.head.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_wrappers_precision_and_torch_prune_do_not_matter():
    model = ConvNet()
    masks = draw_masks(model, 3, 0.3)
    plain = topology(model, masks, input_shape=(2, 6, 6))
    compiled = nn.Module()
    compiled._orig_mod = model
    assert topology(compiled, masks, input_shape=(2, 6, 6)) == plain
    assert topology(nn.DataParallel(model), masks, input_shape=(2, 6, 6)) == plain
    assert topology(copy.deepcopy(model).bfloat16(), masks, input_shape=(2, 6, 6)) == plain
    masks.to_torch_prune(model)
    assert topology(model, Masks.from_torch_prune(model), input_shape=(2, 6, 6)) == plain
    assert torch_prune.is_pruned(model)


def test_the_default_precision_does_not_matter():
    model, source = ConvNet(), torch.Generator().manual_seed(0)
    masks = draw_masks(model, 3, 0.3)
    plain = topology(model, masks, input_shape=(2, 6, 6))
    images = torch.rand(3, 2, 6, 6, generator=source)
    torch.set_default_dtype(torch.float64)
    try:
        for own in (torch.float32, torch.float64):
            assert topology(copy.deepcopy(model).to(own), masks, input_shape=(2, 6, 6)) == plain
            assert topology(copy.deepcopy(model).to(own), masks, data=[(images.to(own), None)]) == plain
    finally:
        torch.set_default_dtype(torch.float32)


def test_batches_and_forward(convnet, batches):
    masks = draw_masks(convnet, 2, 0.5)
    expected = topology(convnet, masks, input_shape=(2, 6, 6))
    assert topology(convnet, masks, data=batches) == expected
    named = [({"x": inputs}, targets) for inputs, targets in batches]
    assert topology(convnet, masks, data=named, forward=lambda model, given: {"logits": model(given["x"])}) == expected
    mappings = [{"x": inputs, "labels": targets} for inputs, targets in batches]
    assert topology(convnet, masks, data=mappings, forward=lambda model, given: model(**given)) == expected


def test_without_a_shape_the_masks_alone_are_described():
    model = Perceptron()
    masks = Masks({**all_kept(model), "3.weight": torch.zeros(4, 5, dtype=torch.bool)})
    found = topology(model, masks)
    assert (found.kept, found.effective, found.cut, found.flops_dense) == (32, None, None, None)
    assert found.layers[1].units_without_input == 4
    assert found.layers[1].units_without_output is None
    assert found.effective_masks is None
    assert "Layer collapse: 3 is fully pruned." in str(found)
    assert found.to_frame()["effective"].isna().all()
    found.chart().to_dict()


def test_the_table_fits_its_width():
    model = network("resnet-20", input_shape=(3, 8, 8), classes=10)
    found = topology(model, draw_masks(model, 4, 0.02), input_shape=(3, 8, 8))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(lines[0].split()) == "layer shape density effective no in no out off path MFLOPs of"
    assert len(lines) > len(found.layers) + 4
    assert str(found).count("stages.1.0.shortcut.0") >= 1
    named = nn.Sequential()
    named.add_module("a_very_long_name_of_a_layer_" * 4, nn.Linear(2, 2))
    assert max(map(len, str(topology(named, all_kept(named), input_shape=(2,))).splitlines())) <= 100


def test_frames():
    model = ConvNet()
    found = topology(model, draw_masks(model, 4, 0.3), input_shape=(2, 6, 6))
    frame = found.to_frame()
    assert list(frame) == [
        "layer", "kind", "shape", "total", "kept", "density", "effective", "effective_density", "units",
        "units_without_input", "units_without_output", "units_off_path", "heads", "heads_off_path", "inputs_per_unit",
        "kept_inputs_min", "kept_inputs_median", "kept_inputs_max", "flops_dense", "flops_sparse", "flops_effective",
    ]  # fmt: skip
    assert frame["kept"].sum() == found.kept
    assert frame["effective"].sum() == found.effective
    assert frame["heads"].isna().all()
    units = found.units_frame()
    assert len(units) == 4 + 8 + 8 + 3
    assert units["kept_inputs"].sum() == found.kept
    assert (units.groupby("layer", sort=False)["kept_inputs"].median().tolist()) == frame["kept_inputs_median"].tolist()


def test_the_chart_draws_both_densities_and_marks_collapse():
    model = Perceptron()
    masks = Masks({**all_kept(model), "3.weight": torch.zeros(4, 5, dtype=torch.bool)})
    drawn = topology(model, masks, input_shape=(4,)).chart().to_dict()
    values = drawn["data"]["values"]
    assert [(v["layer"], v["what"], v["density"], v["note"]) for v in values[:3]] == [
        ("1", "kept", 100, "no path"),
        ("1", "on a path from input to output", 0, "no path"),
        ("3", "kept", 0, "fully pruned"),
    ]


class Deciding(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


class Unknown(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(super().forward(x)).real


class Checkpointed(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=False)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (Perceptron, {"input_shape": (7,)}, r"Perceptron does not run on one example of shape \(7,\): "),
        (Perceptron, {"input_shape": (0, 3)}, r"input_shape is the shape of one example .* got \(0, 3\)"),
        (Perceptron, {"input_shape": 4}, r"input_shape is the shape of one example .* got 4"),
        (Perceptron, {"data": []}, "data holds no batches"),
        (Perceptron, {"data": [torch.ones(3, 4)]}, r"\(inputs, targets\) batches; its first is a Tensor"),
        (Perceptron, {"data": [(torch.ones(0, 4), None)]}, "the first batch of data has no examples"),
        (lambda: Deciding(2, 2), {"input_shape": (2,)}, r"needs one \(__bool__\): it takes decisions by the values"),
        (lambda: Unknown(2, 2), {"input_shape": (2,)}, "topology has no rule for torch's fft_fft"),
        (
            lambda: Checkpointed(2, 2),
            {"input_shape": (2,)},
            "cannot go back through Checkpointed, which takes part in the",
        ),
    ],
)
def test_what_cannot_be_done_is_said(build, options, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        topology(model, all_kept(model), **options)


def test_masks_of_another_model_are_refused():
    with pytest.raises(ValueError, match=r"of another model: .*stem\.weight"):
        topology(Perceptron(), all_kept(ConvNet()), input_shape=(4,))
    with pytest.raises(ValueError, match=r"of another model: 1\.weight has shape \(5, 4\), its mask \(5, 3\)"):
        topology(Perceptron(), Masks({"1.weight": torch.ones(5, 3, dtype=torch.bool)}), input_shape=(4,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda model, masks: (model, None), r"masks must be Masks, .*; got a NoneType: topology\(model, masks\)"),
        (
            lambda model, masks: (masks, model),
            r"the model must be a torch\.nn\.Module; got a Masks: topology\(model, ma",
        ),
        (lambda model, masks: (model, dict(masks)), r"masks must be Masks, .*; got a dict"),
    ],
    ids=["no masks", "swapped", "a dict"],
)
def test_arguments_of_another_type_are_refused(given, message):
    model = Perceptron()
    with pytest.raises(ValueError, match=message):
        topology(*given(model, all_kept(model)), input_shape=(4,))
