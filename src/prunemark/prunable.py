"""Which tensors of a model can be pruned."""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

Predicate = Callable[[str, nn.Module, nn.Parameter], bool]
Rule = str | type[nn.Module] | Predicate
Rules = Rule | Sequence[Rule]

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside `torch.compile`, DataParallel and DistributedDataParallel wrappers."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def prunable(
    model: nn.Module, *, include: Rules | None = None, exclude: Rules | None = None
) -> dict[str, nn.Parameter]:
    """The prunable weights of a model: name -> parameter, in the order of the model's modules.

    Prunable is every weight tensor of a convolution (also transposed, grouped, 1d, 3d), of a linear map
    (classifier and 1x1 shortcuts included), of a recurrent layer, and the packed or separate projections of
    `nn.MultiheadAttention`. Biases and normalisation parameters never are. Embeddings are only when
    `include` names `nn.Embedding`. A tensor that two modules share counts once, under its first name; frozen
    parameters count. Names are those of `named_parameters()` without wrappers' prefixes.

    Args:
        model: any module; wrappers of `torch.compile` and data parallelism are looked through.
        include: keep only what one of these rules selects. A rule is a pattern for the name
            (`"features.*"`, shell style), a module type, or a predicate `(name, module, parameter) -> bool`.
        exclude: drop what one of these rules selects.

    Raises:
        ValueError: nothing is left to prune; a rule selects nothing; a layer's weight is not a plain
            parameter (it is parametrised, or already pruned by `torch.nn.utils.prune`).
    """
    inner = unwrap(model)
    wanted, unwanted = _as_rules(include), _as_rules(exclude)
    embeddings = any(isinstance(rule, type) and issubclass(rule, nn.Embedding) for rule in wanted)
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    used: set[int] = set()
    for module_name, module in inner.named_modules():
        for attribute in _weight_attributes(module, embeddings=embeddings):
            name = f"{module_name}.{attribute}" if module_name else attribute
            kept = not wanted
            for rule in wanted:
                if _selects(rule, name, module):
                    used.add(id(rule))
                    kept = True
            for rule in unwanted:
                if _selects(rule, name, module):
                    used.add(id(rule))
                    kept = False
            if not kept:
                continue
            parameter = _plain_parameter(module, attribute, name)
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = parameter
    for rule in (*wanted, *unwanted):
        if id(rule) not in used:
            raise ValueError(f"the rule {rule!r} selects no prunable weight of this {type(inner).__name__}")
    if not found:
        raise ValueError(
            f"{type(inner).__name__} has nothing to prune: no convolution, linear, recurrent or attention weight"
        )
    return found


def _as_rules(rules: Rules | None) -> Sequence[Rule]:
    if rules is None:
        return ()
    if isinstance(rules, str | type) or callable(rules):
        return (rules,)
    return rules


def _selects(rule: Rule, name: str, module: nn.Module) -> bool:
    if isinstance(rule, str):
        return fnmatchcase(name, rule)
    if isinstance(rule, type):
        return isinstance(module, rule)
    parameter = getattr(module, name.rpartition(".")[2])
    return rule(name, module, parameter)


def _weight_attributes(module: nn.Module, *, embeddings: bool) -> Iterator[str]:
    if isinstance(module, (nn.Linear, *_CONVOLUTIONS)) or (embeddings and isinstance(module, nn.Embedding)):
        yield "weight"
    elif isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        yield from (name for name in names if getattr(module, name) is not None)
    elif isinstance(module, nn.RNNBase):
        yield from (name for name, _ in module.named_parameters() if name.startswith("weight"))
    elif isinstance(module, nn.RNNCellBase):
        yield from ("weight_ih", "weight_hh")


def _plain_parameter(module: nn.Module, attribute: str, name: str) -> nn.Parameter:
    parameter = module._parameters.get(attribute)  # pyright: ignore[reportPrivateUsage]
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise ValueError(f"{name} has no shape yet: run the lazy module once before pruning it")
    if parameter is not None:
        return parameter
    if f"{attribute}_mask" in module._buffers:  # pyright: ignore[reportPrivateUsage]
        raise ValueError(
            f"{name} is pruned by torch.nn.utils.prune; take its masks with Masks.from_torch_prune(model), "
            "then make it permanent with torch.nn.utils.prune.remove"
        )
    raise ValueError(
        f"{name} is computed from other tensors (a parametrisation or weight norm), so there is no "
        "parameter to hold at zero; remove the parametrisation first, or leave the layer out with exclude="
    )


def module_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that owns the parameter of that name, and the parameter's attribute in it."""
    path, _, attribute = name.rpartition(".")
    return unwrap(model).get_submodule(path), attribute


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter."""
    return next(model.parameters()).device
