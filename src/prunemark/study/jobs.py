"""The work of each kind of job: inputs -> artifact and numbers. The only place where planning meets torch."""

import dataclasses
import json
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunemark.ablations import NoEffectWarning, shuffle
from prunemark.artifacts import Format, Place, artifact_place, plain_copies, read_artifact, write_artifact
from prunemark.connectivity import topology
from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.methods import Method
from prunemark.models.left_out import LeftOutWarning, share_record
from prunemark.models.precision import true_float32
from prunemark.models.prunable import prunable
from prunemark.pruning import prune, score
from prunemark.pruning.rounds import Rounds
from prunemark.pruning.selection import keep_count, select_count
from prunemark.pruning.unscored import UnscoredWarning
from prunemark.randomness import derive
from prunemark.study.correctness import pack
from prunemark.study.job import CURVE, Context, Job, Kind, Outcome
from prunemark.study.materials import (
    make_data,
    make_method,
    make_network,
    make_recipe,
    require_covered_files,
    require_packages,
)
from prunemark.study.processor import processor
from prunemark.terms.ablations import REDRAWS
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.training import Checkpoint, Trained, train
from prunemark.training.losses import make_loss

Result = dict[str, Any]
_SCORES = Format("scores", "prunemark.scores/1")


def settle_process() -> None:
    """Make this process a worker: one thread, and no slow arithmetic on numbers next to zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def execute(job: Job, context: Context) -> Outcome:
    """Do one job: read the artifacts it needs, write its own, return its numbers.

    The outcome depends on the job alone. Whatever goes wrong in it is an outcome too, with status "failed".
    """
    began, before = time.perf_counter(), set(sys.modules)
    try:
        require_packages(job.spec)
        with true_float32(tf32=job.spec.get("tf32", False)):
            result = _WORK[job.kind](job, context)
        require_covered_files(job.files, before)
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"
        return _outcome(job, context, began, status="failed", error=f"{text}\n{traceback.format_exc()}")
    status = "diverged" if result.pop("diverged", False) else "done"
    return _outcome(job, context, began, status=status, result=result)


def _outcome(job: Job, context: Context, began: float, **fields: Any) -> Outcome:
    seconds = time.perf_counter() - began
    return Outcome(seconds=seconds, device=context.device, torch_version=str(torch.__version__), **fields)


def _dense(job: Job, context: Context) -> Result:
    spec, data = job.spec, _data(job, context)
    model = _build(job, context)
    if spec["step"] == 0:
        Checkpoint.capture(model).save(_artifact(context, job.key))
        return {"step": 0, "train_seconds": 0.0}
    recipe = make_recipe(spec["recipe"], job.files)
    start = _checkpoint(context, job.inputs["start"])
    ends = spec["step"] == recipe.total_steps(len(data.train))
    trained = train(
        model,
        data.train,
        recipe,
        seed=spec["seed"],
        test=data.test if ends or job.curves else None,
        start=start,
        until=spec["step"],
        evaluate_every_epoch=job.curves,
        device=context.device,
    )
    # Of a moving average, training goes on from the weights, and ends in the average.
    (trained.checkpoint.settled() if ends else trained.checkpoint).save(_artifact(context, job.key))
    result = _training_result(trained)
    if result["curve"] and start.step % recipe.steps_per_epoch(len(data.train)):
        # The first of its epochs began in the stretch before: a mean over the rest of it is not the epoch's.
        result["curve"]["train_loss"][0] = None
    return result | ({"density": 1.0} if ends else {})


def _score(job: Job, context: Context) -> Result:
    scores = score(
        _state(job, context, "state"),
        _method(job),
        data=_data(job, context),
        seed=job.spec["seed"],
        scoring_batch=_scoring_batch(job),
        score_dtype=job.spec.get("score_dtype"),
        tf32=job.spec.get("tf32", False),
        **_loss(job),
    )
    _save_scores(scores, _artifact(context, job.key))
    return {"layers": {name: list(tensor.shape) for name, tensor in scores.items()}}


def _mask(job: Job, context: Context) -> Result:
    spec = job.spec
    sparsity, invert, quotas = spec["sparsity"], spec.get("invert", False), spec.get("quotas")
    method = _method(job)
    if spec.get("rounds", 1) > 1:
        with warnings.catch_warnings():
            # Recorded in the masks and in the result.
            warnings.simplefilter("ignore", UnscoredWarning)
            warnings.simplefilter("ignore", LeftOutWarning)
            chosen = prune(
                _state(job, context, "state"),
                method,
                sparsity=sparsity,
                data=_data(job, context),
                seed=spec["seed"],
                rounds=spec["rounds"],
                invert=invert,
                quotas=quotas,
                scoring_batch=_scoring_batch(job),
                score_dtype=spec.get("score_dtype"),
                tf32=spec.get("tf32", False),
                **_loss(job),
            )
    else:
        survivors = Masks.load(_artifact(context, job.inputs["within"])) if "within" in job.inputs else None
        if "scores" in job.inputs:
            scores = _load_scores(_artifact(context, job.inputs["scores"]))
        else:
            scores = score(_state(job, context, "state"), method, seed=spec["seed"], within=survivors)
        keep = keep_count(sum(layer.numel() for layer in scores.values()), sparsity)
        rounds = Rounds(method.zero_means, within=survivors, invert=invert, quotas=quotas)
        rounds.choose(scores, keep)
        chosen = rounds.finished(share_record(_build(job, context), scores))
    certificates = {"invert": chosen.provenance["certificate"]} if invert else {}
    masks = Masks(chosen, provenance={**chosen.provenance, "job": job.key, "spec": spec})
    masks.save(_artifact(context, job.key))
    initial = _build(job, context)
    found = {"unscored": masks.unscored} | _wiring(initial, masks, _data(job, context).input_shape)
    found |= {"parameters": masks.parameters, "left_out": sum(each.count for each in masks.left_out or ())}
    if spec["method"].get("name") == "magnitude" and not invert:
        found["initial_overlap"] = _initial_overlap(initial, masks)
    return _counts(masks) | found | {"certificates": certificates}


def _train(job: Job, context: Context) -> Result:
    spec, data = job.spec, _data(job, context)
    certificates: Result = {}
    if redraw := REDRAWS.get(spec["weights"]):
        before, build = _state(job, context, "state"), _build_again(job, context)
        model, certificate = redraw.load()(before, seed=spec["seed"], build=build, initial=_build(job, context))
        certificates[spec["weights"]] = certificate.to_dict()
    else:
        model = _state(job, context, "weights")
    masks = Masks.load(_artifact(context, job.inputs["mask"])) if "mask" in job.inputs else None
    wiring: Result = {}
    if masks is not None and spec["shuffle"]:
        with warnings.catch_warnings():
            # Recorded in the certificate, layer by layer.
            warnings.simplefilter("ignore", NoEffectWarning)
            masks = shuffle(masks, seed=spec["seed"])
        certificates["shuffle"] = masks.provenance["certificate"]
        wiring = _wiring(model, masks, data.input_shape)
    trained = train(
        model,
        data.train,
        make_recipe(spec["recipe"], job.files),
        seed=spec["seed"],
        masks=masks,
        test=data.test,
        start=_at_rest(model, spec.get("begins", 0)),
        evaluate_every_epoch=job.curves,
        device=context.device,
    )
    if job.keeps_state:
        trained.checkpoint.settled().save(_artifact(context, job.key))
    if masks is None:
        return _training_result(trained) | {"density": 1.0, "certificates": certificates}
    masks.verify(model)
    certificates["masks held"] = {"zero_after_training": masks.total - masks.kept}
    return _training_result(trained) | _counts(masks) | wiring | {"certificates": certificates}


_WORK: dict[Kind, Callable[[Job, Context], Result]] = {
    "dense": _dense,
    "score": _score,
    "mask": _mask,
    "train": _train,
}


def _at_rest(model: nn.Module, step: int) -> Checkpoint | None:
    """The model as it is, to continue from at a step of the schedule, without momentum; None at its beginning."""
    return dataclasses.replace(Checkpoint.capture(model, step=step), afresh=True) if step else None


def _training_result(trained: Trained) -> Result:
    return {
        "step": trained.checkpoint.step,
        "test_accuracy": trained.test_accuracy,
        "test_loss": trained.test_loss,
        "train_seconds": trained.train_seconds,
        "diverged": trained.diverged,
        "engine": trained.engine,
        "processor": processor(),
        "correct": "" if trained.correct is None else pack(trained.correct.numpy()),
        "curve": {name: [record[name] for record in trained.history] for name in CURVE} if trained.history else {},
    }


def _initial_overlap(initial: nn.Module, masks: Masks) -> float:
    """The share of the kept weights that are among the largest of the initial ones, too; the density is chance."""
    before = select_count({name: weight.detach().abs() for name, weight in prunable(initial).items()}, masks.kept)
    shared = sum(int((masks[name] & before[name]).sum()) for name in masks)
    return shared / max(masks.kept, 1)


def _counts(masks: Masks) -> Result:
    return {"kept": masks.kept, "total": masks.total, "density": masks.density}


def _wiring(model: nn.Module, masks: Masks, input_shape: Sequence[int]) -> Result:
    """Wiring of the subnetwork: effective density, collapsed layers, whether it is cut, and counts for each layer.

    Where the model does what paths cannot be followed through, what needs them is None and `wiring_unknown` says why.
    """
    reason = ""
    try:
        found = topology(model, masks, input_shape=input_shape)
    except Exception as error:
        reason = " ".join(str(error).split())
        found = topology(model, masks)
    effective = found.effective
    return {
        "effective_density": None if effective is None else effective / found.total,
        "collapsed": list(found.collapsed),
        "cut": found.cut,
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "kept": layer.kept,
                "total": layer.total,
                "units_by_kept_inputs": dict(sorted(Counter(layer.kept_inputs).items())),
                "effective": layer.effective,
                "dead_units": layer.units_off_path,
            }
            for layer in found.layers
        ],
    } | ({"wiring_unknown": reason} if reason else {})


def _artifact(context: Context, key: str) -> Place:
    return artifact_place(context.artifacts, key)


def _checkpoint(context: Context, key: str) -> Checkpoint:
    return Checkpoint.load(_artifact(context, key))


def _state(job: Job, context: Context, role: str) -> nn.Module:
    """The network in the state of an input: weights, biases and BatchNorm statistics."""
    model = _build(job, context)
    model.load_state_dict(_checkpoint(context, job.inputs[role]).model)
    return model.to(context.device)


def _build(job: Job, context: Context) -> nn.Module:
    return make_network(job.spec["network"], _data(job, context), job.spec["seed"], job.files)


def _build_again(job: Job, context: Context) -> Callable[[], nn.Module] | None:
    """A user's own network, built afresh: its function alone knows how it is initialised. Ours draw themselves."""
    if "name" in job.spec["network"]:
        return None
    seed = derive(job.spec["seed"], "reinit")
    return lambda: make_network(job.spec["network"], _data(job, context), seed, job.files)


def _method(job: Job) -> Method:
    options = dict(job.spec["options"])
    return make_method(job.spec["method"], options, options.pop("examples_per_class", 10), job.files)


def _data(job: Job, context: Context) -> Dataset:
    return make_data(job.spec["dataset"], context.data_dir, job.spec.get("normalise", "own"))


def _loss(job: Job) -> dict[str, Any]:
    """The argument `loss` of scores: that of training, without label smoothing; none is cross-entropy."""
    if "loss" not in job.spec:
        return {}
    recipe = make_recipe({"epochs": 1, "loss": job.spec["loss"]}, job.files)
    return {"loss": make_loss(recipe).mean}


def _scoring_batch(job: Job) -> int:
    return job.spec.get("scoring_batch", SCORING_BATCH)


def _save_scores(scores: Mapping[str, Tensor], place: Place) -> None:
    # The order of the layers breaks ties between scores, and safetensors keeps none.
    write_artifact(place, _SCORES, plain_copies(scores), {"order": json.dumps(list(scores))})


def _load_scores(place: Place) -> dict[str, Tensor]:
    artifact = read_artifact(place, _SCORES)
    with artifact.explained():
        return {name: artifact.tensors[name] for name in artifact.json("order")}
