import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunemark.masks import MaskError, Masks
from prunemark.models.prunable import prunable


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


def test_masks_are_tensors():
    with pytest.raises(ValueError, match="masks are boolean tensors, True = kept; a is a ndarray"):
        Masks({"a": torch.ones(2, dtype=torch.bool).numpy()})


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_apply_zeroes_what_is_not_finite_and_leaves_every_bit_of_what_is_kept(dtype):
    net = nn.Linear(6, 1, bias=False).to(dtype)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[float("nan"), float("inf"), -3.0, -0.0, 1.5, float("-inf")]]))
    Masks({"weight": torch.tensor([[False, False, False, True, True, True]])}).apply_(net)
    assert net.weight.tolist() == [[0.0, 0.0, 0.0, 0.0, 1.5, float("-inf")]]
    assert net.weight.signbit().tolist() == [[False, False, False, True, False, True]]


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


def test_pickled_masks_are_equal(convnet):
    masks = random_masks(convnet)
    assert pickle.loads(pickle.dumps(masks)) == masks


def test_torch_prune_round_trip(convnet):
    masks = random_masks(convnet)
    masks.to_torch_prune(convnet)
    assert torch_prune.is_pruned(convnet)
    assert Masks.from_torch_prune(convnet) == masks


def test_verify_looks_through_torch_prune(convnet):
    masks = random_masks(convnet)
    masks.to_torch_prune(convnet)
    masks.verify(convnet)
    assert (convnet.down.weight_orig[~masks["down.weight"]] != 0).all()
    index = tuple((~masks["down.weight"]).nonzero()[0].tolist())
    convnet.down.weight_mask[index] = 1
    with pytest.raises(ValueError, match=r"down\.weight\[.*\] is pruned but holds") as caught:
        masks.verify(convnet)
    assert str(list(index)) in str(caught.value)


def test_from_torch_prune_counts_untouched_layers_as_kept(convnet):
    torch_prune.l1_unstructured(convnet.head, "weight", amount=4)
    masks = Masks.from_torch_prune(convnet)
    assert masks.total - masks.kept == 4
    assert list(masks) == ["stem.weight", "down.weight", "shortcut.weight", "head.weight"]


def test_torch_prune_round_trip_in_the_order_of_the_network_and_of_compiled_blocks(convnet):
    expected = random_masks(convnet)
    masks = Masks({name: mask for name, mask in expected.items() if name != "down.weight"})
    convnet.head = torch.compile(convnet.head, backend="eager")
    masks.to_torch_prune(convnet)
    found = Masks.from_torch_prune(convnet)
    assert list(found) == ["stem.weight", "down.weight", "shortcut.weight", "head.weight"]
    assert found["down.weight"].all()
    assert all(torch.equal(found[name], masks[name]) for name in masks)
    found.verify(convnet)


def test_from_torch_prune_needs_a_pruned_layer(convnet):
    with pytest.raises(ValueError, match="no layer of this ConvNet is pruned"):
        Masks.from_torch_prune(convnet)


def test_torch_prune_computes_what_the_masked_model_computes(convnet, batches):
    masks = random_masks(convnet)
    masked = copy.deepcopy(convnet).eval()
    masks.apply_(masked)
    masks.to_torch_prune(convnet.eval())
    torch.testing.assert_close(convnet(batches[0][0]), masked(batches[0][0]))
    with pytest.raises(ValueError, match=r"stem\.weight is pruned by torch.nn.utils.prune; take its masks"):
        masks.apply_(convnet)
    for module in (convnet.stem, convnet.down, convnet.shortcut, convnet.head):
        torch_prune.remove(module, "weight")
    masks.verify(convnet)


def test_torch_prune_round_trip_of_a_shared_tensor():
    model = nn.Sequential(nn.Embedding(5, 5), nn.Linear(5, 5, bias=False))
    model[1].weight = model[0].weight
    masks = random_masks(model)
    masks.to_torch_prune(model)
    assert model[0].weight_orig is model[1].weight_orig
    assert (model[1].weight[~masks["0.weight"]] == 0).all()
    model(torch.tensor([1, 2])).sum().backward()
    assert Masks.from_torch_prune(model) == masks


def test_torch_prune_cannot_mask_a_layer_that_is_never_called():
    attention = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError, match=r"cannot mask out_proj\.weight: .* without calling its layer; use hold"):
        random_masks(attention).to_torch_prune(attention)
    assert not torch_prune.is_pruned(attention)
    masks = Masks({"in_proj_weight": random_masks(attention)["in_proj_weight"]})
    masks.to_torch_prune(attention)
    for _ in range(2):
        attention(*[torch.ones(2, 3, 4)] * 3)[0].sum().backward()
    round_trip = Masks.from_torch_prune(attention)
    assert torch.equal(round_trip["in_proj_weight"], masks["in_proj_weight"])
    assert round_trip["out_proj.weight"].all()


def test_saved_masks_come_back_in_order_with_provenance(tmp_path, convnet):
    masks = random_masks(convnet)
    masks.provenance |= {"method": "snip", "options": {"bn": "eval"}, "seed": 3, "data": None}
    masks.save(tmp_path / "m.safetensors")
    loaded = Masks.load(str(tmp_path / "m.safetensors"))
    assert loaded == masks
    assert list(loaded) == list(masks)
    assert loaded.provenance == masks.provenance


def test_masks_that_share_memory_are_saved(tmp_path):
    bits = torch.tensor([[True, False], [False, False]])
    masks = Masks({"a": bits, "b": bits.T, "c": bits[:1].expand(3, 2)})
    masks.save(tmp_path / "m.safetensors")
    assert Masks.load(tmp_path / "m.safetensors") == masks


def test_saving_leaves_the_old_file_or_the_whole_new_one(tmp_path, convnet, monkeypatch):
    path = tmp_path / "m.safetensors"
    masks = random_masks(convnet)
    masks.save(path)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        random_masks(convnet, density=0.9).save(path)
    assert Masks.load(path) == masks
    assert list(tmp_path.iterdir()) == [path]


def test_where_masks_cannot_be_saved(tmp_path, convnet):
    masks = random_masks(convnet)
    with pytest.raises(IsADirectoryError, match="cannot write a file in place of the folder"):
        masks.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"cannot write .*m\.safetensors: there is no folder .*missing"):
        masks.save(tmp_path / "missing" / "m.safetensors")
    masks.provenance |= {"seed": 0, "model": convnet}
    with pytest.raises(ValueError, match=r"provenance\['model'\] cannot be saved: Object of type ConvNet is not JSON"):
        masks.save(tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, convnet, size):
    path = tmp_path / "m.safetensors"
    random_masks(convnet).save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"m\.safetensors is not a whole safetensors file"):
        Masks.load(path)


def test_files_that_are_no_masks(tmp_path, convnet):
    path = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no masks file"):
        Masks.load(path)
    with pytest.raises(FileNotFoundError, match=r"there is no masks file .* \(a folder\)"):
        Masks.load(tmp_path)
    path.write_text("a text, long enough to be a header")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        Masks.load(path)
    torch.save(convnet.state_dict(), path)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        Masks.load(path)
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(
        ValueError, match=r"m\.safetensors is no masks file: its format is none, expected prunemark\.masks/1"
    ):
        Masks.load(path)


GOOD = {"format": "prunemark.masks/1", "layers": '["w"]', "provenance": "{}"}


@pytest.mark.parametrize(
    ("tensor", "metadata", "message"),
    [
        (torch.ones(2, dtype=torch.bool), {"layers": None}, "damaged masks file: it has no 'layers'"),
        (torch.ones(2, dtype=torch.bool), {"provenance": None}, "damaged masks file: it has no 'provenance'"),
        (torch.ones(2, dtype=torch.bool), {"layers": "[]"}, "its list of layers does not fit the masks in it"),
        (torch.ones(2, dtype=torch.bool), {"layers": '["w'}, "damaged masks file: Unterminated string"),
        (torch.ones(2, dtype=torch.bool), {"layers": "3"}, "damaged masks file: 'int' object is not iterable"),
        (torch.ones(2, dtype=torch.bool), {"provenance": "[1]"}, "damaged masks file: cannot convert dictionary"),
        (
            torch.ones(2, dtype=torch.bool),
            {"format": "prunemark.masks/2"},
            r"format is prunemark.masks/2, expected prunemark.masks/1",
        ),
        (torch.ones(2), {}, "masks are boolean, True = kept; w has dtype torch.float32"),
    ],
)
def test_damaged_masks_files(tmp_path, tensor, metadata, message):
    path = tmp_path / "m.safetensors"
    save_file({"w": tensor}, path, {key: value for key, value in (GOOD | metadata).items() if value is not None})
    with pytest.raises(ValueError, match=message):
        Masks.load(path)
