import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunemark.masks import MaskError, Masks
from prunemark.prunable import prunable


def random_masks(model: nn.Module, density: float = 0.3) -> Masks:
    source = torch.Generator().manual_seed(7)
    return Masks({name: torch.rand(w.shape, generator=source) < density for name, w in prunable(model).items()})


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=5))
def test_counts_are_exact(layers):
    masks = Masks({f"l{i}": torch.tensor(values) for i, values in enumerate(layers)})
    flat = [value for values in layers for value in values]
    assert (masks.kept, masks.total) == (sum(flat), len(flat))
    assert masks.density == sum(flat) / len(flat)
    assert masks.sparsity == 1 - masks.density
    assert [(c.kept, c.total) for c in masks.layers()] == [(sum(v), len(v)) for v in layers]


def test_masks_are_boolean():
    with pytest.raises(ValueError, match=r"boolean, True = kept; w has dtype torch.float32"):
        Masks({"w": torch.ones(3)})


def test_the_table_shows_each_layer_and_marks_collapse():
    masks = Masks({"a": torch.tensor([[True, False]]), "b": torch.zeros(4, dtype=torch.bool)})
    lines = str(masks).splitlines()
    assert lines[0].split() == ["layer", "shape", "kept", "of", "density"]
    assert lines[1].split() == ["a", "1x2", "1", "2", "50.00%"]
    assert lines[2].split() == ["b", "4", "0", "4", "0.00%", "all", "pruned"]
    assert lines[3].split() == ["total", "1", "6", "16.67%"]


def test_apply_zeroes_exactly_the_pruned_weights(convnet):
    masks = random_masks(convnet)
    before = copy.deepcopy(convnet)
    masks.apply_(convnet)
    for name, weight in prunable(convnet).items():
        old = prunable(before)[name]
        assert torch.equal(weight[masks[name]], old[masks[name]])
        assert (weight[~masks[name]] == 0).all()
    assert torch.equal(convnet.head.bias, before.head.bias)
    masks.verify(convnet)


def test_masks_of_another_model_are_refused(convnet):
    with pytest.raises(ValueError, match="has no parameter 'nope'"):
        Masks({"nope": torch.ones(1, dtype=torch.bool)}).apply_(convnet)
    with pytest.raises(ValueError, match=r"head.weight has shape \(3, 8\), its mask \(2,\)"):
        Masks({"head.weight": torch.ones(2, dtype=torch.bool)}).apply_(convnet)


def test_verify_names_layer_index_and_value(convnet):
    masks = random_masks(convnet)
    masks.apply_(convnet)
    index = tuple(int(i) for i in (~masks["down.weight"]).nonzero()[5])
    with torch.no_grad():
        convnet.down.weight[index] = 0.5
    with pytest.raises(MaskError, match=rf"down.weight\[{', '.join(map(str, index))}\] is pruned but holds 0.5"):
        masks.verify(convnet)


def test_verify_sees_nan(convnet):
    masks = random_masks(convnet)
    masks.apply_(convnet)
    with torch.no_grad():
        convnet.head.weight[~masks["head.weight"]] = float("nan")
    with pytest.raises(MaskError, match=r"head\.weight"):
        masks.verify(convnet)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=True),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_hold_keeps_pruned_weights_at_zero(convnet, batches, optimizer):
    masks = random_masks(convnet)
    keys = list(convnet.state_dict())
    steps = OPTIMIZERS[optimizer](convnet.parameters())
    # Momentum from before the masks would move the pruned weights.
    for inputs, targets in batches:
        nn.functional.cross_entropy(convnet(inputs), targets).backward()
        steps.step()
    handle = masks.hold(convnet, steps)
    for inputs, targets in batches * 3:
        steps.zero_grad()
        nn.functional.cross_entropy(convnet(inputs), targets).backward()
        assert all((w.grad[~masks[n]] == 0).all() for n, w in prunable(convnet).items())
        steps.step()
        masks.verify(convnet)
    assert list(convnet.state_dict()) == keys
    handle.remove()
    nn.functional.cross_entropy(convnet(batches[0][0]), batches[0][1]).backward()
    steps.step()
    with pytest.raises(MaskError):
        masks.verify(convnet)


def test_hold_survives_loading_a_dense_state(convnet):
    dense = copy.deepcopy(convnet.state_dict())
    masks = random_masks(convnet)
    masks.hold(convnet, torch.optim.SGD(convnet.parameters(), lr=0.1))
    convnet.load_state_dict(dense)
    masks.verify(convnet)


def test_pickled_masks_are_equal(convnet):
    masks = random_masks(convnet)
    assert pickle.loads(pickle.dumps(masks)) == masks


def test_torch_prune_round_trip(convnet):
    masks = random_masks(convnet)
    masks.to_torch_prune(convnet)
    assert torch_prune.is_pruned(convnet)
    assert Masks.from_torch_prune(convnet) == masks


def test_from_torch_prune_counts_untouched_layers_as_kept(convnet):
    torch_prune.l1_unstructured(convnet.head, "weight", amount=4)
    masks = Masks.from_torch_prune(convnet)
    assert masks.total - masks.kept == 4
    assert set(masks) == {"stem.weight", "down.weight", "shortcut.weight", "head.weight"}


def test_from_torch_prune_needs_a_pruned_layer(convnet):
    with pytest.raises(ValueError, match="no layer of this ConvNet is pruned"):
        Masks.from_torch_prune(convnet)


def test_saved_masks_come_back_in_order_with_provenance(tmp_path, convnet):
    masks = random_masks(convnet)
    masks.provenance["method"] = "snip"
    masks.save(tmp_path / "m.safetensors")
    loaded = Masks.load(tmp_path / "m.safetensors")
    assert loaded == masks
    assert list(loaded) == list(masks)
    assert loaded.provenance == {"method": "snip"}


def test_a_truncated_file_is_refused(tmp_path, convnet):
    path = tmp_path / "m.safetensors"
    random_masks(convnet).save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        Masks.load(path)


def test_a_file_of_weights_is_not_masks(tmp_path, convnet):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="not one of prunemark masks"):
        Masks.load(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError, match="no masks file"):
        Masks.load(tmp_path / "missing.safetensors")
