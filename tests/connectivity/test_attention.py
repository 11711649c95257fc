"""Attention that may not see everything: masks that are written out cut the same paths as torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.connectivity import topology
from tests.connectivity.test_topology import all_kept, draw_masks

LENGTH = 5
LATER = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
Weigh = Callable[[Tensor], Tensor]


class Causal(nn.Module):
    """Values weighed by scores, of which the second of five positions is read."""

    def __init__(self, weigh: Weigh | None) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.weigh = weigh

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.weigh is None:
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 1]
        return (self.weigh(q @ k.mT / 2) @ v)[:, 1]


def added(low: float) -> Tensor:
    return torch.zeros(LENGTH, LENGTH).masked_fill(LATER, low)


def in_place(scores: Tensor) -> Tensor:
    scores = scores.clone()
    scores.masked_fill_(LATER, -1e9)
    return scores.softmax(-1)


def through_a_view(scores: Tensor) -> Tensor:
    scores = scores.clone()
    scores.view(LENGTH, LENGTH).masked_fill_(LATER, -1e9)
    return scores.softmax(-1)


def assigned(scores: Tensor) -> Tensor:
    scores = scores.clone()
    scores[:, LATER] = -torch.inf
    return scores.softmax(-1)


def by_exponentials(scores: Tensor) -> Tensor:
    weights = (scores + added(-torch.inf)).exp()
    return weights / weights.sum(-1, keepdim=True)


def beside_a_sink(scores: Tensor) -> Tensor:
    sink = torch.zeros(1, LENGTH, 1)
    return torch.cat([scores.masked_fill(LATER, -torch.inf), sink], -1).softmax(-1)[..., :-1]


WRITTEN: dict[str, Weigh | None] = {
    "is_causal": None,
    "masked_fill": lambda s: s.masked_fill(LATER, -torch.inf).softmax(-1),
    "masked_fill with -1e9": lambda s: functional.softmax(s.masked_fill(LATER, -1e9), -1),
    "masked_fill in place": in_place,
    "masked_fill of a view": through_a_view,
    "where": lambda s: torch.where(LATER, torch.finfo(s.dtype).min, s).softmax(-1),
    "where as a method": lambda s: s.where(~LATER, -torch.inf).softmax(-1),
    "assignment": assigned,
    "addition": lambda s: (s + added(-torch.inf)).softmax(-1),
    "addition of BERT's": lambda s: (added(-10_000.0) + s).float().softmax(-1),
    "subtraction": lambda s: (s - 1e9 * LATER).softmax(-1),
    "GPT-2's": lambda s: (s * ~LATER - 1e10 * LATER).softmax(-1),
    "softmin": lambda s: functional.softmin(1e9 * LATER - s, -1),
    "scaled behind": lambda s: (s.masked_fill(LATER, -1e9) / 8 * 0.5).softmax(-1),
    "transposed": lambda s: (s + added(-1e9)).mT.contiguous().softmax(1).mT,
    "heads": lambda s: (s.unsqueeze(1).expand(-1, 2, -1, -1) + added(-1e9)).chunk(2, 1)[1].softmax(-1).squeeze(1),
    "exponentials": by_exponentials,
    "sigmoid": lambda s: (s + added(-torch.inf)).sigmoid(),
    "relu": lambda s: (s + added(-torch.inf)).relu(),
    "sink": beside_a_sink,
}  # fmt: skip


@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize("weigh", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_causal_mask_that_is_written_out_cuts_what_is_causal_cuts(weigh, density):
    model = Causal(weigh)
    masks = draw_masks(model, 3, density)
    found = topology(model, masks, input_shape=(LENGTH, 4))
    if density == 1:
        x = torch.randn(1, LENGTH, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        model(x).sum().backward()
        assert x.grad is not None
        assert found.inputs_used == (x.grad != 0).sum() == 8
    expected = topology(Causal(None), masks, input_shape=(LENGTH, 4))
    if weigh is not WRITTEN["relu"]:  # which is 0 at 0
        assert found.effective_masks == expected.effective_masks
        assert (found.inputs_used, found.outputs_reached) == (expected.inputs_used, expected.outputs_reached)


@pytest.mark.parametrize("low", [-torch.inf, -1e9, torch.finfo(torch.float32).min])
def test_masks_given_to_torchs_attention_cut_as_well(low):
    def scaled(model: nn.Module, x: Tensor) -> Tensor:
        q, k, v = model.q(x), model.k(x), model.v(x)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=added(low))[:, 1]

    model = Causal(None)
    assert topology(model, all_kept(model), input_shape=(LENGTH, 4), forward=scaled).inputs_used == 8
    heads = nn.MultiheadAttention(4, 2, batch_first=True)
    found = topology(
        heads,
        all_kept(heads),
        input_shape=(LENGTH, 4),
        forward=lambda model, x: model(x, x, x, attn_mask=added(low), need_weights=False)[0][:, 1],
    )
    assert found.inputs_used == 8


def test_a_learned_bias_beside_a_causal_mask():
    class Biased(Causal):
        def __init__(self) -> None:
            super().__init__(lambda scores: (scores + (self.bias + added(-torch.inf))).softmax(-1))
            self.bias = nn.Parameter(torch.zeros(LENGTH, LENGTH))

        def __deepcopy__(self, memo: object) -> "Biased":
            return Biased()

    masks = draw_masks(Causal(None), 3, 1.0)
    assert topology(Biased(), masks, input_shape=(LENGTH, 4)).inputs_used == 8


@pytest.mark.parametrize(
    "weigh",
    [
        lambda s: (s + added(-50.0)).softmax(-1),
        lambda s: (s + torch.full((LENGTH, LENGTH), -1e9)).softmax(-1),
        lambda s: (s + added(-1e9) / 1e8).softmax(-1),
        lambda s: ((s + added(-1e9)) / 1e8).softmax(-1),
    ],
    ids=["near", "all alike", "scaled down before", "scaled down behind"],
)
def test_what_is_not_far_below_its_neighbours_is_seen(weigh):
    model = Causal(weigh)
    assert topology(model, all_kept(model), input_shape=(LENGTH, 4)).inputs_used == 20


def test_a_maximum_looks_at_what_is_left():
    class Largest(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            hidden = super().forward(input) + torch.tensor([0, 0, -1e9])[:, None]
            return torch.cat([hidden.amax(1), hidden.max(1).values, hidden.logsumexp(1)], 1)

    model = Largest(4, 2, bias=False)
    assert topology(model, all_kept(model), input_shape=(3, 4)).inputs_used == 8
