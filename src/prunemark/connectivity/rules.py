"""What each function of torch does to Signals: `RULES`, by the function's name without underscores."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prunemark.connectivity import algebra, attention, recurrent
from prunemark.connectivity.signals import CannotFollowError, Ledger, Signal, as_signal, signal


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a torch function with at least one Signal among its arguments."""

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    ledger: Ledger

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by its position or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def device(self) -> torch.device:
        """Where the Signals are."""
        return signals_in((self.args, self.kwargs))[0].device

    def signal(self, position: int, name: str = "input") -> Signal:
        """An argument as a Signal."""
        return as_signal(self.get(position, name), self.device)

    def with_planes(self, plane: Callable[[Signal], Tensor]) -> Any:
        """The function's own result for planes in place of Signals."""
        return self.function(*map_signals(self.args, plane), **map_signals(dict(self.kwargs), plane))


Rule = Callable[[Call], Any]


def signals_in(value: Any) -> list[Signal]:
    """All Signals in nested tuples, lists and dicts."""
    if isinstance(value, Signal):
        return [value]
    if isinstance(value, Mapping):
        return [found for item in value.values() for found in signals_in(item)]
    if isinstance(value, tuple | list):
        return [found for item in value for found in signals_in(item)]
    return []


def map_signals(value: Any, function: Callable[[Signal], Any]) -> Any:
    """Nested tuples, lists and dicts with each Signal replaced."""
    if isinstance(value, Signal):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_signals(item, function) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_signals(item, function) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(map_signals(item, function) for item in value)
    return value


def _same(call: Call) -> Signal:
    others = [found for found in signals_in((call.args[1:], call.kwargs)) if found.reach is not None]
    return _add(call) if others else algebra.same(call.signal(0))


def _same_as_first(call: Call) -> Signal:
    return algebra.same(call.signal(0))


def _revive(call: Call) -> Signal:
    return algebra.revive(_same(call))


def _constant(call: Call) -> Any:
    return call.with_planes(lambda s: s.detach().as_subclass(Tensor))


def _add(call: Call) -> Signal:
    operands = [*call.args[:2], *(call.kwargs[name] for name in ("input", "other", "end") if name in call.kwargs)]
    return algebra.add(*(as_signal(operand, call.device) for operand in operands if operand is not None))


def _multiply(call: Call) -> Signal:
    return algebra.times(call.ledger, call.signal(0), call.signal(1, "other"))


def _divide(call: Call) -> Signal:
    return algebra.times(call.ledger, call.signal(0), algebra.revive(call.signal(1, "other")))


def _divide_swapped(call: Call) -> Signal:
    return algebra.times(call.ledger, call.signal(1, "other"), algebra.revive(call.signal(0)))


def _add_product(call: Call) -> Signal:
    left, right = call.signal(1, "tensor1"), call.signal(2, "tensor2")
    right = algebra.revive(right) if call.name == "addcdiv" else right
    return algebra.add(call.signal(0), algebra.times(call.ledger, left, right))


def _power(call: Call) -> Signal:
    exponent = call.get(1, "exponent")
    return _same(call) if isinstance(exponent, int | float) and exponent > 0 else _revive(call)


def _matmul(call: Call) -> Signal:
    second = {"mm": "mat2", "bmm": "mat2", "mv": "vec", "dot": "tensor"}.get(call.name, "other")
    left, right = call.signal(0), call.signal(1, second)
    return algebra.matmul(call.ledger, *((right, left) if call.name == "rmatmul" else (left, right)))


def _add_matmul(call: Call) -> Signal:
    names = {"addmm": ("mat1", "mat2"), "addmv": ("mat", "vec"), "baddbmm": ("batch1", "batch2")}[call.name]
    made = algebra.matmul(call.ledger, call.signal(1, names[0]), call.signal(2, names[1]))
    return algebra.add(call.signal(0), made)


def _einsum(call: Call) -> Signal:
    operands = call.args[1] if len(call.args) == 2 and isinstance(call.args[1], tuple | list) else call.args[1:]
    equation = call.args[0]
    if not isinstance(equation, str) or len(operands) > 2:
        raise CannotFollowError(
            "topology cannot follow einsum of more than two tensors, or without an equation in words"
        )
    factors = [as_signal(operand, call.device) for operand in operands]
    if len(factors) == 1:
        return algebra.gather(factors[0], lambda plane: torch.einsum(equation, plane))
    return algebra.product(
        call.ledger,
        lambda left, right: torch.einsum(equation, left, right),
        factors[0],
        factors[1],
        multiply_adds=lambda out: out.numel() * _summed_size(equation, factors),
    )


def _summed_size(equation: str, factors: Sequence[Tensor]) -> int:
    inputs, _, output = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for labels, factor in zip(inputs.split(","), factors, strict=True):
        before, _, after = labels.partition("...")
        sizes |= zip(before, factor.shape, strict=False)
        sizes |= zip(reversed(after), reversed(factor.shape), strict=False)
    if "->" not in equation:
        output = "".join(label for label in sizes if inputs.count(label) == 1)
    return math.prod(size for label, size in sizes.items() if label not in output)


def _linear(call: Call) -> Signal:
    weight, bias = call.signal(1, "weight"), call.get(2, "bias")
    return algebra.linear(call.ledger, call.signal(0), weight, bias=bias is not None)


def _convolution(call: Call) -> Signal:
    inputs, weight = call.signal(0), call.signal(1, "weight")
    rest = call.args[3:]
    options = {name: v for name, v in call.kwargs.items() if name not in ("input", "weight", "bias")}
    transposed = "transpose" in call.name

    def multiply_adds(out: Tensor) -> int:
        # Each position of the output (of the input, if transposed) meets each weight of its channel once.
        positions = inputs.numel() if transposed else out.numel()
        return positions * weight.numel() // weight.shape[0]

    made = algebra.product(
        call.ledger,
        lambda x, w: call.function(x, w, None, *rest, **options),
        inputs,
        weight,
        multiply_adds=multiply_adds,
        unit_axis=1 - weight.dim(),
    )
    return algebra.revive(made) if call.get(2, "bias") is not None else made


def _normalise(call: Call) -> Signal:
    at = 2 if call.name in ("layer_norm", "group_norm", "rms_norm") else 3
    made = algebra.same(call.signal(0))
    scale = call.get(at, "weight")
    if isinstance(scale, Signal):
        trailing = call.name in ("layer_norm", "rms_norm")
        shaped = scale if trailing else algebra.arrange(scale, lambda w: w.view(-1, *[1] * (made.dim() - 2)))
        made = algebra.times(call.ledger, made, shaped)
    bias = None if call.name == "rms_norm" else call.get(at + 1, "bias")
    return algebra.revive(made) if bias is not None else made


def _gather(call: Call) -> Signal:
    source = call.signal(0)
    return algebra.gather(source, lambda plane: call.function(plane, *call.args[1:], **_without_input(call)))


def _interpolate(call: Call) -> Signal:
    if call.get(3, "mode") == "bicubic":
        raise CannotFollowError("topology cannot follow bicubic interpolation, whose coefficients change sign")
    return _gather(call)


def _adaptive_max_pool(call: Call) -> Any:
    dims = int(call.name.split("pool")[1][0])
    average = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)[dims - 1]
    size = call.get(1, "output_size")
    made = algebra.gather(call.signal(0), lambda plane: average(plane, size))
    return (made, _no_indices(made)) if _wants_indices(call, 2) else made


def _max_pool(call: Call) -> Any:
    dims = int(call.name.split("pool")[1][0])
    kernel = _tuple(call.get(1, "kernel_size"), dims)
    stride = _tuple(call.get(2, "stride") or kernel, dims)
    padding = _tuple(call.get(3, "padding", 0), dims)
    dilation = _tuple(call.get(4, "dilation", 1), dims)
    ceil_mode = call.get(5, "ceil_mode", False)
    source = call.signal(0)
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[dims - 1]
    size = pool(torch.empty(source.shape, device="meta"), kernel, stride, padding, dilation, ceil_mode).shape[-dims:]
    pads: list[int] = []
    for n, k, s, p, d, out in reversed(
        list(zip(source.shape[-dims:], kernel, stride, padding, dilation, size, strict=True))
    ):
        pads += [p, max(0, (out - 1) * s + d * (k - 1) + 1 - n - p)]
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]

    def window_sums(plane: Tensor) -> Tensor:
        # A maximum hands its gradient to one element only; the sum over the window hands it to all.
        padded = functional.pad(plane.reshape(-1, 1, *plane.shape[-dims:]), pads)
        sums = convolve(padded, padded.new_ones(1, 1, *kernel), stride=stride, dilation=dilation)
        return sums.reshape(*source.shape[:-dims], *size)

    made = algebra.gather(source, window_sums, threshold=algebra.INTEGER)
    return (made, _no_indices(made)) if _wants_indices(call, 6) else made


def _wants_indices(call: Call, position: int) -> bool:
    return "with_indices" in call.name or bool(call.get(position, "return_indices", False))


def _no_indices(made: Tensor) -> Tensor:
    return torch.zeros(made.shape, dtype=torch.int64, device=made.device)


def _tuple(value: int | Sequence[int], length: int) -> tuple[int, ...]:
    return (value,) * length if isinstance(value, int) else tuple(value) * (length if len(value) == 1 else 1)


# Where the axis stands among the arguments of a reduction; elsewhere it is the second.
_AXIS_AT = {"norm": 2, "vector_norm": 2, "quantile": 2, "nanquantile": 2}


def _total(call: Call) -> Any:
    at = _AXIS_AT.get(call.name, 1)
    dim = call.get(at, "dim", call.kwargs.get("axis"))
    if isinstance(dim, Tensor):
        return _add(call)
    # In var(dim, unbiased, keepdim) another flag stands before it.
    keepdim = call.get(at + (2 if call.name in ("var", "std") else 1), "keepdim", False)
    made = algebra.total(call.signal(0), None if isinstance(dim, bool) else dim, keepdim=bool(keepdim))
    if call.name in ("max", "min", "median", "nanmedian", "mode") and dim is not None:
        return getattr(torch.return_types, call.name)((made, _no_indices(made)))
    return algebra.revive(made) if call.name == "logsumexp" else made


def _softmax(call: Call) -> Signal:
    dim = call.get(1, "dim")
    return algebra.softmax(call.signal(0), -1 if dim is None else dim)


def _gated(call: Call) -> Signal:
    dim = call.get(1, "dim", -1)
    value, gate = algebra.arrange(call.signal(0), lambda plane: plane.chunk(2, dim))
    return algebra.times(call.ledger, value, algebra.revive(gate))


def _arrange(call: Call) -> Any:
    source = call.args[0] if call.args else call.get(0, "input")
    if not isinstance(source, Signal):
        raise CannotFollowError(f"topology cannot follow torch's {call.name} with indices that depend on the input")
    name = "input" if not call.args else None
    kwargs = {key: value for key, value in call.kwargs.items() if key != name}
    made = algebra.arrange(source, lambda plane: call.function(plane, *call.args[1:], **kwargs))
    if isinstance(made, tuple) and source.origin is not None and call.get(2, "dim", 0) == 0:
        return tuple(attention.rows_of(source, [piece.shape[0] for piece in made])) if call.name != "unbind" else made
    return made


def _like_other(call: Call) -> Any:
    shape = call.args[1].shape if len(call.args) > 1 else call.kwargs["other"].shape
    method = {"expand_as": Tensor.expand, "view_as": Tensor.reshape, "reshape_as": Tensor.reshape}[call.name]
    return algebra.arrange(call.signal(0), lambda plane: method(plane, shape))


def _join(call: Call) -> Signal:
    axes = {key: value for key, value in call.kwargs.items() if key in ("dim", "axis")}
    parts = [as_signal(part, call.device) for part in call.get(0, "tensors")]
    alive = call.function([part.alive for part in parts], *call.args[1:], **axes)
    if all(part.reach is None for part in parts):
        return signal(None, alive)
    reaches = [torch.zeros_like(part.alive) if part.reach is None else part.reach for part in parts]
    return signal(call.function(reaches, *call.args[1:], **axes), alive)


def _copy(call: Call) -> Signal:
    target = call.args[0]
    return algebra.arrange(call.signal(1, "src"), lambda plane: plane.expand(target.shape))


def _pad(call: Call) -> Signal:
    mode, value = call.get(2, "mode", "constant"), call.get(3, "value") or 0
    source, pads = call.signal(0), call.get(1, "pad")
    if mode != "constant":
        return algebra.arrange(source, lambda plane: functional.pad(plane, pads, mode))
    reach = None if source.reach is None else functional.pad(source.reach, pads)
    return signal(reach, functional.pad(source.alive, pads, value=float(value != 0)))


def _masked_fill(call: Call) -> Signal:
    source, mask, value = call.signal(0), call.get(1, "mask"), call.get(2, "value")
    if isinstance(mask, Signal):
        return algebra.same(source)
    fill = float(bool(torch.as_tensor(value != 0).any()))
    reach = None if source.reach is None else source.reach.masked_fill(mask, 0)
    return signal(reach, source.alive.masked_fill(mask, fill))


def _where(call: Call) -> Signal:
    condition = call.get(0, "condition")
    choices = [as_signal(x, call.device) for x in (call.get(1, "input"), call.get(2, "other"))]
    if isinstance(condition, Signal):
        return algebra.add(condition, *choices)
    chosen = condition.float()
    parts = zip(choices, (chosen, 1 - chosen), strict=True)
    return algebra.add(*(algebra.times(call.ledger, choice, signal(None, share)) for choice, share in parts))


def _assign(call: Call) -> None:
    target, index, value = call.args
    if not isinstance(target, Signal) or signals_in(index):
        raise CannotFollowError(
            "topology cannot follow values written into a tensor that does not depend on the input; "
            "build it with torch.cat or torch.stack"
        )
    value = as_signal(value, target.device)
    alive = target.alive.clone()
    alive[index] = value.alive
    reach = torch.zeros_like(alive) if target.reach is None else target.reach.clone()
    reach[index] = 0 if value.reach is None else value.reach
    target.reach, target.alive, target.origin = reach, alive, None


def _embedding(call: Call) -> Signal:
    ids, weight = call.get(0, "input"), call.get(1, "weight")
    shape = (*ids.shape, weight.shape[1])
    if not isinstance(ids, Signal):
        # Looked up at fixed positions, as position embeddings are: constants.
        return algebra.arrange(weight, lambda plane: functional.embedding(ids, plane))
    # Any token may stand anywhere, so that an entry depends on the input through every row of its column.
    column = algebra.total(as_signal(weight, ids.device), 0, keepdim=False)
    token = signal(ids.reach, ids.alive)
    spread = algebra.arrange(token, lambda plane: plane.unsqueeze(-1).expand(shape))
    return algebra.times(call.ledger, spread, column)


def _recurrent(call: Call) -> Any:
    kind = call.name.partition("_")[0]
    if not call.name.endswith("cell"):
        return recurrent.layers(call.ledger, kind, *call.args)
    inputs, hidden, *parameters = call.args
    bias = len(parameters) > 2 and parameters[2] is not None
    return recurrent.cell(call.ledger, kind, as_signal(inputs, call.device), hidden, parameters[:2], bias=bias)


def _attention(call: Call) -> Signal:
    device = call.device
    query, key, value = (as_signal(call.get(at, name), device) for at, name in enumerate(("query", "key", "value")))
    rest = {name: given for name, given in call.kwargs.items() if name not in ("query", "key", "value")}
    return attention.scaled_dot_product(call.ledger, query, key, value, *call.args[3:], **rest)


def _multi_head_attention(call: Call) -> Any:
    device = call.device
    query, key, value = (as_signal(state, device) for state in call.args[:3])
    return attention.multi_head(call.ledger, query, key, value, *call.args[3:], **call.kwargs)


def _refuse_value(call: Call) -> Any:
    raise CannotFollowError(
        "topology runs the model without values, and this model's forward needs one "
        f"({call.name}): it takes decisions by the values of its input"
    )


def _without_input(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.kwargs.items() if key != "input"}


def _for_all(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    # Element by element, 0 stays 0.
    **_for_all(
        _same,
        "relu relu6 leaky_relu rrelu prelu elu celu selu gelu silu mish hardtanh hardswish tanh tanhshrink softshrink "
        "hardshrink softsign threshold abs absolute neg negative pos positive square sqrt sign sgn sin sinh asin asinh "
        "tan atan atanh arctan erf expm1 log1p clamp clip clamp_min clamp_max nan_to_num round floor ceil trunc fix "
        "normalize local_response_norm",
    ),
    **_for_all(
        _same_as_first,
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout native_dropout "
        "contiguous clone detach to type type_as float double half bfloat16 int long bool cpu cuda requires_grad "
        ".data",
    ),
    # Element by element, 0 becomes something else; comparisons too.
    **_for_all(
        _revive,
        "sigmoid hardsigmoid logsigmoid softplus exp exp2 log log2 log10 cos cosh acos acosh reciprocal rsqrt erfc "
        "erfinv logit eq ne lt le gt ge isnan isinf isfinite logical_not invert bitwise_not special_expit expit",
    ),
    **_for_all(
        _constant,
        "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full "
        "new_empty new_tensor",
    ),
    **_for_all(
        _add,
        "add radd sub subtract rsub maximum minimum fmax fmin lerp hypot logaddexp logaddexp2 "
        "logical_and logical_or logical_xor and or xor atan2 fmod remainder",
    ),
    **_for_all(_multiply, "mul multiply rmul"),
    **_for_all(_divide, "div divide true_divide truediv floor_divide floordiv"),
    **_for_all(_divide_swapped, "rdiv rtruediv"),
    **_for_all(_add_product, "addcmul addcdiv"),
    **_for_all(_power, "pow float_power"),
    **_for_all(_matmul, "matmul rmatmul mm bmm mv dot"),
    **_for_all(_add_matmul, "addmm addmv baddbmm"),
    **_for_all(_convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_for_all(_normalise, "batch_norm instance_norm layer_norm group_norm rms_norm"),
    # Sums with positive coefficients.
    **_for_all(
        _gather,
        "mean nanmean avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "sum nansum cumsum fold col2im trace",
    ),
    **_for_all(_interpolate, "interpolate upsample"),
    **_for_all(_max_pool, "max_pool1d max_pool2d max_pool3d"),
    **_for_all(_max_pool, "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"),
    **_for_all(_adaptive_max_pool, "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"),
    **_for_all(
        _adaptive_max_pool,
        "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices",
    ),
    **_for_all(_total, "max min amax amin norm vector_norm var std logsumexp prod median nanmedian mode"),
    **_for_all(_softmax, "softmax log_softmax softmin"),
    "glu": _gated,
    # Elements moved, repeated or left out.
    **_for_all(
        _arrange,
        "view reshape flatten unflatten ravel squeeze unsqueeze permute transpose t swapaxes swapdims movedim moveaxis "
        "adjoint .T .mT .H .mH expand broadcast_to repeat tile repeat_interleave split split_with_sizes chunk "
        "tensor_split vsplit hsplit dsplit unbind getitem narrow select index_select gather take_along_dim take "
        "masked_select flip fliplr flipud roll rot90 pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col "
        "diagonal diag tril triu narrow_copy atleast_1d atleast_2d atleast_3d view_as_real",
    ),
    **_for_all(_like_other, "expand_as view_as reshape_as"),
    **_for_all(_join, "cat concat concatenate stack hstack vstack dstack column_stack row_stack"),
    "copy": _copy,
    "pad": _pad,
    "masked_fill": _masked_fill,
    "where": _where,
    # Asked by nn.TransformerEncoder, which then leaves out its fast path.
    "nested_tensor_from_mask_left_aligned": lambda call: False,
    "setitem": _assign,
    "linear": _linear,
    "einsum": _einsum,
    "embedding": _embedding,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head_attention,
    **_for_all(_recurrent, "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"),
    **_for_all(
        _refuse_value, "item tolist numpy nonzero is_nonzero __bool__ __float__ __int__ __index__ __complex__ __array__"
    ),
}
