"""The distributions that weights are drawn from."""

import math

import pytest
import torch
from torch import nn

from prunemark.networks.initialisation import BATCHNORMS, INITS, Initialisation
from prunemark.randomness import generator

FAN_IN = 16 * 9
HE = math.sqrt(2 / FAN_IN)


def drawn(*, dtype=torch.float32, **options):
    """A convolution with 64 x 16 x 3 x 3 weights and a BatchNorm of 4,000 channels, drawn with seed 0."""
    model = nn.Sequential(nn.Conv2d(16, 64, 3), nn.BatchNorm2d(4000), nn.Linear(400, 30)).to(dtype)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(9)
    Initialisation(**options).draw_(model, generator(0, "weights"))
    return model


def assert_moments(sample, *, std, kurtosis):
    """Mean, standard deviation and kurtosis within five standard errors."""
    n = sample.numel()
    assert abs(sample.mean()) < 5 * std / math.sqrt(n)
    assert sample.std().item() == pytest.approx(std, rel=5 * math.sqrt((kurtosis - 1) / (4 * n)))
    assert ((sample / std) ** 4).mean().item() == pytest.approx(kurtosis, rel=0.15)


@pytest.mark.parametrize(
    ("init", "std", "kurtosis"),
    [
        ("he-normal", HE, 3),
        ("he-uniform", HE, 9 / 5),
        ("normal-0.1", 0.1, 3),
        ("signed-constant", HE, 1 + 1e-3),
    ],
)
def test_moments_of_the_weights(init, std, kurtosis):
    assert_moments(drawn(init=init)[0].weight, std=std, kurtosis=kurtosis)


def test_linear_weights_are_he_normal_by_their_own_fan_in():
    assert_moments(drawn()[2].weight, std=math.sqrt(2 / 400), kurtosis=3)


def test_he_uniform_stays_within_its_bounds():
    weight = drawn(init="he-uniform")[0].weight
    assert 0.99 * math.sqrt(6 / FAN_IN) < weight.abs().max() <= math.sqrt(6 / FAN_IN)


def test_signed_constants_have_one_magnitude_and_both_signs():
    weight = drawn(init="signed-constant")[0].weight
    assert torch.equal(weight.abs(), torch.full_like(weight, HE))
    assert (weight > 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_orthogonal_rows_have_gain_sqrt_2():
    rows = drawn(init="orthogonal")[0].weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("init", INITS)
def test_biases_are_uniform_within_one_over_the_root_of_the_fan_in(init):
    bias = drawn(init=init)[0].bias
    assert 0.8 / math.sqrt(FAN_IN) < bias.abs().max() <= 1 / math.sqrt(FAN_IN)
    assert (bias > 0).any()
    assert (bias < 0).any()


def test_batchnorm_weights_are_uniform_between_0_and_1():
    norm = drawn()[1]
    assert 0 <= norm.weight.min() < 0.01
    assert 0.99 < norm.weight.max() <= 1
    assert norm.weight.mean().item() == pytest.approx(0.5, abs=0.025)


@pytest.mark.parametrize("batchnorm", BATCHNORMS)
def test_batchnorm_biases_are_0_and_statistics_as_new(batchnorm):
    norm = drawn(batchnorm=batchnorm)[1]
    assert not norm.bias.any()
    assert not norm.running_mean.any()
    assert torch.equal(norm.running_var, torch.ones(4000))
    assert norm.num_batches_tracked == 0
    assert (batchnorm == "ones") == torch.equal(norm.weight, torch.ones(4000))


def test_a_model_of_another_dtype_gets_the_same_values():
    single, double = drawn(), drawn(dtype=torch.float64)
    assert torch.equal(single[0].weight.double(), double[0].weight)


def test_an_affine_free_batchnorm_draws_nothing():
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3, track_running_stats=False))
    Initialisation().draw_(model, generator(0))
    assert model[1].weight.min() > 0


def test_a_module_without_a_rule_is_named():
    with pytest.raises(TypeError, match="no rule to initialise 1, a PReLU"):
        Initialisation().draw_(nn.Sequential(nn.Linear(2, 2), nn.PReLU()), generator(0))


@pytest.mark.parametrize("options", [{"kdim": 4}, {"add_bias_kv": True}])
def test_attention_of_another_form_is_named(options):
    with pytest.raises(TypeError, match="no rule to initialise 0, attention with separate projections or extra biases"):
        Initialisation().draw_(nn.Sequential(nn.MultiheadAttention(8, 2, **options)), generator(0))


@pytest.mark.parametrize("init", INITS)
def test_each_projection_of_attention_is_drawn_as_a_linear_map_and_its_biases_are_0(init):
    attention = nn.MultiheadAttention(96, 2)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.fill_(9)
    Initialisation(init=init).draw_(attention, generator(0))
    projections = [*attention.in_proj_weight.chunk(3), attention.out_proj.weight]
    std = 0.1 if init == "normal-0.1" else math.sqrt(2 / 96)
    for projection in projections:
        assert projection.pow(2).mean().sqrt().item() == pytest.approx(std, rel=0.05)
        if init == "orthogonal":
            torch.testing.assert_close(projection @ projection.T, 2 * torch.eye(96), atol=1e-5, rtol=0)
    assert len({projection.flatten()[:9].sum().item() for projection in projections}) > 1 or init == "signed-constant"
    assert not attention.in_proj_bias.any()
    assert not attention.out_proj.bias.any()


def test_attention_without_biases():
    attention = nn.MultiheadAttention(8, 2, bias=False)
    Initialisation().draw_(attention, generator(0))
    assert attention.in_proj_bias is None


def test_layernorm_is_the_identity_at_first():
    norm = nn.LayerNorm(5)
    with torch.no_grad():
        norm.weight.fill_(9)
        norm.bias.fill_(9)
    Initialisation().draw_(norm, generator(0))
    assert torch.equal(norm.weight, torch.ones(5))
    assert not norm.bias.any()


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match=r'unknown init "he-norml".*did you mean "he-normal"'):
        Initialisation(init="he-norml")
    with pytest.raises(ValueError, match='unknown batchnorm "zeros"'):
        Initialisation(batchnorm="zeros")
