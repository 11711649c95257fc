"""The one kernel that zeroes: exact, whatever is in the way."""

import pytest
import torch
from torch import nn

from prunemark.models.zeroing import bits_like, kept_bits, zero_pruned_
from prunemark.randomness import generator

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def case(dtype, shape=(6, 5, 3, 3)):
    source = generator(0, "zeroing")
    values = torch.randn(shape, generator=source).to(dtype)
    mask = torch.rand(shape, generator=source) < 0.5
    # In pruned and in kept places alike.
    for place, value in enumerate((float("nan"), float("inf"), -float("inf"), -0.0)):
        values[place] = value
    return values, mask


def as_bits(values):
    return torch.view_as_real(values).view(torch.int64 if values.dtype == torch.complex128 else torch.int32) if (
        values.is_complex()
    ) else values.view(INTEGERS[values.element_size()])  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("fitted", [True, False])
def test_pruned_values_are_plus_zero_and_kept_ones_do_not_change_by_a_bit(dtype, layout, fitted):
    values, mask = case(dtype)
    before = as_bits(values.clone())
    values = values.contiguous(memory_format=layout)
    bits = kept_bits(mask)
    zero_pruned_(values, bits_like(bits, values) if fitted else bits)
    after = as_bits(values.contiguous())
    wide = mask[..., None] if dtype.is_complex else mask
    assert torch.equal(after, before * wide)
    assert values.is_contiguous(memory_format=layout)


def test_what_autograd_records_is_differentiated_through():
    values = torch.randn(5, generator=generator(0), requires_grad=True)
    mask = torch.tensor([True, False, True, False, True])
    doubled = values * 2
    zero_pruned_(doubled, kept_bits(mask))
    doubled.sum().backward()
    assert torch.equal(values.grad, 2.0 * mask)


def test_bits_follow_their_values_and_are_made_once():
    values, mask = case(torch.float32)
    bits = bits_like(kept_bits(mask), values)
    assert bits.dtype == torch.int32
    assert bits_like(bits, values) is bits
    half = values.half().contiguous(memory_format=torch.channels_last)
    moved = bits_like(bits, half)
    assert moved.dtype == torch.int16
    assert moved.stride() == half.stride()
    assert torch.equal(moved != 0, mask)


def test_tensors_of_other_classes_are_zeroed_by_their_own_means():
    class Wrapped(torch.Tensor):
        pass

    values, mask = case(torch.float32)
    wrapped = values.clone().as_subclass(Wrapped)
    zero_pruned_(wrapped, kept_bits(mask))
    assert torch.equal(as_bits(wrapped.as_subclass(torch.Tensor)), as_bits(values) * mask)
    parameter = nn.Parameter(values.clone())
    with torch.no_grad():
        zero_pruned_(parameter, kept_bits(mask))
    assert torch.equal(as_bits(parameter.detach()), as_bits(values) * mask)
