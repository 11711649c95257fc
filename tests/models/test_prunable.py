import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from prunemark.models.prunable import prunable, unwrap


def test_convolutions_and_linear_maps_but_no_biases_or_norms(convnet):
    assert list(prunable(convnet)) == ["stem.weight", "down.weight", "shortcut.weight", "head.weight"]
    assert prunable(convnet)["head.weight"] is convnet.head.weight


def test_a_shared_tensor_counts_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert list(prunable(net)) == ["0.weight"]


def test_a_module_used_under_two_names_counts_once():
    layer = nn.Linear(3, 3)
    assert list(prunable(nn.Sequential(layer, nn.ReLU(), layer))) == ["0.weight"]


def test_packed_projections_of_attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    names = ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]
    assert list(prunable(layer)) == names
    separate = nn.MultiheadAttention(8, 2, kdim=4, vdim=6)
    assert list(prunable(separate)) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv1d(2, 4, 3, groups=2),
        nn.Conv3d(2, 4, 3, dilation=2),
        nn.ConvTranspose1d(2, 4, 3),
        nn.ConvTranspose2d(2, 4, 3),
        nn.ConvTranspose3d(2, 4, 3),
    ],
)
def test_every_kind_of_convolution(module):
    assert list(prunable(module)) == ["weight"]


def test_recurrent_layers():
    assert list(prunable(nn.LSTM(2, 3, num_layers=2))) == [
        "weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1",
    ]  # fmt: skip


def test_embeddings_only_when_asked():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    assert list(prunable(net)) == ["1.weight"]
    assert list(prunable(net, include=[nn.Embedding, nn.Linear])) == ["0.weight", "1.weight"]


def test_include_and_exclude_by_name_type_and_predicate(convnet):
    assert list(prunable(convnet, include="s*")) == ["stem.weight", "shortcut.weight"]
    assert list(prunable(convnet, include=nn.Conv2d, exclude="stem*")) == ["down.weight", "shortcut.weight"]
    assert list(prunable(convnet, exclude=lambda name, module, weight: weight.numel() < 50)) == [
        "stem.weight",
        "down.weight",
    ]


def test_a_rule_that_selects_nothing_is_an_error(convnet):
    with pytest.raises(ValueError, match="'classifier' selects no prunable weight of this ConvNet"):
        prunable(convnet, exclude=["stem*", "classifier"])


def test_nothing_to_prune():
    with pytest.raises(ValueError, match="Sequential has nothing to prune"):
        prunable(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))


def test_a_compiled_model_has_the_names_of_the_model(convnet):
    compiled = torch.compile(convnet)
    assert unwrap(compiled) is convnet
    assert list(prunable(compiled)) == list(prunable(convnet))


def test_a_weight_that_is_computed_is_refused():
    with pytest.raises(ValueError, match="weight is computed from other tensors"):
        prunable(parametrizations.spectral_norm(nn.Linear(3, 3)))
    pruned = nn.Sequential(nn.Linear(3, 3))
    torch_prune.identity(pruned[0], "weight")
    with pytest.raises(ValueError, match=r"0.weight is pruned by torch.nn.utils.prune; take its masks"):
        prunable(pruned)


def test_a_lazy_module_is_refused():
    with pytest.raises(ValueError, match="weight has no shape yet"):
        prunable(nn.LazyLinear(3))


def test_frozen_parameters_count():
    layer = nn.Linear(3, 3).requires_grad_(False)
    assert list(prunable(layer)) == ["weight"]


class Product(nn.Module):
    """A linear map that is no nn.Linear, as in many packages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.count = nn.Parameter(torch.zeros(2, 2, dtype=torch.long), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * (inputs @ self.weight)


@pytest.fixture
def products() -> nn.Module:
    net = nn.Sequential(Product(6, 64), nn.LayerNorm((1, 64)), Product(64, 64), nn.Linear(64, 4))
    net.add_module("words", nn.Embedding(5, 3))
    return net


@pytest.mark.parametrize(
    ("include", "names"),
    [
        ("*", ["0.weight", "2.weight", "3.weight", "words.weight"]),
        (lambda name, module, weight: True, ["0.weight", "2.weight", "3.weight", "words.weight"]),
        ([nn.Linear, Product], ["0.weight", "2.weight", "3.weight"]),
        ("2.*", ["2.weight"]),
        (lambda name, module, weight: weight.numel() == 384, ["0.weight"]),
    ],
)
def test_include_admits_every_floating_parameter_with_two_axes(products, include, names):
    assert list(prunable(products, include=include)) == names


def test_include_with_exclude(products):
    assert list(prunable(products, include="*", exclude=nn.Embedding)) == ["0.weight", "2.weight", "3.weight"]
    assert list(prunable(products, exclude=nn.Embedding)) == ["3.weight"]


def test_what_a_parametrisation_is_computed_from_is_no_weight():
    net = nn.Sequential(nn.Linear(3, 3), parametrizations.weight_norm(nn.Linear(3, 3)))
    assert list(prunable(net, include="*", exclude="1.weight")) == ["0.weight"]
    torch_prune.identity(net[0], "weight")
    with pytest.raises(ValueError, match=r"0\.weight is pruned by torch\.nn\.utils\.prune"):
        prunable(net, include="*", exclude="1.weight")


def test_a_model_with_nothing_prunable_says_what_include_admits():
    with pytest.raises(
        ValueError, match=r"nothing to prune: no .* weight; .* such as 0\.weight \(include='0\.weight'\)"
    ):
        prunable(nn.Sequential(Product(3, 4)))


@pytest.mark.parametrize(
    "name",
    ["transformers.pytorch_utils.Conv1D", "torch_geometric.nn.dense.linear.Linear",
     "torch_geometric.nn.dense.linear.HeteroLinear"],
)  # fmt: skip
def test_linear_maps_of_other_packages_are_known_by_name(name):
    package, _, kind = name.rpartition(".")
    foreign = type(kind, (Product,), {"__module__": package})
    derived = type("Mine", (foreign,), {})
    assert list(prunable(nn.Sequential(foreign(2, 3), derived(3, 3), Product(3, 3)))) == ["0.weight", "1.weight"]
