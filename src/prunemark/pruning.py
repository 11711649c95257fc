"""Score and select, once or in N rounds."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.certificates import certify_invert
from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.methods import resolve
from prunemark.methods.problem import Batch, Forward, Loss, Method, Problem, call
from prunemark.prunable import Rules, device_of, prunable, unwrap
from prunemark.quotas import QuotaName
from prunemark.quotas import quotas as layer_quotas
from prunemark.randomness import derive, generator
from prunemark.selection import keep_count, require_finite, select_count
from prunemark.version import __version__

Data = Dataset | Iterable[Batch]
AnyMethod = str | Method | Callable[[Problem], Mapping[str, Tensor]]

# A dataset's scoring sample is one batch up to this size (10 examples of 25 classes), several beyond it.
_SCORING_BATCH = 250


def score(
    model: nn.Module,
    method: AnyMethod,
    *,
    data: Data | None = None,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
    include: Rules | None = None,
    exclude: Rules | None = None,
    loss: Loss = functional.cross_entropy,
    forward: Forward = call,
    within: Masks | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Score every prunable weight of a model, once: name -> tensor of the weight's shape, larger = keep.

    Works on a copy: the model, its BatchNorm statistics, gradients and flags, and the global random state are
    untouched.

    Args:
        model: any module.
        method: a name in METHODS, a configured method, a function `(Problem) -> scores`, or "FILE.py:function".
        data: (inputs, targets) batches, used exactly as given, or a dataset, from which the method's
            `examples_per_class` (10) examples of each class are drawn. Inputs that are a tuple are
            given as model(*inputs), a dict as model(**inputs).
        seed: names all random choices: the examples, random scores, dropout.
        input_shape: shape of one example without the batch axis, for methods that need no data.
        include, exclude: which weights are prunable, as in `prunemark.prunable.prunable`.
        loss: (outputs, targets) -> scalar mean loss.
        forward: (model, inputs) -> outputs.
        within: score the subnetwork of these masks.
        options: the method's own, such as `bn="eval"`.

    Raises:
        ValueError: unknown method or option, missing data, nothing prunable, a loss that is not a scalar, or
            scores that are not finite (the layer is named).
    """
    return _Scorer(model, resolve(method, **options), data, seed, input_shape, include, exclude, loss, forward)(within)


def prune(
    model: nn.Module,
    method: AnyMethod,
    *,
    sparsity: float,
    data: Data | None = None,
    seed: int = 0,
    rounds: int | None = None,
    invert: bool = False,
    quotas: QuotaName | Masks | None = None,
    input_shape: tuple[int, ...] | None = None,
    include: Rules | None = None,
    exclude: Rules | None = None,
    loss: Loss = functional.cross_entropy,
    forward: Forward = call,
    **options: Any,
) -> Masks:
    """Prune a model to exactly round((1 - sparsity) * prunable) weights.

    Round n of N scores the network that survived so far and prunes it to density (1 - sparsity)^(n / N). A
    pruned weight never comes back. The model itself is not changed: see `Masks.apply_` and `Masks.hold`.

    Args:
        sparsity: pruned fraction of the prunable weights, in [0, 1).
        rounds: how many rounds; None = the method's own (100 for SynFlow, otherwise 1).
        invert: reverse the ranking: prune the most important weights. Certified, in
            `provenance["certificate"]`.
        quotas: None ranks all weights of the network together; a name ("uniform", "uniform-plus", "erk", "igq") or
            masks fix how many each layer keeps, see `prunemark.quotas.quotas`.

    The other arguments, and what they raise, are those of `score`.
    """
    configured = resolve(method, **options)
    rounds = configured.rounds if rounds is None else rounds
    if rounds < 1:
        raise ValueError(f"rounds counts from 1; got {rounds}")
    scorer = _Scorer(model, configured, data, seed, input_shape, include, exclude, loss, forward)
    masks = Masks.ones(scorer.weights)
    final = keep_count(masks.total, sparsity)
    provenance = _provenance(method, configured, scorer, sparsity, seed, rounds)
    provenance["quotas"] = "as in masks" if isinstance(quotas, Masks) else quotas
    for n in range(1, rounds + 1):
        target = 1 - (1 - sparsity) ** (n / rounds)
        keep = final if n == rounds else _round_count(masks.total, target, configured)
        scores = scorer(masks)
        survivors = None if getattr(configured, "revives", False) else masks
        budget = None
        if quotas is not None:
            caps = {count.name: count.kept for count in (survivors or Masks.ones(masks)).layers()}
            budget = layer_quotas(quotas, {name: mask.shape for name, mask in masks.items()}, keep, caps=caps)
        chosen = select_count(scores, keep, within=survivors, invert=invert, quotas=budget)
        if invert:
            certificate = certify_invert(scores, chosen, within=survivors, per_layer=quotas is not None)
            provenance |= {"ablation": "invert", "certificate": certificate.to_dict()}
        masks = chosen
    return Masks(masks, provenance=provenance)


def _round_count(total: int, sparsity: float, method: Method) -> int:
    if getattr(method, "keeps_ceiling", False):
        return total - int(sparsity * total)
    return keep_count(total, sparsity)


class _Scorer:
    """One model, method and sample of examples; called with masks, it scores what they keep."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        data: Data | None,
        seed: int,
        input_shape: tuple[int, ...] | None,
        include: Rules | None,
        exclude: Rules | None,
        loss: Loss,
        forward: Forward,
    ) -> None:
        self.model = unwrap(model)
        self.weights = prunable(self.model, include=include, exclude=exclude)
        self.method = method
        self.seed = seed
        self.data = data
        self.batches = _scoring_batches(data, method, seed, next(iter(self.weights.values())))
        self.input_shape = input_shape if input_shape is not None else _shape_of(data, self.batches)
        self.loss = loss
        self.forward = forward

    def __call__(self, masks: Masks | None) -> dict[str, Tensor]:
        private = copy.deepcopy(self.model).requires_grad_(True).train()
        private.zero_grad(set_to_none=True)
        by_name = dict(private.named_parameters(remove_duplicate=False))
        weights = {name: by_name[name] for name in self.weights}
        if masks is None:
            masks = Masks.ones(weights)
        masks.apply_(private)
        problem = Problem(
            model=private,
            weights=weights,
            masks=masks,
            initial={name: weight.detach() for name, weight in self.weights.items()},
            seed=self.seed,
            loss=self.loss,
            forward=self.forward,
            input_shape=self.input_shape,
            given_batches=self.batches,
        )
        device = device_of(private)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, "scoring"))
            scores = self.method(problem)
        return self._checked(scores)

    def _checked(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        missing = [name for name in self.weights if name not in scores]
        foreign = [name for name in scores if name not in self.weights]
        if missing or foreign:
            raise ValueError(f"scores must name each prunable weight: missing {missing}, not prunable {foreign}")
        for name, weight in self.weights.items():
            if scores[name].shape != weight.shape:
                raise ValueError(
                    f"scores of {name} have shape {tuple(scores[name].shape)}, its weight {tuple(weight.shape)}"
                )
        checked = {name: scores[name].detach() for name in self.weights}
        require_finite(checked)
        return checked


def _scoring_batches(data: Data | None, method: Method, seed: int, like: Tensor) -> Sequence[Batch]:
    if data is None:
        return ()
    if not isinstance(data, Dataset):
        batches = [(_moved(inputs, like), _moved(targets, like)) for inputs, targets in data]
        if not batches:
            raise ValueError("data holds no batches")
        return batches
    ordinary: int | None = getattr(method, "ordinary_batch", None)
    if ordinary is not None:
        chosen = torch.randperm(len(data.train), generator=generator(seed, "examples"))[:ordinary]
        inputs, targets = data.train.inputs[chosen], data.train.targets[chosen]
    else:
        per_class: int = getattr(method, "examples_per_class", 10)
        inputs, targets = data.balanced_sample(per_class, generator(seed, "examples"))
        # Drawn class by class; batches must mix the classes, or BatchNorm sees one class at a time.
        order = torch.randperm(len(inputs), generator=generator(seed, "examples", "order"))
        inputs, targets = inputs[order], targets[order]
    inputs, targets = inputs.to(like.device, like.dtype), targets.to(like.device)
    return list(zip(inputs.split(_SCORING_BATCH), targets.split(_SCORING_BATCH), strict=True))


def _moved(value: Any, like: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value.to(like.device)
    if isinstance(value, Mapping):
        return {key: _moved(item, like) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_moved(item, like) for item in value)
    return value


def _shape_of(data: Data | None, batches: Sequence[Batch]) -> tuple[int, ...] | None:
    if isinstance(data, Dataset):
        return data.input_shape
    if batches and isinstance(inputs := batches[0][0], Tensor):
        return tuple(inputs.shape[1:])
    return None


def _provenance(
    method: AnyMethod, configured: Method, scorer: _Scorer, sparsity: float, seed: int, rounds: int
) -> dict[str, Any]:
    options = (
        {f.name: getattr(configured, f.name) for f in fields(configured) if f.name not in ("rounds", "function")}
        if is_dataclass(configured)
        else {}
    )
    return {
        "method": method if isinstance(method, str) else getattr(method, "__name__", type(configured).__name__),
        "options": {name: value for name, value in options.items() if isinstance(value, str | int | float | bool)},
        "sparsity": sparsity,
        "rounds": rounds,
        "seed": seed,
        "data": scorer.data.fingerprint if isinstance(scorer.data, Dataset) else None,
        "versions": {"prunemark": __version__, "torch": torch.__version__},
    }
