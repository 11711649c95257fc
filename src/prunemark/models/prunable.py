"""The prunable tensors of a model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim.swa_utils import AveragedModel

Predicate = Callable[[str, nn.Module, nn.Parameter], bool]
SelectionRule = str | type[nn.Module] | Predicate
SelectionRules = SelectionRule | Sequence[SelectionRule]

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)

# Attributes under which a wrapper keeps the module that it wraps, and which are nobody's own choice of a name.
_WRAPPERS = {"_orig_mod", "_forward_module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}

# Linear maps of other packages, by qualified name, so that these packages need not be there.
_FOREIGN_LINEAR_MAPS = {
    "transformers.pytorch_utils.Conv1D",
    "torch_geometric.nn.dense.linear.Linear",
    "torch_geometric.nn.dense.linear.HeteroLinear",
}

_FSDP = "FullyShardedDataParallel"

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # pyright: ignore[reportPrivateUsage]


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside `torch.compile`, data parallel, weight averaging and Lightning Fabric's wrappers."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel | AveragedModel):
            model = model.module
            continue
        wrapped = [getattr(model, name, None) for name in ("_orig_mod", "_forward_module")]
        inner = next((each for each in wrapped if isinstance(each, nn.Module)), None)
        if inner is None:
            return model
        model = inner


def parameters_by_name(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter under every name it has, without the prefixes of wrappers, around the model or inside it."""
    named = unwrap(model).named_parameters(remove_duplicate=False)
    return {plain_name(name): parameter for name, parameter in named}


def prunable(
    model: nn.Module, *, include: SelectionRules | None = None, exclude: SelectionRules | None = None
) -> dict[str, nn.Parameter]:
    """The prunable weights of a model: name -> parameter, in the order of `named_parameters()`.

    Prunable is every weight tensor of a convolution (also transposed, grouped, 1d, 3d), of a linear map
    (classifier and 1x1 shortcuts included; also transformers' `Conv1D`, torch_geometric's `Linear` and
    `HeteroLinear`), of a recurrent layer, and the packed or separate projections of `nn.MultiheadAttention`. Biases
    and normalisation parameters never are. Frozen parameters are. Names are those of `named_parameters()` without
    wrappers' prefixes. What else has two or more axes (`prunemark.models.left_out`) is prunable when `include` selects
    it.

    A tensor that several modules share counts once, under the first of its names. It is prunable if it is the
    weight of one of them, so a classifier tied to an embedding is pruned, and the embedding with it.

    Args:
        model: any module; wrappers of `torch.compile`, data parallelism and weight averaging are looked through.
        include: prune exactly what one of these rules selects, of all floating parameters with two or more axes that
            are no normalisation's: `"*"` is all of them, embeddings included. A rule is a pattern for the name
            (`"features.*"`, shell style), a module type (`[nn.Linear, nn.Embedding]`, or a layer of your own; it
            selects what modules of this type hold themselves), or a predicate `(name, module, parameter) -> bool`.
        exclude: drop what one of these rules selects, under any of its names.

    Raises:
        ValueError: the model is not a module; nothing is left to prune; a rule selects nothing; a layer's weight is not
            a plain parameter (it is parametrised, or already pruned by `torch.nn.utils.prune`).
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"the model must be a torch.nn.Module; got a {type(model).__name__}")
    inner = unwrap(model)
    wanted, unwanted = _as_rules(include), _as_rules(exclude)
    rules = (*(wanted or ()), *(unwanted or ()))
    first_names = {id(parameter): plain_name(name) for name, parameter in inner.named_parameters()}
    found: dict[str, nn.Parameter] = {}
    dropped: set[str] = set()
    used: set[int] = set()

    def select(rules: Sequence[SelectionRule] | None, name: str, module: nn.Module, attribute: str) -> bool:
        selecting = [id(rule) for rule in rules or () if _selects(rule, name, module, attribute)]
        used.update(selecting)
        return bool(selecting)

    for path, module in inner.named_modules(remove_duplicate=False):
        usual = list(_weight_attributes(module))
        others = [attribute for attribute in matrices(module) if attribute not in usual] if rules else []
        for attribute in (*usual, *others):
            name = plain_name(f"{path}.{attribute}" if path else attribute)
            parameter = module._parameters.get(attribute)  # pyright: ignore[reportPrivateUsage]
            first_name = first_names.get(id(parameter), name)
            included = attribute in usual if wanted is None else select(wanted, name, module, attribute)
            if select(unwanted, name, module, attribute):
                dropped.add(first_name)
            elif included:
                found[first_name] = _plain_parameter(module, attribute, name)
    for rule in rules:
        if id(rule) not in used:
            raise ValueError(f"the rule {rule!r} selects no prunable weight of this {type(inner).__name__}")
    names = [name for name in first_names.values() if name in found and name not in dropped]
    kept = {name: found[name] for name in names if found[name].numel()}
    if not kept:
        why = "no convolution, linear, recurrent or attention weight"
        if include is not None or exclude is not None:
            why = "include= and exclude= leave none of its weights"
        elif any(isinstance(module, torch.jit.ScriptModule) for module in inner.modules()):
            why = "compiled by TorchScript, its layers cannot be told apart; prune the module that was compiled"
        elif others := [plain_name(f"{p}.{a}" if p else a) for p, m in inner.named_modules() for a in matrices(m)]:
            why += f"; include= admits what else has two or more axes, such as {others[0]} (include={others[0]!r})"
        raise ValueError(f"{type(inner).__name__} has nothing to prune: {why}")
    return kept


def plain_name(name: str) -> str:
    """A parameter's name without the prefixes of modules that wrap others, such as compiled or checkpointed blocks."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _as_rules(rules: SelectionRules | None) -> Sequence[SelectionRule] | None:
    if rules is None:
        return None
    listed: tuple[Any, ...] = tuple(rules) if isinstance(rules, list | tuple | set | frozenset) else (rules,)
    for rule in listed:
        if isinstance(rule, nn.Module) or not (isinstance(rule, str | type) or callable(rule)):
            raise ValueError(f"a rule is a name pattern, a module type or a predicate, not {rule!r}")
    return listed


def _selects(rule: SelectionRule, name: str, module: nn.Module, attribute: str) -> bool:
    if isinstance(rule, str):
        return fnmatchcase(name, rule)
    if isinstance(rule, type):
        return isinstance(module, rule)
    return rule(name, module, getattr(module, attribute))


def _weight_attributes(module: nn.Module) -> Iterator[str]:
    if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        yield "weight"
    elif isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        yield from (name for name in names if getattr(module, name) is not None)
    elif isinstance(module, nn.RNNBase):
        kinds = ("ih", "hh", "hr") if module.proj_size else ("ih", "hh")
        for layer in range(module.num_layers):
            for direction in ("", "_reverse") if module.bidirectional else ("",):
                yield from (f"weight_{kind}_l{layer}{direction}" for kind in kinds)
    elif isinstance(module, nn.RNNCellBase):
        yield from ("weight_ih", "weight_hh")
    elif any(f"{kind.__module__}.{kind.__qualname__}" in _FOREIGN_LINEAR_MAPS for kind in type(module).__mro__):
        yield "weight"


def matrices(module: nn.Module) -> list[str]:
    """The floating parameters with two or more axes that a module holds itself; none of a normalisation."""
    if isinstance(module, (*_NORMALISATIONS, ParametrizationList)):
        return []
    return [
        name
        for name, value in module.named_parameters(recurse=False, remove_duplicate=False)
        if not isinstance(value, nn.parameter.UninitializedParameter)
        and value.is_floating_point()
        and value.ndim >= 2
        # What torch.nn.utils.prune makes the weight from is no weight of its own.
        and f"{name.removesuffix('_orig')}_mask" not in module._buffers  # pyright: ignore[reportPrivateUsage]
    ]


def _plain_parameter(module: nn.Module, attribute: str, name: str) -> nn.Parameter:
    parameter = module._parameters.get(attribute)  # pyright: ignore[reportPrivateUsage]
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise ValueError(f"{name} has no shape yet: run the lazy module once before pruning it")
    if parameter is not None:
        return parameter
    raise ValueError(_why_computed(module, attribute, name))


def _why_computed(module: nn.Module, attribute: str, name: str) -> str:
    if f"{attribute}_mask" in module._buffers:  # pyright: ignore[reportPrivateUsage]
        return (
            f"{name} is pruned by torch.nn.utils.prune; take its masks with Masks.from_torch_prune(model), "
            "then make it permanent with torch.nn.utils.prune.remove"
        )
    return (
        f"{name} is computed from other tensors (a parametrisation or weight norm), so there is no "
        "parameter to hold at zero; remove the parametrisation first, or leave the layer out with exclude="
    )


def masked_parameters(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """The model's parameters that these masks name, whatever wrappers the names tell of on either side.

    Raises:
        ValueError: the model has no such parameter, or its shape differs, or it is computed from others, or in shards.
    """
    parameters = parameters_by_name(model)
    matched: dict[str, nn.Parameter] = {}
    for name, own in own_names(model, masks).items():
        weight = parameters.get(own)
        if weight is None:
            raise ValueError(_why_missing(model, own))
        if hasattr(weight, "device_mesh"):
            raise ValueError(_in_shards(own, "fully_shard"))
        if weight.shape != masks[name].shape:
            if any(type(module).__name__ == _FSDP for module in model.modules()):
                raise ValueError(_in_shards(own, _FSDP))
            raise ValueError(
                f"these masks are of another model: {name} has shape {tuple(weight.shape)}, "
                f"its mask {tuple(masks[name].shape)}"
            )
        matched[name] = weight
    return matched


def own_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Each of these names -> the parameter's own name in the model; itself where there is none.

    They may differ in the prefixes of wrappers: those of `plain_name` anywhere, and `module.` in front.
    """
    own = parameters_by_name(model)
    wanted = list(names)
    if all(name in own for name in wanted):
        return {name: name for name in wanted}
    bare: dict[str, list[str]] = {}
    for name in own:
        bare.setdefault(_bare(name.removesuffix("_orig")), []).append(name.removesuffix("_orig"))
    alike = {name: [name] if name in own else bare.get(_bare(name), []) for name in wanted}
    return {name: found[0] if len(found) == 1 else name for name, found in alike.items()}


def _bare(name: str) -> str:
    name = plain_name(name)
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def parameters_of(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, str]:
    """The name of the parameter behind each mask: its own, or of what `torch.nn.utils.prune` made of it.

    Raises:
        ValueError: the masks are of another model.
    """
    names = parameters_by_name(model)
    behind = {
        name: f"{own}_orig" if own not in names and f"{own}_orig" in names else own
        for name, own in own_names(model, masks).items()
    }
    masked_parameters(model, {behind[name]: mask for name, mask in masks.items()})
    return behind


def weights_in_use(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that these masks name, as the model uses them: those of `torch.nn.utils.prune` are masked by it.

    Raises:
        ValueError: the masks are of another model.
    """
    names, parameters = parameters_of(model, masks), parameters_by_name(model)
    weights = {name: parameters[own].detach() for name, own in names.items()}
    return weights | {name: weights[name] * kept for name, kept in torch_prune_masks(model, masks).items()}


def torch_prune_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks of `torch.nn.utils.prune` on these weights, for those that it prunes: 1 = kept, 0 = pruned.

    Raises:
        ValueError: the masks are of another model.
    """
    found: dict[str, Tensor] = {}
    for name, own in parameters_of(model, masks).items():
        module, attribute = module_of(model, own.removesuffix("_orig"))
        kept = module._buffers.get(f"{attribute}_mask")  # pyright: ignore[reportPrivateUsage]
        if own.endswith("_orig") and kept is not None:
            found[name] = kept
    return found


def _why_missing(model: nn.Module, name: str) -> str:
    path, _, attribute = name.rpartition(".")
    own = parameters_by_name(model)
    if any("_flat_param" in other for other in own):
        return _in_shards(name, _FSDP)
    for wrapped in (f"{path}.base_layer.{attribute}", f"base_model.model.{path}.base_layer.{attribute}"):
        if wrapped in own:
            return (
                f"the model was wrapped by peft after the masks were made: {name} is now {wrapped}, and its layer "
                "computes this weight plus an adapter, which no mask keeps sparse; merge the adapters "
                "(merge_and_unload) and hold the result"
            )
    try:
        module, attribute = module_of(model, name)
        if isinstance(getattr(module, attribute), Tensor):
            return _why_computed(module, attribute, name)
    except AttributeError:
        pass
    return f"these masks are of another model: it has no parameter {name!r}"


def _in_shards(name: str, wrapper: str) -> str:
    return (
        f"{name} is in shards, because the model was wrapped by {wrapper}: masks cannot be held on pieces of a "
        "weight; use DistributedDataParallel instead, which keeps weights whole"
    )


def module_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that owns the parameter of that name, and the parameter's attribute in it.

    Raises:
        AttributeError: the model has no such module.
    """
    path, _, attribute = name.rpartition(".")
    # A wrapper and the module inside it have the same plain name, and the inner one comes later.
    modules = {plain_name(each): module for each, module in unwrap(model).named_modules(remove_duplicate=False)}
    if path not in modules:
        raise AttributeError(f"{type(model).__name__} has no module {path!r}")
    return modules[path], attribute


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's first parameter."""
    return next(model.parameters()).device
