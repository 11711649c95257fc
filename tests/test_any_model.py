"""Models that can be pruned: every kind of module and model, and a clear sentence where one cannot."""

import copy
import threading
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

import prunemark as pm
from prunemark.masks import Masks
from prunemark.methods import Problem
from prunemark.models.prunable import prunable

FEATURES, CLASSES, EXAMPLES = 6, 3, 8


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


TARGETS = torch.arange(EXAMPLES) % CLASSES


class Pooled(nn.Module):
    """Layers, a mean over all positions, and a classifier."""

    def __init__(self, *layers: nn.Module, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(2).mean(2))


class Attending(nn.Module):
    """Separate projections of attention over a second sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=FEATURES, vdim=FEATURES, batch_first=True)
        self.query = nn.Parameter(drawn(1, 1, 4))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        attended, _ = self.attention(self.query.expand(len(x), -1, -1), x, x)
        return self.head(attended[:, 0])


class SmallViT(nn.Module):
    """Patches, a class token, positions, an encoder of two layers with packed projections."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.token = nn.Parameter(drawn(1, 1, 8))
        self.positions = nn.Parameter(drawn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


class Recurrent(nn.Module):
    """A recurrent layer and a classifier of its last output."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Twice(nn.Module):
    """One module used twice, and one tensor in two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, FEATURES)
        self.again = self.layer
        self.tied = nn.Linear(FEATURES, FEATURES)
        self.tied.weight = self.layer.weight
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tied(self.again(self.layer(x).relu()).relu()))


class WithBuffers(nn.Module):
    """Buffers that are no floats, and an operation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, FEATURES)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("order", torch.randperm(FEATURES, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("use", torch.ones(FEATURES, dtype=torch.bool))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.relu(self.layer(x[:, self.order])) * self.use)


class Language(nn.Module):
    """Tokens in; the classifier's weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, CLASSES, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.from_embeddings(self.embedding(tokens))

    def from_embeddings(self, x: Tensor) -> Tensor:
        return self.head(self.mix(x).relu().mean(1))


# An LSTM with projections runs, but says that it does so without oneDNN.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LINEAR = (EXAMPLES, FEATURES)
MODELS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.ReLU(), nn.Linear(5, CLASSES)), LINEAR),
    "dropout": (lambda: nn.Sequential(nn.Linear(FEATURES, 9), nn.Dropout(0.3), nn.Linear(9, CLASSES)), LINEAR),
    "grouped": (lambda: Pooled(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), channels=6), (EXAMPLES, 4, 5, 5)),
    "depth-wise": (
        lambda: Pooled(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU(), channels=8),
        (EXAMPLES, 4, 5, 5),
    ),
    "dilated": (lambda: Pooled(nn.Conv2d(2, 4, 3, dilation=2, stride=2), channels=4), (EXAMPLES, 2, 7, 7)),
    "conv1d": (lambda: Pooled(nn.Conv1d(2, 4, 3), nn.ReLU(), channels=4), (EXAMPLES, 2, 7)),
    "conv3d": (lambda: Pooled(nn.Conv3d(2, 4, 2), nn.ReLU(), channels=4), (EXAMPLES, 2, 3, 3, 3)),
    "transposed1d": (lambda: Pooled(nn.ConvTranspose1d(2, 4, 3), nn.ReLU(), channels=4), (EXAMPLES, 2, 3)),
    "transposed2d": (
        lambda: Pooled(nn.ConvTranspose2d(2, 4, 2, stride=2, groups=2), channels=4),
        (EXAMPLES, 2, 3, 3),
    ),
    "transposed3d": (lambda: Pooled(nn.ConvTranspose3d(2, 4, 2), channels=4), (EXAMPLES, 2, 2, 2, 2)),
    "attention": (Attending, (EXAMPLES, 5, FEATURES)),
    "vit": (SmallViT, (EXAMPLES, 1, 8, 8)),
    "lstm": (
        lambda: Recurrent(nn.LSTM(FEATURES, 4, num_layers=2, proj_size=3, bidirectional=True, batch_first=True), 6),
        (EXAMPLES, 3, FEATURES),
    ),
    "gru": (lambda: Recurrent(nn.GRU(FEATURES, 4, batch_first=True), 4), (EXAMPLES, 3, FEATURES)),
    "used twice": (Twice, LINEAR),
    "odd buffers": (WithBuffers, LINEAR),
}


def build(name: str) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    make, shape = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(), [(drawn(*shape), TARGETS)]


def loss_gradients(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    model = copy.deepcopy(model).train()
    (inputs, targets), weights = batches[0], prunable(model)
    loss = nn.functional.cross_entropy(model(inputs), targets)
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_snip_scores_are_those_of_plain_autograd(name):
    model, batches = build(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    expected = {n: (prunable(model)[n] * g).abs() for n, g in loss_gradients(model, batches).items()}
    scores = pm.score(model, "snip", data=batches)
    assert list(scores) == list(expected)
    for layer in scores:
        torch.testing.assert_close(scores[layer], expected[layer])
    assert sum(int((score > 0).sum()) for score in scores.values()) > 0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["random", "magnitude", "grasp", "synflow"])
def test_every_model_is_pruned_to_the_exact_count_and_trains_on(name, method):
    model, batches = build(name)
    masks = pm.prune(model, method, sparsity=0.7, data=batches, rounds=2)
    assert masks.kept == round(0.3 * masks.total)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    with masks.hold(model, optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batches[0][0]), TARGETS).backward()
            optimizer.step()
            masks.verify(model)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_shuffled_and_reinitialised(name):
    model, batches = build(name)
    masks = pm.prune(model, "magnitude", sparsity=0.5)
    assert pm.shuffle(masks, seed=1).kept == masks.kept
    if name in ("attention", "vit"):  # parameters of their own, of unknown distribution
        with pytest.raises(ValueError, match="has parameters but no reset_parameters"):
            pm.reinitialize(model, seed=1)
        return
    fresh = pm.reinitialize(model, seed=1)
    masks.apply_(fresh)
    masks.verify(fresh)
    assert fresh(batches[0][0]).shape == (EXAMPLES, CLASSES)


def test_reinitialising_draws_what_the_constructor_draws():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    fresh = pm.reinitialize(layer, seed=0)
    assert not torch.equal(fresh.linear1.weight, layer.linear1.weight)
    # The constructor of attention sets these to zero after its output projection has drawn them.
    assert (fresh.self_attn.out_proj.bias == 0).all()
    assert (fresh.self_attn.in_proj_bias == 0).all()
    assert (fresh.norm1.weight == 1).all()
    assert fresh.self_attn.in_proj_weight.abs().max() <= (6 / (8 + 3 * 8)) ** 0.5
    with torch.no_grad():
        layer.norm1.weight.fill_(7)
    with pytest.raises(ValueError, match=r"norm1\.weight: all 7 against all 1"):
        pm.reinitialize(layer, seed=0)


@pytest.mark.filterwarnings("ignore::prunemark.UnscoredWarning")  # of tokens that no example holds
def test_a_classifier_tied_to_an_embedding_is_pruned_under_the_tensors_first_name():
    model = Language()
    assert list(prunable(model)) == ["embedding.weight", "mix.weight"]
    assert list(prunable(model, exclude="head.*")) == ["mix.weight"]
    assert list(prunable(model, exclude=nn.Embedding)) == ["mix.weight"]
    batches = [(torch.randint(0, CLASSES, (EXAMPLES, 4)), TARGETS)]
    expected = loss_gradients(model, batches)
    scores = pm.score(model, "snip", data=batches)
    torch.testing.assert_close(scores["embedding.weight"], (model.head.weight * expected["embedding.weight"]).abs())
    masks = pm.prune(model, "grasp", sparsity=0.5, data=batches)
    masks.hold(model, torch.optim.Adam(model.parameters(), lr=0.1))
    assert (model.head.weight[~masks["embedding.weight"]] == 0).all()


def test_synflow_of_tokens_enters_behind_the_embedding():
    model = Language()
    batches = [(torch.randint(0, CLASSES, (EXAMPLES, 4)), TARGETS)]
    with pytest.raises(ValueError, match=r"feeds Language ones of shape \(1, 4\) .* not take; .* behind the embedding"):
        pm.score(model, "synflow", data=batches)
    scores = pm.score(model, "synflow", input_shape=(5, 4), forward=lambda m, ones: m.from_embeddings(ones))
    assert scores["mix.weight"].min() > 0


def test_synflow_of_several_inputs_needs_a_forward():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.layer(a) * self.layer(b)

    data = [({"a": drawn(4, 2), "b": drawn(4, 2)}, torch.zeros(4, dtype=torch.int64))]
    with pytest.raises(ValueError, match=r"not one tensor: pass forward=.* and its input_shape="):
        pm.score(Two(), "synflow", data=data)
    with pytest.raises(ValueError, match=r"pass forward=.*missing 1 required positional argument"):
        pm.score(Two(), "synflow", input_shape=(2,))
    assert pm.score(Two(), "synflow", input_shape=(2,), forward=lambda m, x: m(x, x))["layer.weight"].min() > 0


class Returning(nn.Module):
    """A model that returns more than logits."""

    def __init__(self, pack) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.pack = pack

    def forward(self, x: Tensor):
        return self.pack(self.layer(x))


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda y: (y, y.detach()), lambda outputs: outputs[0]),
        (lambda y: {"logits": y}, lambda outputs: outputs["logits"]),
    ],
)
@pytest.mark.parametrize("method", ["snip", "grasp", "synflow"])
def test_models_that_return_tuples_or_dicts(pack, unpack, method):
    model, data = Returning(pack), [(drawn(*LINEAR), TARGETS)]
    with pytest.raises(ValueError, match=r"(tuple|dict).*forward=\(model, .*\) -> logits"):
        pm.score(model, method, data=data)
    scores = pm.score(model, method, data=data, forward=lambda m, x: unpack(m(x)))
    plain = pm.score(Returning(lambda y: y).requires_grad_(False).train(), "random")
    assert scores.keys() == plain.keys()
    if method == "snip":
        by_loss = pm.score(
            model, method, data=data, loss=lambda outputs, y: nn.functional.cross_entropy(unpack(outputs), y)
        )
        assert torch.equal(by_loss["layer.weight"], scores["layer.weight"])


def test_half_precision_is_scored_in_float32():
    model, batches = build("vit")
    model.eval()
    half = copy.deepcopy(model).bfloat16()
    exact = copy.deepcopy(half).float()
    for method in ("snip", "grasp", "magnitude", "synflow"):
        scores = pm.score(half, method, data=batches, seed=1)
        assert all(score.dtype in (torch.float32, torch.float64) for score in scores.values())
        of_float = pm.score(exact, method, data=batches, seed=1)
        assert all(torch.equal(scores[name], of_float[name]) for name in scores)
        half_inputs = [(batches[0][0].bfloat16(), TARGETS)]
        pm.score(half, method, data=half_inputs, seed=1)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    masks = pm.prune(half, "grasp", sparsity=0.9, data=batches)
    masks.apply_(half)
    masks.verify(half)


def test_double_precision_is_scored_in_double_precision():
    model, batches = build("vit")
    model.double()
    with pytest.raises(ValueError, match="the model computes in float64, but its inputs are float32: convert one"):
        pm.score(model, "snip", data=batches)
    scores = pm.score(model, "snip", data=[(batches[0][0].double(), TARGETS)])
    assert all(score.dtype == torch.float64 for score in scores.values())
    conv, batches = build("conv1d")
    with pytest.raises(ValueError, match="the model computes in float32, but its inputs are float64"):
        pm.score(conv, "snip", data=[(batches[0][0].double(), TARGETS)])


def test_frozen_parameters_are_scored_and_stay_frozen():
    model, batches = build("perceptron")
    expected = pm.score(model, "snip", data=batches)
    model.requires_grad_(False)
    scores = pm.score(model, "snip", data=batches)
    assert all(torch.equal(scores[name], expected[name]) for name in expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_callers_gradient_mode_and_autocast_do_not_reach_in():
    model, batches = build("vit")
    expected = pm.score(model, "snip", data=batches, seed=3)
    for context in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with context:
            scores = pm.score(model, "snip", data=batches, seed=3)
        assert all(torch.equal(scores[name], expected[name]) for name in expected)


def test_compiled_models_and_compiled_blocks():
    model, batches = build("perceptron")
    expected = pm.score(model, "grasp", data=batches)
    whole = torch.compile(model, backend="eager")
    in_place = copy.deepcopy(model)
    in_place.compile(backend="eager")
    block = copy.deepcopy(model)
    block[0] = torch.compile(block[0], backend="eager")
    seen: list[nn.Module] = []

    def spy(problem: Problem) -> dict[str, Tensor]:
        seen.append(problem.model)
        return {name: weight.abs() for name, weight in problem.weights.items()}

    for compiled in (whole, in_place, block):
        compiled(batches[0][0])
        scores = pm.score(compiled, "grasp", data=batches)
        assert list(scores) == list(expected) == ["0.weight", "2.weight"]
        assert all(torch.equal(scores[name], expected[name]) for name in expected)
        # Compiled code has no second derivative, so none of it is left in what is scored.
        pm.score(compiled, spy)
        assert {type(module) for module in seen[-1].modules()} == {nn.Sequential, nn.Linear, nn.ReLU}
        masks = pm.prune(compiled, "snip", sparsity=0.5, data=batches)
        optimizer = torch.optim.AdamW(compiled.parameters(), lr=0.1)
        handle = masks.hold(compiled, optimizer)
        nn.functional.cross_entropy(compiled(batches[0][0]), TARGETS).backward()
        optimizer.step()
        masks.verify(compiled)
        with torch.no_grad():
            prunable(compiled)["2.weight"][~masks["2.weight"]] = 1
        with pytest.raises(ValueError, match=r"2\.weight.* is pruned but holds 1"):
            masks.verify(compiled)
        handle.remove()


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


PARAMETRISED = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old weight_norm": old_weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "torch prune": lambda layer: torch_prune.random_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("kind", PARAMETRISED)
def test_a_layer_whose_weight_is_computed_is_refused_but_the_others_are_pruned(kind):
    torch.manual_seed(0)
    model = nn.Sequential(PARAMETRISED[kind](nn.Linear(FEATURES, 5)), nn.ReLU(), nn.Linear(5, CLASSES))
    batches = [(drawn(*LINEAR), TARGETS)]
    model(batches[0][0])
    with pytest.raises(ValueError, match=r"0\.weight is (computed from other tensors|pruned by torch)"):
        pm.prune(model, "snip", sparsity=0.5, data=batches)
    with pytest.raises(ValueError, match=r"0\.weight is (computed from other tensors|pruned by torch)"):
        Masks({"0.weight": torch.ones(5, FEATURES, dtype=torch.bool)}).apply_(model)
    state = copy.deepcopy(model.state_dict())
    scores = pm.score(model, "grasp", data=batches, exclude="0.*")
    assert list(scores) == ["2.weight"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model.eval()  # spectral norm moves on in training mode
    logits = model(batches[0][0])
    hidden = model[:2](batches[0][0]).detach()
    weight = model[2].weight.detach().requires_grad_()
    loss = nn.functional.cross_entropy(hidden @ weight.T + model[2].bias, TARGETS)
    expected = (weight * torch.autograd.grad(loss, weight)[0]).abs()
    torch.testing.assert_close(
        pm.score(model, "snip", data=batches, exclude="0.*", bn="eval")["2.weight"], expected.detach()
    )
    assert torch.equal(model(batches[0][0]), logits)


def test_a_recurrent_layers_computed_weight_is_refused():
    for kind in (parametrizations.weight_norm, nn.utils.spectral_norm):
        with pytest.raises(ValueError, match="weight_hh_l0 is computed from other tensors"):
            prunable(kind(nn.LSTM(2, 3), "weight_hh_l0"))


def test_a_model_compiled_by_torchscript_is_refused():
    layer = nn.Linear(FEATURES, CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(layer)
    with pytest.raises(ValueError, match="compiled by TorchScript, its layers cannot be told apart; prune the module"):
        prunable(scripted)
    with pytest.raises(ValueError, match="compiled by TorchScript"):
        prunable(nn.Sequential(scripted))


def test_a_forward_that_casts_to_half_precision_is_explained():
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(FEATURES, 5).bfloat16(), nn.Linear(5, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x.bfloat16()).float())

    data = [(drawn(*LINEAR), TARGETS)]
    with pytest.raises(
        ValueError, match=r"half precision is scored in float32\), which casts in its forward do not fit"
    ):
        pm.score(Casting(), "snip", data=data)
    scores = pm.score(Casting(), "snip", data=data, forward=lambda m, x: m.head(m.body(x)))
    assert {score.dtype for score in scores.values()} == {torch.float32}


def test_lazy_modules_after_their_first_batch():
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(CLASSES))
    batches = [(drawn(*LINEAR), TARGETS)]
    with pytest.raises(ValueError, match=r"0\.weight has no shape yet: run the lazy module once"):
        pm.prune(model, "snip", sparsity=0.5, data=batches)
    model(batches[0][0])
    assert pm.prune(model, "snip", sparsity=0.5, data=batches).kept == (6 * 4 + 4 * 3) // 2


def test_a_model_without_values_or_that_cannot_be_copied():
    with pytest.raises(ValueError, match="weight is on the meta device: it has no values"):
        pm.score(nn.Linear(2, 2, device="meta"), "magnitude")
    layer = nn.Linear(2, 2)
    layer.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"this Linear cannot be copied, .*TypeError: cannot pickle '_thread.lock'"):
        pm.score(layer, "magnitude")


def test_integer_parameters_of_quantised_layers_are_left_alone():
    model, batches = build("perceptron")
    model.codes = nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False)
    assert list(pm.score(model, "snip", data=batches)) == ["0.weight", "2.weight"]


class Projection(nn.Module):
    """A layer of one's own, which prunemark cannot know to be a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(drawn(FEATURES, 4))
        self.shift = nn.Parameter(drawn(4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix + self.shift


def test_a_layer_of_ones_own_is_pruned_when_its_type_is_included():
    model = nn.Sequential(Projection(), nn.LayerNorm([4]), nn.Linear(4, CLASSES))
    assert list(prunable(model)) == ["2.weight"]
    assert list(prunable(model, include=[Projection, nn.Linear])) == ["0.matrix", "2.weight"]
    assert list(prunable(model, include=[nn.Module])) == ["0.matrix", "2.weight"]
    scores = pm.score(model, "snip", data=[(drawn(*LINEAR), TARGETS)], include=[Projection])
    assert list(scores) == ["0.matrix"]
    with pytest.raises(ValueError, match=r"not Linear\(in_features=4, out_features=3, bias=True\)"):
        prunable(model, include=model[2])


def test_excluding_one_name_of_a_shared_tensor_excludes_it():
    assert list(prunable(Twice(), exclude="tied.*")) == ["head.weight"]
    assert list(prunable(Twice(), include="again.*")) == ["layer.weight"]
    with pytest.raises(ValueError, match="Twice has nothing to prune: include= and exclude= leave none"):
        prunable(Twice(), exclude="*")
    with pytest.raises(ValueError, match="Twice has nothing to prune: include= and exclude= leave none"):
        prunable(Twice(), include=[])


def test_averaged_models_have_the_names_of_the_model():
    model, _ = build("perceptron")
    average = torch.optim.swa_utils.AveragedModel(model)
    assert list(prunable(average)) == list(prunable(model))
