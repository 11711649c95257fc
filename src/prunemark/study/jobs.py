"""What each kind of job does: inputs -> artifact and numbers. The only place where planning meets torch."""

import json
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from prunemark.ablations import NoEffectWarning, certify_invert, certify_reinit, reinitialize, shuffle
from prunemark.artifacts import write_atomically
from prunemark.connectivity import topology
from prunemark.datasets import Dataset
from prunemark.masks import Masks
from prunemark.methods import Method
from prunemark.models.precision import true_float32
from prunemark.pruning import prune, score
from prunemark.pruning.quotas import quotas
from prunemark.pruning.selection import keep_count, select
from prunemark.pruning.unscored import UnscoredWarning, unscored, zero_means
from prunemark.recipes import Recipe
from prunemark.study.job import Context, Job, Kind, Outcome
from prunemark.study.materials import make_data, make_method, make_network
from prunemark.training import Checkpoint, Trained, train

Result = dict[str, Any]


def settle_process() -> None:
    """Make this process a worker: one thread, and no slow arithmetic on numbers next to zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def execute(job: Job, context: Context) -> Outcome:
    """Do one job: read the artifacts it needs, write its own, return its numbers.

    The outcome depends on the job alone. Whatever goes wrong in it is an outcome too, with status "failed".
    """
    began = time.perf_counter()
    try:
        with true_float32(tf32=job.spec.get("tf32", False)):
            result = _WORK[job.kind](job, context)
    except Exception as error:
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
    recipe = Recipe(**spec["recipe"])
    ends = spec["step"] == recipe.total_steps(len(data.train))
    trained = train(
        model,
        data.train,
        recipe,
        seed=spec["seed"],
        test=data.test if ends else None,
        start=_checkpoint(context, job.inputs["start"]),
        until=spec["step"],
        device=context.device,
    )
    trained.checkpoint.save(_artifact(context, job.key))
    return _training_result(trained) | ({"density": 1.0} if ends else {})


def _score(job: Job, context: Context) -> Result:
    scores = score(
        _state(job, context, "state"),
        _method(job),
        data=_data(job, context),
        seed=job.spec["seed"],
        score_dtype=job.spec.get("score_dtype"),
        tf32=job.spec.get("tf32", False),
    )
    _save_scores(scores, _artifact(context, job.key))
    return {"layers": {name: list(tensor.shape) for name, tensor in scores.items()}}


def _mask(job: Job, context: Context) -> Result:
    spec = job.spec
    sparsity, invert = spec["sparsity"], spec.get("invert", False)
    certificates: Result = {}
    if "within" in job.inputs:
        survivors = Masks.load(_artifact(context, job.inputs["within"]))
        scores = score(_state(job, context, "state"), _method(job), seed=spec["seed"], within=survivors)
        chosen = select(scores, sparsity=sparsity, within=survivors)
    elif "scores" in job.inputs:
        scores = _load_scores(_artifact(context, job.inputs["scores"]))
        budget = None
        if spec["quotas"]:
            shapes = {name: layer.shape for name, layer in scores.items()}
            keep = keep_count(sum(layer.numel() for layer in scores.values()), sparsity)
            budget = quotas(spec["quotas"], shapes, keep)
        chosen = select(scores, sparsity=sparsity, invert=invert, quotas=budget)
        zeros = unscored(scores, chosen, meaning=zero_means(_method(job)), per_layer=budget is not None)
        chosen.provenance["unscored"] = {name: int(zero.sum()) for name, zero in zeros.items()}
        if invert:
            proof = certify_invert(scores, chosen, per_layer=budget is not None)
            certificates["invert"] = replace(proof, unscored=chosen.unscored).to_dict()
    else:
        with warnings.catch_warnings():
            # Recorded in the masks and in the result.
            warnings.simplefilter("ignore", UnscoredWarning)
            chosen = prune(
                _state(job, context, "state"),
                _method(job),
                sparsity=sparsity,
                data=_data(job, context),
                seed=spec["seed"],
                rounds=spec["rounds"],
                invert=invert,
                quotas=spec["quotas"],
                score_dtype=spec.get("score_dtype"),
                tf32=spec.get("tf32", False),
            )
        if invert:
            certificates["invert"] = chosen.provenance["certificate"]
    masks = Masks(chosen, provenance={**chosen.provenance, "job": job.key, "spec": spec})
    masks.save(_artifact(context, job.key))
    said = {"layers": _layers(_build(job, context), masks), "certificates": certificates}
    return _counts(masks) | {"unscored": masks.unscored} | said


def _train(job: Job, context: Context) -> Result:
    spec, data = job.spec, _data(job, context)
    certificates: Result = {}
    if spec["weights"] == "reinit":
        before = _state(job, context, "state")
        model = reinitialize(before, seed=spec["seed"])
        certificates["reinit"] = certify_reinit(before, model).to_dict()
    else:
        model = _state(job, context, "weights")
    masks = Masks.load(_artifact(context, job.inputs["mask"])) if "mask" in job.inputs else None
    layers: Result = {}
    if masks is not None and spec["shuffle"]:
        with warnings.catch_warnings():
            # Recorded in the certificate, layer by layer.
            warnings.simplefilter("ignore", NoEffectWarning)
            masks = shuffle(masks, seed=spec["seed"])
        certificates["shuffle"] = masks.provenance["certificate"]
        layers["layers"] = _layers(model, masks)
    trained = train(
        model,
        data.train,
        Recipe(**spec["recipe"]),
        seed=spec["seed"],
        masks=masks,
        test=data.test,
        device=context.device,
    )
    if job.keeps_state:
        trained.checkpoint.save(_artifact(context, job.key))
    if masks is None:
        return _training_result(trained) | {"density": 1.0, "certificates": certificates}
    masks.verify(model)
    certificates["masks held"] = {"zero_after_training": masks.total - masks.kept}
    return _training_result(trained) | _counts(masks) | layers | {"certificates": certificates}


_WORK: dict[Kind, Callable[[Job, Context], Result]] = {
    "dense": _dense,
    "score": _score,
    "mask": _mask,
    "train": _train,
}


def _training_result(trained: Trained) -> Result:
    return {
        "step": trained.checkpoint.step,
        "test_accuracy": trained.test_accuracy,
        "test_loss": trained.test_loss,
        "train_seconds": trained.train_seconds,
        "diverged": trained.diverged,
        "history": trained.history,
    }


def _counts(masks: Masks) -> Result:
    return {"kept": masks.kept, "total": masks.total, "density": masks.density}


def _layers(model: nn.Module, masks: Masks) -> list[Result]:
    """Per layer: name, shape, counts, and how many units keep how many inputs, as {kept inputs: units}."""
    return [
        {
            "name": layer.name,
            "shape": list(layer.shape),
            "kept": layer.kept,
            "total": layer.total,
            "units_by_kept_inputs": dict(sorted(Counter(layer.kept_inputs).items())),
        }
        for layer in topology(model, masks).layers
    ]


def _artifact(context: Context, key: str) -> Path:
    return Path(context.artifacts) / f"{key}.safetensors"


def _checkpoint(context: Context, key: str) -> Checkpoint:
    return Checkpoint.load(_artifact(context, key))


def _state(job: Job, context: Context, role: str) -> nn.Module:
    """The network in the state of an input: weights, biases and BatchNorm statistics."""
    model = _build(job, context)
    model.load_state_dict(_checkpoint(context, job.inputs[role]).model)
    return model.to(context.device)


def _build(job: Job, context: Context) -> nn.Module:
    return make_network(job.spec["network"], _data(job, context), job.spec["seed"], job.files)


def _method(job: Job) -> Method:
    options = dict(job.spec["options"])
    return make_method(job.spec["method"], options, options.pop("examples_per_class", 10), job.files)


def _data(job: Job, context: Context) -> Dataset:
    return make_data(job.spec["dataset"], context.data_dir)


def _save_scores(scores: Mapping[str, Tensor], path: Path) -> None:
    # The order of the layers breaks ties between scores, and safetensors keeps none.
    tensors = {name: tensor.cpu().contiguous() for name, tensor in scores.items()}
    write_atomically(path, save(tensors, {"format": "prunemark.scores/1", "order": json.dumps(list(scores))}))


def _load_scores(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in json.loads(file.metadata()["order"])}
