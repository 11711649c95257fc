"""Effect of each torch function on Signals: `RULES`, by the function's name without underscores."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prunemark.connectivity import algebra, attention, elementwise, memory, pooling, recurrent
from prunemark.connectivity.calls import Call, FunctionRule
from prunemark.connectivity.signals import FAR, CannotFollowError, Signal, as_signal, signal


def _alias(call: Call) -> Signal:
    source = call.signal(0)
    return memory.as_view(algebra.same(source, shift=source.shift), source, lambda plane: plane)


def _perhaps_alias(call: Call) -> Any:
    # A conversion or dropout hands on the very tensor where it has nothing to do, which planes cannot tell.
    call.account_for(call.get(1, "other"))
    if not isinstance(call.get(0, "input"), Signal):
        return _constant(call)
    source = call.signal(0)
    shift = source.shift if call.name not in ("int", "long", "bool") else None
    return memory.as_view(algebra.same(source, shift=shift), source, None)


def _constant(call: Call) -> Any:
    call.account_for(call.get(0, "input"))
    call.check()
    return call.with_planes(lambda s: s.detach().as_subclass(Tensor))


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
    factors = [call.follow(operand) for operand in operands]
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
    made = algebra.linear(call.ledger, call.signal(0), call.signal(1, "weight"), bias=None)
    return _with_bias(call, made, call.get(2, "bias"), trailing=0)


def _with_bias(call: Call, made: Signal, bias: Any, *, trailing: int) -> Signal:
    """With a bias, the axes of which stand before `trailing` others."""
    if bias is None:
        return made
    shift = algebra.arrange(call.follow(bias), lambda plane: plane.reshape(*plane.shape, *[1] * trailing))
    return algebra.add(made, shift)


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
        # The units of a transposed convolution are on the second axis of the weight, of each group.
        unit_axis=None if transposed and not (weight.origin and weight.origin.whole) else 1 - weight.dim(),
    )
    return _with_bias(call, made, call.get(2, "bias"), trailing=weight.dim() - 2)


def _normalise(call: Call) -> Signal:
    at = 2 if call.name in ("layer_norm", "group_norm", "rms_norm") else 3
    made = _centred(call, call.signal(0))
    trailing = 0 if call.name in ("layer_norm", "rms_norm") else made.dim() - 2
    scale = call.get(at, "weight")
    if scale is not None:
        shaped = algebra.arrange(call.follow(scale), lambda plane: plane.reshape(*plane.shape, *[1] * trailing))
        made = algebra.times(call.ledger, made, shaped)
    bias = None if call.name == "rms_norm" else call.get(at + 1, "bias")
    return _with_bias(call, made, bias, trailing=trailing)


def _centred(call: Call, source: Signal) -> Signal:
    """The source less its means, which are not 0 where a unit is."""
    if call.name == "rms_norm":
        return algebra.same(source)
    means = call.get(1, "running_mean") if call.name in ("batch_norm", "instance_norm") else None
    flags = {"batch_norm": (5, "training", False), "instance_norm": (5, "use_input_stats", True)}
    if call.name in flags and not call.get(*flags[call.name]) and means is not None:
        kept = as_signal(means, call.device)
        return algebra.add(source, algebra.arrange(kept, lambda plane: plane.view(-1, *[1] * (source.dim() - 2))))
    if call.name == "layer_norm":
        axes = tuple(range(-len(call.get(1, "normalized_shape")), 0))
        return algebra.centre(source, lambda plane: plane.sum(axes, keepdim=True).expand_as(plane))
    if call.name == "group_norm":
        groups = call.get(1, "num_groups")

        def spread(plane: Tensor) -> Tensor:
            grouped = plane.reshape(len(plane), groups, -1)
            return grouped.sum(-1, keepdim=True).expand_as(grouped).reshape(plane.shape)

        return algebra.centre(source, spread)
    axes = (0, *range(2, source.dim())) if call.name == "batch_norm" else tuple(range(2, source.dim()))
    return algebra.centre(source, lambda plane: plane.sum(axes, keepdim=True).expand_as(plane))


def _softmax(call: Call) -> Signal:
    source, dim = call.signal(0), call.get(1, "dim")
    if dim is None:
        # The axis that torch takes where none is named.
        dim = 0 if source.dim() in (0, 1, 3) else 1
    if call.name == "softmin" and source.shift is not None:
        source = algebra.same(source, shift=-source.shift)
    return algebra.softmax(call.ledger, source, dim, logarithm=call.name == "log_softmax")


def _gated(call: Call) -> Signal:
    dim = call.get(1, "dim", -1)
    value, gate = algebra.arrange(call.signal(0), lambda plane: plane.chunk(2, dim))
    return algebra.times(call.ledger, value, algebra.revive(gate))


def _arrange(call: Call) -> Any:
    source = call.args[0] if call.args else call.get(0, "input")
    if not isinstance(source, Signal):
        raise CannotFollowError(f"topology cannot follow torch's {call.name} with indices that depend on the input")
    call.account_for(source)
    call.check()
    name = "input" if not call.args else None
    kwargs = {key: value for key, value in call.kwargs.items() if key != name}
    return algebra.arrange(source, lambda plane: call.function(plane, *call.args[1:], **kwargs))


def _like_other(call: Call) -> Any:
    other = call.get(1, "other")
    call.account_for(other)
    if not isinstance(call.get(0, "input"), Signal):
        return _constant(call)
    method = {"expand_as": Tensor.expand, "view_as": Tensor.reshape, "reshape_as": Tensor.reshape}[call.name]
    return algebra.arrange(call.signal(0), lambda plane: method(plane, other.shape))


def _join(call: Call) -> Signal:
    axes = {key: value for key, value in call.kwargs.items() if key in ("dim", "axis")}
    parts = [call.follow(part) for part in call.get(0, "tensors")]
    return algebra.join(parts, lambda planes: call.function(planes, *call.args[1:], **axes))


def _copy(call: Call) -> Signal:
    target = call.args[0]
    call.account_for(target)
    return algebra.arrange(call.signal(1, "src"), lambda plane: plane.expand(target.shape))


def _pad(call: Call) -> Signal:
    mode, value = call.get(2, "mode", "constant"), call.get(3, "value") or 0
    source, pads = call.signal(0), call.get(1, "pad")
    if mode != "constant":
        return algebra.arrange(source, lambda plane: functional.pad(plane, pads, mode))
    reach = None if source.reach is None else functional.pad(source.reach, pads)
    shift = None
    if source.shift is not None or abs(value) >= FAR:
        shift = torch.zeros_like(source.alive.detach()) if source.shift is None else source.shift
        shift = functional.pad(shift, pads, value=value)
    return signal(reach, functional.pad(source.alive, pads, value=float(value != 0)), shift=shift)


def _assign(call: Call) -> None:
    target, index, value = call.args
    if not isinstance(target, Signal):
        raise CannotFollowError(
            "topology cannot follow values written into a tensor that does not depend on the input; "
            "build it with torch.cat or torch.stack"
        )
    source = call.follow(value)
    call.account_for(target)
    call.check()
    alive = target.alive.clone()
    alive[index] = source.alive
    reach = None
    if target.reach is not None or source.reach is not None:
        reach = torch.zeros_like(alive) if target.reach is None else target.reach.clone()
        reach[index] = 0 if source.reach is None else source.reach
    shift = None
    if target.shift is not None or source.shift is not None:
        shift = torch.zeros_like(alive.detach()) if target.shift is None else target.shift.clone()
        shift[index] = 0 if source.shift is None else source.shift
    memory.write(target, signal(reach, alive, shift=shift))


def _embedding(call: Call) -> Signal:
    ids, weight = call.get(0, "input"), call.signal(1, "weight")
    shape = (*ids.shape, weight.shape[1])
    if not isinstance(ids, Signal):
        # Looked up at fixed positions, as position embeddings are: constants.
        return algebra.arrange(weight, lambda plane: functional.embedding(ids, plane))
    # Any token may stand anywhere, so that an entry depends on the input through every row of its column.
    column = algebra.total(weight, 0, keepdim=False)
    token = signal(call.follow(ids).reach, ids.alive)
    spread = algebra.arrange(token, lambda plane: plane.unsqueeze(-1).expand(shape))
    return algebra.times(call.ledger, spread, column)


def _recurrent(call: Call) -> Any:
    kind = call.name.partition("_")[0]
    inputs, hidden, *parameters = call.args
    call.account_for(inputs, hidden)
    if not call.name.endswith("cell"):
        made = recurrent.layers(call.ledger, kind, *call.args)
        _account_for_parameters(call, parameters[0])
        return made
    _account_for_parameters(call, parameters)
    biases = [bias for bias in parameters[2:] if bias is not None]
    return recurrent.cell(call.ledger, kind, as_signal(inputs, call.device), hidden, parameters[:2], biases)


def _account_for_parameters(call: Call, parameters: Iterable[Any]) -> None:
    """Account for every parameter except biases computed from the input, which do carry paths."""
    for parameter in parameters:
        if not (isinstance(parameter, Signal) and parameter.dim() == 1 and parameter.reach is not None):
            call.account_for(parameter)


def _attention(call: Call) -> Signal:
    query, key, value = (call.signal(at, name) for at, name in enumerate(("query", "key", "value")))
    call.account_for(call.get(3, "attn_mask"))
    rest = {name: given for name, given in call.kwargs.items() if name not in ("query", "key", "value")}
    return attention.scaled_dot_product(call.ledger, query, key, value, *call.args[3:], **rest)


def _multi_head_attention(call: Call) -> Any:
    query, key, value = (call.follow(state) for state in call.args[:3])
    _account_for_parameters(call, (*call.args[3:], *call.kwargs.values()))
    return attention.multi_head(call.ledger, query, key, value, *call.args[3:], **call.kwargs)


def _no_nested_tensors(call: Call) -> bool:
    # Asked by nn.TransformerEncoder, which then leaves out its fast path.
    call.account_for(call.args, call.kwargs)
    return False


def _refuse_value(call: Call) -> Any:
    raise CannotFollowError(
        "topology runs the model without values, and this model's forward needs one "
        f"({call.name}): it takes decisions by the values of its input or parameters"
    )


def _for_all(rule: FunctionRule, names: str) -> dict[str, FunctionRule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, FunctionRule] = {
    # Element by element, 0 stays 0.
    **_for_all(
        elementwise.same,
        "leaky_relu rrelu elu celu selu gelu silu mish hardswish tanh tanhshrink softshrink "
        "hardshrink softsign abs absolute square sqrt sign sgn sin sinh asin asinh "
        "tan atan atanh arctan erf expm1 log1p nan_to_num round floor ceil trunc fix "
        "normalize local_response_norm",
    ),
    **_for_all(elementwise.copy, "clone requires_grad"),
    **_for_all(elementwise.negate, "neg negative"),
    **_for_all(elementwise.vanish, "relu relu6 exp exp2 sigmoid special_expit expit softplus"),
    **_for_all(elementwise.bounded, "clamp clip clamp_min clamp_max hardtanh threshold"),
    "prelu": elementwise.prelu,
    **_for_all(_alias, "detach .data positive pos"),
    **_for_all(
        _perhaps_alias,
        "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout native_dropout "
        "to type type_as float double half bfloat16 int long bool cpu cuda",
    ),
    # Element by element, 0 becomes something else; comparisons too.
    **_for_all(
        elementwise.revive,
        "hardsigmoid logsigmoid log log2 log10 cos cosh acos acosh reciprocal rsqrt erfc "
        "erfinv logit isnan isinf isfinite logical_not invert bitwise_not",
    ),
    **_for_all(elementwise.compare, "eq ne lt le gt ge logaddexp logaddexp2"),
    **_for_all(
        _constant,
        "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full "
        "new_empty new_tensor",
    ),
    **_for_all(
        elementwise.add,
        "maximum minimum fmax fmin hypot logical_and logical_or logical_xor and or xor atan2 fmod remainder",
    ),
    **_for_all(elementwise.add_or_subtract, "add radd sub subtract rsub"),
    **_for_all(elementwise.multiply, "mul multiply rmul"),
    **_for_all(elementwise.divide, "div divide true_divide truediv floor_divide floordiv"),
    **_for_all(elementwise.divide_swapped, "rdiv rtruediv"),
    **_for_all(elementwise.add_product, "addcmul addcdiv"),
    **_for_all(elementwise.power, "pow float_power"),
    "lerp": elementwise.lerp,
    "masked_fill": elementwise.masked_fill,
    "where": elementwise.where,
    **_for_all(_matmul, "matmul rmatmul mm bmm mv dot"),
    **_for_all(_add_matmul, "addmm addmv baddbmm"),
    **_for_all(_convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_for_all(_normalise, "batch_norm instance_norm layer_norm group_norm rms_norm"),
    # Sums with positive coefficients.
    **_for_all(
        pooling.gather,
        "mean nanmean avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "sum nansum cumsum fold col2im trace",
    ),
    **_for_all(pooling.interpolate, "interpolate upsample"),
    **_for_all(pooling.max_pool, "max_pool1d max_pool2d max_pool3d"),
    **_for_all(pooling.max_pool, "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"),
    **_for_all(pooling.adaptive_max_pool, "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"),
    **_for_all(
        pooling.adaptive_max_pool,
        "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices",
    ),
    **_for_all(pooling.total, "max min amax amin norm vector_norm var std logsumexp median nanmedian mode"),
    "prod": pooling.multiplied,
    **_for_all(_softmax, "softmax log_softmax softmin"),
    "glu": _gated,
    # Elements moved, repeated or left out.
    **_for_all(
        _arrange,
        "contiguous view reshape flatten unflatten ravel squeeze unsqueeze permute transpose t swapaxes swapdims "
        "movedim moveaxis "
        "adjoint .T .mT .H .mH expand broadcast_to repeat tile repeat_interleave split split_with_sizes chunk "
        "tensor_split vsplit hsplit dsplit unbind getitem narrow select index_select gather take_along_dim take "
        "masked_select flip fliplr flipud roll rot90 pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col "
        "diagonal diag tril triu narrow_copy atleast_1d atleast_2d atleast_3d view_as_real",
    ),
    **_for_all(_like_other, "expand_as view_as reshape_as"),
    **_for_all(_join, "cat concat concatenate stack hstack vstack dstack column_stack row_stack"),
    "copy": _copy,
    "pad": _pad,
    "nested_tensor_from_mask_left_aligned": _no_nested_tensors,
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
