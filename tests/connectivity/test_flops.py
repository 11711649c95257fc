"""Multiply-adds of weights that are not used as they are, against multiplications counted one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.connectivity import topology
from prunemark.masks import Masks

Use = Callable[[Tensor, Tensor, Tensor], Tensor]
KEPT = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1]]).bool()


class Used(nn.Module):
    """Uses two weights of 6 x 4 in a way of its own."""

    def __init__(self, use: Use) -> None:
        super().__init__()
        self.w, self.v = (nn.Parameter(torch.ones(6, 4)) for _ in range(2))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(x, self.w, self.v)


def halves(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
    return functional.linear(x, w[:2]) + functional.linear(x, w[2:4]) * functional.linear(x, w[4:])


def across(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
    left, right = w.hsplit(2)
    return functional.linear(x[:, :2], left) + functional.linear(x[:, 2:], right)


# The way, then (sparse, dense) of w, of v, and of neither.
WAYS: dict[str, tuple[Use, tuple[int, int], tuple[int, int], int]] = {
    "slices": (halves, (10, 24), (0, 0), 0),
    "columns": (across, (10, 24), (0, 0), 0),
    "rows twice": (lambda x, w, v: functional.linear(x, w[[0, 0, 2]]), (8, 12), (0, 0), 0),
    "from the right": (lambda x, w, v: x @ w.T, (10, 24), (0, 0), 0),
    "expanded": (lambda x, w, v: x.expand(3, 1, 4) @ w.T.expand(3, 4, 6), (30, 72), (0, 0), 0),
    "joined": (lambda x, w, v: functional.linear(x, torch.cat([w[:1], v, torch.ones(2, 4)])), (2, 4), (14, 24), 8),
    "stacked": (lambda x, w, v: torch.einsum("bi,koi->bko", x, torch.stack([w, v])), (10, 24), (14, 24), 0),
    "scaled": (lambda x, w, v: functional.linear(x, 2 * w), (10, 24), (0, 0), 0),
    "lower triangle": (lambda x, w, v: functional.linear(x, w.tril()), (7, 24), (0, 0), 0),
    "fixed mask": (lambda x, w, v: functional.linear(x, w * KEPT[:, :1]), (8, 24), (0, 0), 0),
    "never 0": (lambda x, w, v: functional.linear(x, w.exp()), (24, 24), (0, 0), 0),
    "sum": (lambda x, w, v: functional.linear(x, w + v), (24, 24), (0, 0), 0),
    "product": (lambda x, w, v: functional.linear(x, w * v), (0, 24), (0, 0), 0),
    "standardised": (lambda x, w, v: functional.linear(x, w - w.mean(1, keepdim=True)), (20, 24), (0, 0), 0),
    # w.T @ v has the pairs of kept elements in each of 6 rows: 2*2 + 1*3 + 4*0 + 0*4 + 1*3 + 2*2 = 14, in 11 places.
    "matrices": (lambda x, w, v: functional.linear(x, w.T @ v), (14 + 11, 96 + 16), (0, 0), 0),
    "convolution": (lambda x, w, v: functional.conv1d(x[..., None], w[2:, :, None]), (7, 16), (0, 0), 0),
    "transposed": (lambda x, w, v: functional.conv_transpose1d(x[..., None], w.T[..., None]), (10, 24), (0, 0), 0),
}  # fmt: skip


@pytest.mark.parametrize(("use", "of_w", "of_v", "other"), WAYS.values(), ids=WAYS.keys())
def test_each_multiplication_by_a_kept_weight_counts_once(use, of_w, of_v, other):
    found = topology(Used(use), Masks({"w": KEPT, "v": ~KEPT}), input_shape=(4,))
    w, v = found.layers
    assert ((w.flops_sparse, w.flops_dense), (v.flops_sparse, v.flops_dense)) == (of_w, of_v)
    assert found.flops_other == other


def test_low_rank_updates():
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.a, self.b = (nn.Parameter(torch.ones(shape)) for shape in ((4, 4), (2, 4), (4, 2)))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.w + self.b @ self.a)

    one, full = torch.zeros(4, 4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool)
    one[0, 0] = True
    found = topology(LowRank(), Masks({"w": one, "a": full[:2], "b": full[:, :2]}), input_shape=(4,))
    assert (found.flops_sparse, found.flops_effective, found.flops_dense, found.flops_other) == (48, 48, 48, 0)
    found = topology(LowRank(), Masks({"w": one, "a": ~full[:2], "b": full[:, :2]}), input_shape=(4,))
    assert (found.flops_sparse, found.flops_effective, found.flops_dense) == (1, 1, 48)


def test_units_of_slices_are_read_or_not():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(3, 2, bias=False))
    reading = torch.tensor([[True, False, False], [True, False, True]])
    masks = Masks({"0.weight": torch.ones(6, 4, dtype=torch.bool), "1.weight": reading})

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        first, second = model[0].weight.chunk(2)
        return model[1](functional.linear(x, first.flip(0)) + 0 * functional.linear(x, second))

    assert topology(model, masks, input_shape=(4,), forward=forward).layers[0].unit_is_read == (
        True, False, True, False, False, False,
    )  # fmt: skip
