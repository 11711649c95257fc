"""Score and select, once or in N rounds."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.methods import resolve
from prunemark.methods.base import Method, Problem
from prunemark.models.calling import Forward, Loss, call, map_tensors, on_copies
from prunemark.models.convolutions import has_unsound_convolutions, sound_convolutions
from prunemark.models.copies import at_least_single, independent_copy, to_single_precision_
from prunemark.models.holding import as_loaded, warn_if_held
from prunemark.models.isolation import isolated
from prunemark.models.left_out import share_record, warn_of_left_out
from prunemark.models.plain import is_plain, use_fast_layout_
from prunemark.models.precision import cast, cast_, true_float32
from prunemark.models.prunable import SelectionRules, parameters_by_name, prunable, unwrap
from prunemark.models.zeroing import zero_newly_pruned_
from prunemark.parts import Keeper
from prunemark.pruning.explaining import explained_forward, explained_loss, require_derivatives
from prunemark.pruning.quotas import Quotas, goal
from prunemark.pruning.rounds import Rounds
from prunemark.pruning.scoring_examples import Data, example_shape, fingerprint, scoring_batches
from prunemark.pruning.selection import keep_count, require_finite
from prunemark.pruning.unscored import UnscoredWarning, require_scores, sentence
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.version import __version__

ScoreDtype = Literal["float32", "float64"]
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
AnyMethod = str | Method | Callable[[Problem], Mapping[str, Tensor]]


def score(
    model: nn.Module,
    method: AnyMethod,
    *,
    data: Data | None = None,
    seed: int = 0,
    input_shape: tuple[int, ...] | None = None,
    include: SelectionRules | None = None,
    exclude: SelectionRules | None = None,
    loss: Loss = functional.cross_entropy,
    forward: Forward = call,
    scoring_batch: int = SCORING_BATCH,
    within: Masks | None = None,
    score_dtype: ScoreDtype | None = None,
    tf32: bool = False,
    **options: Any,
) -> dict[str, Tensor]:
    """Score every prunable weight of a model, once: name -> tensor of the weight's shape, larger = keep.

    Works on a copy: the model, its BatchNorm statistics, gradients and flags, and the global random states (torch's,
    NumPy's, Python's) are untouched, and neither `no_grad` nor autocast around the call reaches in. A model in half
    precision is scored in float32, which represents its weights exactly: products of bfloat16 numbers tie too often
    to be ranked. Any other precision is the model's own, unless `score_dtype` says otherwise. float32 is TF32
    only if `tf32`.

    Args:
        model: any module.
        method: a name in METHODS, a configured method, a function `(Problem) -> scores`, or "FILE.py:function".
        data: (inputs, targets) batches, all of them used exactly as given and read once, or a dataset, from which the
            method's `examples_per_class` (10) examples of each class are drawn. Inputs that are a tuple are
            given as model(*inputs), a dict as model(**inputs). A batch may be a dict itself, as Hugging Face's loaders
            yield it: "labels", "label" or "targets" are its targets, all else its inputs.
        seed: names all random choices: the examples, the order of a shuffling DataLoader (its own generator's
            too, whose state is restored), random scores, dropout.
        input_shape: shape of one example without the batch axis, for methods that need no data.
        include: which weights are prunable, as in `prunemark.models.prunable.prunable`.
        exclude: which of them are not.
        loss: (outputs, targets) -> scalar mean loss.
        forward: (model, inputs) -> outputs.
        scoring_batch: examples in each batch of a dataset's sample, at least 1 (the study's code: as many as in
            training, 128 or 256); where a sample is larger, scores depend on it through BatchNorm.
        within: score the subnetwork of these masks. Where they cut the network through, all scores may be 0.
        score_dtype: "float32" or "float64"; None = the model's own precision. Methods with one of their own (SynFlow:
            its option `dtype`) or that compute nothing (random, magnitude, PHEW) keep theirs.
        tf32: let a GPU compute convolutions and products of float32 in TF32.
        options: the method's own, such as `bn="eval"`.

    Raises:
        ValueError: unknown method or option; missing data, or data that does not consist of batches; nothing prunable;
            a model that cannot be copied, or inputs in another precision than the model's; a loss that is not a scalar
            or not finite; scores that are not finite (the layer is named), or that are all 0.

    Examples:
        >>> scores = pm.score(model, "snip", data=batches)
        >>> {name: tuple(one.shape) for name, one in scores.items()}
        {'1.weight': (32, 64), '3.weight': (10, 32)}
    """
    configured = resolve(method, **options)
    scorer = _Scorer(
        model,
        configured,
        data=data,
        seed=seed,
        input_shape=input_shape,
        include=include,
        exclude=exclude,
        loss=loss,
        forward=forward,
        scoring_batch=scoring_batch,
        score_dtype=score_dtype,
        tf32=tf32,
    )
    scores = scorer(within)
    if within is None or within.kept == within.total:  # masks may cut the network through
        require_scores(scores, configured.zero_means)
    return scores


def prune(
    model: nn.Module,
    method: AnyMethod,
    *,
    sparsity: float,
    data: Data | None = None,
    seed: int = 0,
    rounds: int | None = None,
    invert: bool = False,
    quotas: Quotas | None = None,
    input_shape: tuple[int, ...] | None = None,
    include: SelectionRules | None = None,
    exclude: SelectionRules | None = None,
    loss: Loss = functional.cross_entropy,
    forward: Forward = call,
    scoring_batch: int = SCORING_BATCH,
    score_dtype: ScoreDtype | None = None,
    tf32: bool = False,
    keeper: Keeper | None = None,
    **options: Any,
) -> Masks:
    """Prune a model to exactly round((1 - sparsity) * prunable) weights.

    Round n of N scores the network that survived so far and prunes it to density (1 - sparsity)^(n / N). A
    pruned weight never comes back. The model itself is not changed: see `Masks.apply_` and `Masks.hold`.

    Kept weights with a score of exactly 0 were chosen by position: `masks.unscored` counts them,
    `provenance["unscored"]` by layer. In several rounds a weight counts if the last round gave it no score, or an
    earlier one that pruned other weights without a score (of a method that revives weights, the last round alone).

    Args:
        sparsity: pruned fraction of the prunable weights, in [0, 1).
        rounds: how many rounds; None = the method's own: 100 for SynFlow, 60 for FORCE and iterative SNIP, 20 for
            NTK-SAP, 1 for all others.
        invert: reverse the ranking: prune the most important weights. Certified, in
            `provenance["certificate"]`.
        quotas: None ranks all weights of the network together; a name ("uniform", "uniform-plus", "erk", "igq") or
            masks fix how many each layer keeps, and so do sparsities by pattern, {"stages.2.*": 0.95}; see
            `prunemark.pruning.quotas.quotas`.

        keeper: keeps the state between two rounds now and then; where it holds one of this pruning, that is continued.

    What has two or more axes and is neither prunable nor a normalisation's nor an embedding's is in `masks.left_out`.

    `score_dtype` None is the model's own precision in one round and float64 in more, in which differences of 1e-5
    would add up to other masks. The other arguments, and what they raise, are those of `score`; scores that are all 0
    are an error in the first round only, for later rounds may cut the network through.

    Warns:
        LeftOutWarning: more weights are left out than are prunable; says which, and the `include` that adds them.
        HeldWarning: a hold in force on the model stands between its weights and what is scored.
        UnscoredWarning: kept weights are unscored; says how many, and in which layers.

    Examples:
        >>> pm.prune(model, "snip", sparsity=0.9, data=batches, seed=0)
        Masks(237 of 2,368 kept, sparsity 89.9916%, 2 layers)
        >>> pm.prune(model, "snip", sparsity=0.9, data=batches, rounds=10, quotas="erk").kept
        237
    """
    configured = resolve(method, **options)
    rounds = configured.rounds if rounds is None else rounds
    if isinstance(rounds, bool) or not isinstance(rounds, Integral) or rounds < 1:
        raise ValueError(f"rounds is a whole number from 1; got {rounds!r}")
    scorer = _Scorer(
        model,
        configured,
        data=data,
        seed=seed,
        input_shape=input_shape,
        include=include,
        exclude=exclude,
        loss=loss,
        forward=forward,
        scoring_batch=scoring_batch,
        score_dtype=score_dtype or ("float64" if rounds > 1 else None),
        tf32=tf32,
    )
    if include is None:
        warn_of_left_out(scorer.model, scorer.weights, exclude)
    masks = Masks.ones(scorer.weights)
    final = keep_count(masks.total, sparsity)
    shapes = {name: mask.shape for name, mask in masks.items()}
    # What cannot be met at the end is found before anything is scored.
    rule = None if quotas is None else goal(quotas, shapes, final)
    provenance = _provenance(method, configured, scorer, float(sparsity), seed, int(rounds))
    provenance["quotas"] = (
        "as in masks" if isinstance(quotas, Masks) else dict(quotas) if isinstance(quotas, Mapping) else quotas
    )
    meaning = configured.zero_means
    selection = Rounds(meaning, last=rounds, within=masks, revives=configured.revives, invert=invert, quotas=rule)
    first = 1
    if keeper and (part := keeper.kept()):
        first = part.at + 1
        masks = selection.resume(scorer.resume(part.tensors), part.facts)
        provenance["score_dtype"] = part.facts["score_dtype"]
    for n in range(first, rounds + 1):
        target = 1 - (1 - sparsity) ** (n / rounds)
        keep = final if n == rounds else _round_count(masks.total, target, configured)
        scores = scorer(masks, n)
        if n == 1:
            provenance["score_dtype"] = str(next(iter(scores.values())).dtype).removeprefix("torch.")
            require_scores(scores, meaning)
        masks = selection.choose(scores, keep)
        del scores  # or they would still be held while the next round makes its own
        if keeper and keeper.due(n) and n < rounds:
            tensors, facts = selection.state()
            keeper.keep(n, tensors | scorer.state(), facts | {"score_dtype": provenance["score_dtype"]})
    masks = selection.finished(provenance)
    warn_if_held(scorer.weights, masks)
    if masks.unscored:
        warnings.warn(sentence(provenance["method"], masks), UnscoredWarning, stacklevel=2)
    return masks


def _round_count(total: int, sparsity: float, method: Method) -> int:
    if method.keeps_ceiling:
        return total - int(sparsity * total)
    return keep_count(total, sparsity)


class _Scorer:
    """One model, method and sample of examples; called with masks, it scores what they keep."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        *,
        data: Data | None,
        seed: int,
        input_shape: tuple[int, ...] | None,
        include: SelectionRules | None,
        exclude: SelectionRules | None,
        loss: Loss,
        forward: Forward,
        scoring_batch: int,
        score_dtype: ScoreDtype | None,
        tf32: bool,
    ) -> None:
        if isinstance(scoring_batch, bool) or not isinstance(scoring_batch, Integral) or scoring_batch < 1:
            raise ValueError(f"scoring_batch is a whole number from 1; got {scoring_batch!r}")
        self.scoring_batch = int(scoring_batch)
        self.tf32 = tf32
        if score_dtype not in (None, *_DTYPES):
            raise ValueError(f"score_dtype is {' or '.join(map(repr, _DTYPES))}, or None; got {score_dtype!r}")
        self.model = unwrap(model)
        self.weights = prunable(self.model, include=include, exclude=exclude)
        self.loaded = as_loaded(parameters_by_name(self.model))
        self.method = method
        self.seed = seed
        self.data = data
        first = next(iter(self.weights.values()))
        for name, weight in self.weights.items():
            if weight.is_meta:
                raise ValueError(f"{name} is on the meta device: it has no values to score")
            if weight.is_complex() and method.zero_means == "unscored":
                raise ValueError(
                    f"{name} holds complex numbers, of which no product with a gradient is defined as a score: leave "
                    f"it out with exclude={name!r}, or take a method without gradients, such as magnitude"
                )
        self.device, self.dtype = first.device, at_least_single(first[:0]).dtype
        self.half = self.dtype != first.dtype
        self.recast = None if score_dtype is None or method.own_precision else _DTYPES[score_dtype]
        with isolated(self.seed, "batches", device=self.device):
            self.batches = scoring_batches(
                data,
                method,
                seed=seed,
                size=self.scoring_batch,
                device=self.device,
                dtype=self.dtype,
                single=self.half,
            )
        self.input_shape = input_shape if input_shape is not None else example_shape(data, self.batches)
        self.loss = explained_loss(loss)
        self.forward = on_copies(explained_forward(forward))
        self.plain = forward is call and is_plain(self.model)
        self.left: Mapping[str, nn.Parameter] | None = None
        self.last: Problem | None = None
        self.sound = False  # of a plain model: whether its convolutions need no care
        self.buffers: list[Tensor] = []
        self.buffers_before: list[Tensor] = []

    def __call__(self, masks: Masks | None, n: int = 1) -> dict[str, Tensor]:
        with isolated(self.seed, "scoring", device=self.device):
            problem = self._problem(masks, n) if self.last is None else self._continued(self.last, masks, n)
            if self.plain and not problem.continued:
                self.buffers = list(problem.model.buffers())
                self.buffers_before = [buffer.clone() for buffer in self.buffers]
                self.sound = not has_unsound_convolutions(problem.model)
            with nullcontext() if self.sound else sound_convolutions(problem.model), true_float32(tf32=self.tf32):
                try:
                    found = self.method(problem)
                except RuntimeError as error:
                    require_derivatives(type(self.method).__name__, error)
                    raise
                scores = self._checked(found)
            if self.method.reuses_weights:
                self.left = problem.weights
            if self.plain and self.method.keeps_model and not self.method.revives:
                for buffer, before in zip(self.buffers, self.buffers_before, strict=True):
                    buffer.copy_(before)  # statistics of BatchNorm
                self.last = problem
            return scores

    def _continued(self, last: Problem, masks: Masks | None, n: int) -> Problem:
        """The problem of the round before, whose copy of the model is as a new one would be, with these masks."""
        assert masks is not None
        for name, weight in last.weights.items():
            zero_newly_pruned_(weight.data, last.masks[name], masks[name])
        return replace(last, masks=masks, round=n, continued=True)

    def state(self) -> dict[str, Tensor]:
        """What a round leaves to the next, beside masks."""
        return {f"left/{name}": weight.detach() for name, weight in (self.left or {}).items()}

    def resume(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take back a `state`; returns the other tensors."""
        left = {name.removeprefix("left/"): each for name, each in tensors.items() if name.startswith("left/")}
        if left:
            self.left = {name: nn.Parameter(left[name].to(self.device)) for name in self.weights}
        return {name: each for name, each in tensors.items() if not name.startswith("left/")}

    def _problem(self, masks: Masks | None, n: int) -> Problem:
        private = independent_copy(self.model, weights=self.left).train()
        to_single_precision_(private)
        if self.recast is not None:
            cast_(private, self.recast)
        if self.plain and self.device.type == "cpu" and self._computes_in() == torch.float64:
            use_fast_layout_(private)
        by_name = parameters_by_name(private)
        if self.left is None:
            for name, loaded in self.loaded.items():
                by_name[name].data.copy_(loaded)
        weights = {name: by_name[name] for name in self.weights}
        for weight in weights.values():
            # Other parameters that are frozen stay so, which tells PHEW that their values are meant.
            weight.requires_grad_()
        if masks is None:
            masks = Masks.ones(weights)
        if masks.keys() != weights.keys():
            raise ValueError("within= must be masks of exactly the prunable weights of this model")
        masks.apply_(private)
        return Problem(
            model=private,
            weights=weights,
            masks=masks,
            initial={
                name: self._in_precision(at_least_single(self.loaded.get(name, weight.detach())))
                for name, weight in self.weights.items()
            },
            seed=self.seed,
            loss=self.loss,
            forward=self.forward,
            input_shape=self.input_shape,
            round=n,
            given_batches=map_tensors(self._in_precision, self.batches),
        )

    def _computes_in(self) -> torch.dtype:
        own = getattr(self.method, "dtype", None) if self.method.own_precision else None
        return _DTYPES.get(own, self.dtype) if own else self.recast or self.dtype

    def _in_precision(self, tensor: Tensor) -> Tensor:
        return tensor if self.recast is None else cast(tensor, self.recast)

    def _checked(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not isinstance(scores, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"a method returns a mapping from names to scores, not a {type(scores).__name__}")
        missing = [name for name in self.weights if name not in scores]
        foreign = [name for name in scores if name not in self.weights]
        if missing or foreign:
            raise ValueError(f"scores must name each prunable weight: missing {missing}, not prunable {foreign}")
        checked: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            score = scores[name]
            if not isinstance(score, Tensor) or score.is_complex():  # pyright: ignore[reportUnnecessaryIsInstance]
                kind = score.dtype if isinstance(score, Tensor) else type(score).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"scores of {name} must be a tensor of real numbers, not {kind}")
            if score.shape != weight.shape:
                raise ValueError(f"scores of {name} have shape {tuple(score.shape)}, its weight {tuple(weight.shape)}")
            score = at_least_single(score.detach())
            checked[name] = score.to(torch.uint8) if score.dtype == torch.bool else score
        require_finite(checked)
        return checked


def _provenance(
    method: AnyMethod, configured: Method, scorer: _Scorer, sparsity: float, seed: int, rounds: int
) -> dict[str, Any]:
    name, options = configured.facts()
    return {
        "method": method if isinstance(method, str) else name,
        "options": {
            option: value
            for option, value in options.items()
            if option != "rounds" and isinstance(value, str | int | float | bool)
        },
        "sparsity": sparsity,
        "rounds": rounds,
        "seed": seed,
        **share_record(scorer.model, scorer.weights),
        "data": scorer.data.fingerprint if isinstance(scorer.data, Dataset) else fingerprint(scorer.batches),
        **({} if scorer.scoring_batch == SCORING_BATCH else {"scoring_batch": scorer.scoring_batch}),
        "versions": {"prunemark": __version__, "torch": torch.__version__},
    }
