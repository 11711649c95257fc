"""Walks: the order in which they rank, and how many weights they take. What they meet is tested in test_phew.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunemark.methods.phew.layer_call import LayerCall
from prunemark.methods.phew.walks import Walks, in_order
from prunemark.methods.phew.wiring import Wiring


@given(
    numbers=st.lists(st.integers(0, 9) | st.integers(0, 2**31 - 1), max_size=40),
    seed=st.integers(0, 99),
    piece=st.integers(1, 50),
)
def test_in_order_is_a_stable_sort_of_what_is_meant(numbers, seed, piece):
    values = torch.tensor(numbers, dtype=torch.int32)
    meant = torch.rand(len(values), generator=torch.Generator().manual_seed(seed)) < 0.7
    places = meant.nonzero().squeeze(1)
    expected = places[values[places].argsort(stable=True)]
    pieces = zip(values.split(piece), meant.split(piece), strict=True)
    assert torch.equal(in_order(pieces, count=len(places)), expected)


def test_more_weights_than_there_are_ranks_for():
    some = torch.ones(40_000, dtype=torch.bool)
    call = LayerCall(layer="fc.weight", shape=(40_000, 40_000, 1), groups=1, from_input=some, to_output=some)
    with pytest.raises(ValueError, match="at most 1,000,000,000 weights; this network has 1,600,000,000"):
        Walks(Wiring(calls=(call,), wires={}), {}, {}, torch.Generator())
