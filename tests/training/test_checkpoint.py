"""Checkpoints on disk."""

import pytest
import torch
from safetensors.torch import save_file

from prunemark.networks import network
from prunemark.training import Checkpoint


@pytest.fixture
def checkpoint():
    model = network("resnet-8", input_shape=(1, 4, 4), classes=3, width=0.25)
    momentum = {name: torch.full_like(p, 0.5) for name, p in model.named_parameters()}
    return Checkpoint.capture(model, step=12, momentum=momentum)


def test_what_is_loaded_is_what_was_saved(checkpoint, tmp_path):
    checkpoint.save(tmp_path / "c.safetensors")
    loaded = Checkpoint.load(tmp_path / "c.safetensors")
    assert loaded.step == 12
    for saved, read in ((checkpoint.model, loaded.model), (checkpoint.momentum, loaded.momentum)):
        assert read.keys() == saved.keys()
        assert all(torch.equal(read[k], saved[k]) and read[k].dtype == saved[k].dtype for k in saved)
    assert loaded.model["bn.num_batches_tracked"].dtype == torch.int64


def test_a_checkpoint_without_momentum(tmp_path):
    model = network("lenet-300-100", input_shape=(1, 4, 4), classes=3)
    Checkpoint.capture(model).save(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert (loaded.step, loaded.momentum) == (0, {})


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_capture_copies_in_contiguous_layout(checkpoint, layout):
    model = network("resnet-8", input_shape=(1, 4, 4), classes=3, width=0.25)
    model.to(memory_format=layout)
    captured = Checkpoint.capture(model)
    with torch.no_grad():
        model.conv.weight.zero_()
    assert torch.equal(captured.model["conv.weight"], checkpoint.model["conv.weight"])
    assert all(tensor.is_contiguous() for tensor in captured.model.values())


def test_saving_replaces_the_file_and_leaves_nothing_else(checkpoint, tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"old")
    checkpoint.save(path)
    checkpoint.save(str(path))
    assert list(tmp_path.iterdir()) == [path]
    assert Checkpoint.load(str(path)).step == 12


def test_a_save_that_fails_leaves_the_old_file(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path)
    before = path.read_bytes()

    def full_disk(_descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        Checkpoint(step=13, model={"w": torch.ones(3)}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_named(checkpoint, tmp_path, kept):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"c\.safetensors is not a whole safetensors file"):
        Checkpoint.load(path)


def test_a_foreign_safetensors_file_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"model/w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is no checkpoint file: its format is none"):
        Checkpoint.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        Checkpoint.load(tmp_path / "c")
