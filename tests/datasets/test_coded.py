"""Floats held as bytes."""

import pytest
import torch

from prunemark.datasets import coded
from prunemark.datasets.coded import CodedInputs

source = torch.Generator().manual_seed(0)


def normalised(shape=(30, 3, 5, 4)):
    pixels = torch.randint(256, shape, generator=source).float() / 255
    return (pixels - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.1])[:, None, None]


@pytest.mark.parametrize("piece", [1, 50, 2**22])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batches_are_the_same_floats_bit_for_bit(piece, layout, monkeypatch):
    monkeypatch.setattr(coded, "_PIECE", piece)  # values that appear later change the codes of earlier ones
    inputs = normalised()
    held = CodedInputs.of(inputs, "cpu", memory_format=layout)
    assert held.codes.dtype == torch.uint8
    assert (held.shape, len(held), held.device) == (inputs.shape, 30, torch.device("cpu"))
    places = torch.tensor([7, 3, 3, 29])
    assert held[places].is_contiguous(memory_format=layout)
    for index in (places, slice(2, 9), 5, places.view(2, 2)):
        assert torch.equal(held[index].view(torch.int32), inputs[index].view(torch.int32))
    assert torch.equal(torch.cat(list(held.split(7))), inputs)
    assert torch.equal(held.black, inputs.amin((0, 2, 3)))
    assert torch.equal(held.to("cpu", memory_format=torch.channels_last)[places], inputs[places])


def test_what_bytes_cannot_tell_apart_is_not_coded():
    assert CodedInputs.of(torch.randn(20, 1, 5, 5, generator=source), "cpu") is None
    for value in (torch.nan, torch.inf):
        inputs = normalised()
        inputs[3, 1, 2, 2] = value
        assert CodedInputs.of(inputs, "cpu") is None
    both_zeros = torch.tensor([0.0, -0.0]).view(2, 1, 1, 1)
    assert CodedInputs.of(both_zeros, "cpu") is None
