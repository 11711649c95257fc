"""The vision transformer against an independent computation."""

import pytest
import torch
from torch.nn import functional as F

from prunemark.networks import network
from prunemark.networks.vit import VisionTransformer, _patch
from prunemark.randomness import generator


def small(**options):
    shape = options.pop("input_shape", (2, 8, 12))
    return network("vit-tiny", input_shape=shape, classes=5, width=1 / 16, **options)


def by_hand(model, inputs, *, heads, patch):
    """Logits in plain matrix algebra, patch by patch and head by head."""
    state = model.state_dict()

    def linear(values, name):
        return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(values, name):
        centred = values - values.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    cells = [
        inputs[:, :, top : top + patch, left : left + patch].flatten(1)
        for top in range(0, inputs.shape[2], patch)
        for left in range(0, inputs.shape[3], patch)
    ]
    embedded = torch.stack(cells, 1) @ state["embedding.weight"].flatten(1).T + state["embedding.bias"]
    tokens = torch.cat([state["tokens.class_token"].repeat(len(inputs), 1, 1), embedded], 1) + state["tokens.position"]
    dim = tokens.shape[2]
    for number in range(len(model.blocks)):
        block = f"blocks.{number}"
        packed = norm(tokens, f"{block}.norm1") @ state[f"{block}.attention.in_proj_weight"].T
        packed = packed + state[f"{block}.attention.in_proj_bias"]
        mixed = []
        for head in range(heads):
            own = slice(head * dim // heads, (head + 1) * dim // heads)
            q, k, v = (part[..., own] for part in packed.split(dim, 2))
            mixed.append((q @ k.mT / (dim // heads) ** 0.5).softmax(-1) @ v)
        tokens = tokens + linear(torch.cat(mixed, 2), f"{block}.attention.out_proj")
        hidden = F.gelu(linear(norm(tokens, f"{block}.norm2"), f"{block}.mlp.0"))
        tokens = tokens + linear(hidden, f"{block}.mlp.2")
    return linear(norm(tokens[:, 0], "norm"), "fc")


@pytest.mark.parametrize("training", [True, False])
def test_logits_by_hand(training):
    model = small(patch=4).double().train(training)
    source = generator(0)
    with torch.no_grad():
        for parameter in model.parameters():
            # Everything counts: biases and norms too.
            parameter += 0.1 * torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        inputs = torch.randn(3, 2, 8, 12, generator=source, dtype=torch.float64)
        torch.testing.assert_close(model(inputs), by_hand(model, inputs, heads=3, patch=4))


@pytest.mark.parametrize(
    ("height", "width", "patch"),
    [(224, 224, 16), (64, 64, 8), (32, 32, 4), (28, 28, 2), (8, 8, 1), (7, 9, 1), (64, 32, 4)],
)
def test_the_default_patch(height, width, patch):
    assert _patch(height, width) == patch


def test_patches_of_the_default_and_of_ones_own_size():
    assert small(input_shape=(1, 32, 32)).tokens.position.shape == (1, 65, 12)
    assert small(input_shape=(1, 32, 32), patch=16).tokens.position.shape == (1, 5, 12)


def test_width_multiplies_the_channels_of_each_head():
    model = network("vit-tiny", input_shape=(1, 8, 8), classes=5, width=1 / 3, patch=4)
    assert model.fc.in_features == 3 * 21
    assert len(model.blocks) == 12


def test_tokens_are_drawn_with_a_standard_deviation_of_a_fiftieth():
    tokens = network("vit-tiny", input_shape=(1, 32, 32), classes=5).tokens
    assert tokens.position.std().item() == pytest.approx(0.02, rel=0.03)
    assert tokens.class_token.std().item() == pytest.approx(0.02, rel=0.2)


def test_patches_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="patches of 3x3 pixels do not cut 8x9 images evenly"):
        VisionTransformer(input_shape=(1, 8, 9), classes=5, patch=3)
