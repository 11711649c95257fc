"""A masked weight as a tensor of `torch.sparse`, which stores the kept entries and no others."""

import warnings

import torch
from torch import Tensor

LAYOUTS = {"csr": torch.sparse_csr, "coo": torch.sparse_coo}


def compressed(weight: Tensor, mask: Tensor, layout: str) -> Tensor:
    """The kept entries of a weight, as a sparse matrix of shape (outputs, product of the other axes).

    Stored are exactly the entries that the mask keeps, in the order of their positions, also those whose value is 0:
    the number of stored entries is the mask's count, and training goes on with all of them.

    Args:
        weight: any shape with two or more axes; a convolution's is (outputs, inputs / groups, height, width).
        mask: boolean, of the weight's shape.
        layout: "csr" or "coo".

    Raises:
        ValueError: another layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; allowed: {', '.join(LAYOUTS)}")
    values, rows = weight.detach().flatten(1), mask.to(weight.device).flatten(1)
    positions = rows.nonzero().T
    kept = values[rows]
    if layout == "coo":
        return torch.sparse_coo_tensor(positions, kept, values.shape, is_coalesced=True, check_invariants=True)
    starts = torch.cat([positions.new_zeros(1), rows.sum(1).cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta", category=UserWarning)
        return torch.sparse_csr_tensor(starts, positions[1], kept, values.shape, check_invariants=True)
