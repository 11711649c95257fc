"""Scaled dot-product and multi-head attention on Signals.

A path leads through a query where it meets a key that is alive, and the other way round; through a value always,
since no attention weight is 0 but where a mask forbids it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prunemark.connectivity.algebra import add, arrange, gather, linear, matmul, shift_of, softmax
from prunemark.connectivity.signals import CannotFollowError, Ledger, Signal, as_signal


def attend(
    ledger: Ledger,
    query: Signal,
    key: Signal,
    value: Signal,
    allowed: Tensor | None,
    biases: Sequence[Signal] = (),
) -> tuple[Signal, Signal]:
    """softmax(query @ key.T + biases) @ value and the attention weights; `allowed` is 0 where a key is masked out."""
    scores = matmul(ledger, query, arrange(key, lambda plane: plane.transpose(-2, -1)))
    if biases:
        shift = shift_of(scores, *biases)
        scores = add(scores, *biases)
        scores.shift = shift
    weights = softmax(ledger, scores, -1, where=allowed)
    return matmul(ledger, weights, value), weights


def triangle(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Causal mask for scores of this shape: no query sees a later key."""
    return torch.ones(shape[-2:], dtype=torch.bool, device=device).tril()


def scaled_dot_product(
    ledger: Ledger,
    query: Signal,
    key: Signal,
    value: Signal,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Signal:
    """`torch.nn.functional.scaled_dot_product_attention`."""
    del dropout_p, scale
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (arrange(s, lambda plane: plane.repeat_interleave(groups, -3)) for s in (key, value))
    shape = (*query.shape[:-1], key.shape[-2])
    allowed = triangle(shape, query.device) if is_causal else None
    biases: list[Signal] = []
    if attn_mask is not None:
        if isinstance(attn_mask, Signal) or attn_mask.dtype != torch.bool:
            biases.append(as_signal(attn_mask, query.device))
        else:
            allowed = attn_mask if allowed is None else allowed & attn_mask
    return attend(ledger, query, key, value, allowed, biases)[0]


def multi_head(
    ledger: Ledger,
    query: Signal,
    key: Signal,
    value: Signal,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    *,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Signal, Signal | None]:
    """`torch.nn.functional.multi_head_attention_forward`.

    Raises:
        ValueError: one of its rarest options is used: added key and value rows.
    """
    del dropout_p, training
    if bias_k is not None or bias_v is not None or add_zero_attn or static_k is not None or static_v is not None:
        raise CannotFollowError("topology cannot follow attention with add_bias_kv, add_zero_attn or static keys")
    device = query.device
    if use_separate_proj_weight:
        projections = [as_signal(weight, device) for weight in (q_proj_weight, k_proj_weight, v_proj_weight)]
    else:
        projections = thirds(as_signal(in_proj_weight, device), embed_dim_to_check)
    shifts: Sequence[Signal | None] = (None, None, None)
    if in_proj_bias is not None:
        shifts = thirds(as_signal(in_proj_bias, device), embed_dim_to_check)
    batched = query.dim() == 3
    states = (as_signal(x, device) for x in (query, key, value))
    # (length, batch, embedding) -> (batch, heads, length, embedding / heads)
    q, k, v = (
        _split_heads(
            linear(
                ledger,
                state if batched else arrange(state, lambda plane: plane.unsqueeze(1)),
                weight,
                bias=shift,
            ),
            num_heads,
        )
        for state, weight, shift in zip(states, projections, shifts, strict=True)
    )
    shape = (q.shape[0], num_heads, q.shape[2], k.shape[2])
    allowed, biases = _masks(attn_mask, key_padding_mask, shape, device, causal=is_causal and attn_mask is None)
    attended, weights = attend(ledger, q, k, v, allowed, biases)
    joined = arrange(attended, lambda plane: plane.permute(2, 0, 1, 3).flatten(2))
    out_bias = None if out_proj_bias is None else as_signal(out_proj_bias, device)
    outputs = linear(ledger, joined, as_signal(out_proj_weight, device), bias=out_bias)
    if average_attn_weights:
        weights = gather(weights, lambda plane: plane.mean(1))
    if not batched:
        outputs = arrange(outputs, lambda plane: plane.squeeze(1))
        weights = arrange(weights, lambda plane: plane.squeeze(0))
    return outputs, weights if need_weights else None


def _masks(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    shape: tuple[int, ...],
    device: torch.device,
    *,
    causal: bool,
) -> tuple[Tensor | None, list[Signal]]:
    """Combine the masks of `multi_head`: the scores that boolean masks let count, and the summands of the scores."""

    def per_head(mask: Tensor) -> Tensor:
        return mask.view(shape) if mask.dim() == 3 else mask

    def per_key(mask: Tensor) -> Tensor:
        return mask.view(-1, 1, 1, shape[3])

    allowed = triangle(shape, device) if causal else None
    added: list[Signal] = []
    for mask, placed in ((attn_mask, per_head), (key_padding_mask, per_key)):
        if isinstance(mask, Signal) or (mask is not None and mask.dtype != torch.bool):
            added.append(arrange(as_signal(mask, device), placed))
        elif mask is not None:
            # multi_head_attention_forward's boolean masks are True where a key does not count.
            counts = placed(~mask)
            allowed = counts if allowed is None else allowed & counts
    return allowed, added


def _split_heads(state: Signal, heads: int) -> Signal:
    return arrange(state, lambda plane: plane.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3))


def thirds(packed: Signal, rows: int) -> tuple[Signal, ...]:
    """The query, key and value projections packed into one weight."""
    return arrange(packed, lambda plane: plane.split(rows))
