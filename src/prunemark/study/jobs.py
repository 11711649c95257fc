"""The work of each kind of job: inputs -> artifact and numbers. The only place where planning meets torch."""

import dataclasses
import errno
import json
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from prunemark import artifacts
from prunemark.ablations import NoEffectWarning, shuffle
from prunemark.artifacts import (
    DamagedArtifactError,
    Format,
    Place,
    Written,
    artifact_place,
    plain_copies,
    read_artifact,
    write_artifact,
)
from prunemark.connectivity import topology
from prunemark.datasets import Dataset, Split
from prunemark.masks import Masks
from prunemark.methods import Method
from prunemark.models.left_out import LeftOutWarning, share_record
from prunemark.models.precision import true_float32
from prunemark.models.prunable import prunable
from prunemark.parts import Keeper, part_place
from prunemark.pruning import prune, score
from prunemark.pruning.rounds import Rounds
from prunemark.pruning.selection import keep_count, select_count
from prunemark.pruning.unscored import UnscoredWarning
from prunemark.randomness import derive
from prunemark.study.correctness import pack
from prunemark.study.devices import device_words
from prunemark.study.job import CURVE, Context, Job, Kind, Outcome, printable
from prunemark.study.materials import (
    data_of,
    make_method,
    make_network,
    make_recipe,
    make_training_split,
    metric_name,
    require_covered_files,
    require_packages,
)
from prunemark.study.processor import processor
from prunemark.terms.ablations import REDRAWS
from prunemark.terms.scoring import SCORING_BATCH
from prunemark.training import Checkpoint, Trained, train
from prunemark.training.engines.sparse.kernels import available_kernels
from prunemark.training.losses import make_loss
from prunemark.training.measuring import measure
from prunemark.version import __version__

try:
    import resource
except ImportError:  # not on Windows
    resource = None

Result = dict[str, Any]
Content = TypeVar("Content", covariant=True)
_SCORES = Format("scores", "prunemark.scores/1")
_WRITTEN = "written"  # of a result: what its artifact was written as, which the outcome says


class UnusableInputError(Exception):
    """The artifact of an input is missing or damaged: its job has to be done again."""

    def __init__(self, key: str, reason: Exception) -> None:
        super().__init__(str(reason))
        self.key = key


Tell = Callable[[dict[str, Any]], None]
"""Called with what there is to say of a job under way: fields of `prunemark.study.job.Underway`."""


def settle_process(memory_gib: float | None = None) -> None:
    """Make this process a worker: one thread, no slow arithmetic on numbers next to zero, and no more memory than that.

    Args:
        memory_gib: memory that it, or any process that it starts, may take for itself; where the system has such a
            limit. A request for more fails.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if memory_gib is not None and resource is not None:
        most = int(memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def execute(job: Job, context: Context, tell: Tell = lambda _: None) -> Outcome:
    """Do one job: read the artifacts it needs, write its own, return its numbers.

    The outcome depends on the job alone. Whatever goes wrong in it is an outcome too, with status "failed".
    """
    began, before = time.perf_counter(), set(sys.modules)
    try:
        require_packages(job.spec)
        with true_float32(tf32=job.spec.get("tf32", False)):
            result = _WORK[job.kind](job, context, _keeper(job, context, tell))
        require_covered_files(job.files, before)
    except UnusableInputError as error:
        return _outcome(job, context, began, status="failed", error=str(error), unusable={error.key: str(error)})
    except (Exception, SystemExit) as error:
        return _outcome(job, context, began, status="failed", **_failure(error, context))
    status = "diverged" if result.pop("diverged", False) else "done"
    written: Written | None = result.pop(_WRITTEN, None)
    seal = {} if written is None else {"digest": written.digest, "size": written.size}
    return _outcome(job, context, began, status=status, result=result, **seal)


def _failure(error: BaseException, context: Context) -> dict[str, Any]:
    try:
        text = str(error)
    except Exception:
        text = "(it cannot say why)"
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and _was_ours(error)
    if context.memory_gib and (isinstance(error, MemoryError) or "allocate memory" in text):
        text += f" (a job may take {context.memory_gib:g} GiB: --job-memory)"
    details = "".join(traceback.format_exception(error))
    return {"error": printable(f"{type(error).__name__}: {text}\n{details}"), "disk_full": full}


def _was_ours(error: BaseException) -> bool:
    """Whether an artifact was being written, and not something of a user's, elsewhere."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename == artifacts.__file__ for frame, _ in frames)


def _outcome(job: Job, context: Context, began: float, **fields: Any) -> Outcome:
    seconds = time.perf_counter() - began
    return Outcome(seconds=seconds, device=device_words(context.device), torch_version=str(torch.__version__), **fields)


def _keeper(job: Job, context: Context, tell: Tell) -> Keeper:
    # What is not part of the job's key, and of which what was kept depends: its curve and time begin at its input.
    inputs = {role: (key, job.digests.get(key, "")) for role, key in sorted(job.inputs.items())}
    identity = {
        "inputs": json.dumps(inputs),
        "curves": str(job.curves),
        "code": __version__,
        "torch": str(torch.__version__),
        "device": device_words(context.device),
        "engine": context.engine,
        "processor": processor(),
        "kernels": ", ".join(available_kernels()),
    }
    place = part_place(context.artifacts, job.key)
    return Keeper(place, every_s=context.checkpoint_s, identity=identity, tell=tell)


def _dense(job: Job, context: Context, keeper: Keeper) -> Result:
    spec, data = job.spec, _data(job, context)
    model = _build(job, context)
    if spec["step"] == 0:
        return {"step": 0, "train_seconds": 0.0, _WRITTEN: Checkpoint.capture(model).save(_own_place(job, context))}
    recipe = make_recipe(spec["recipe"], job.files)
    start = _input(job, context, "start", Checkpoint.load)
    ends = spec["step"] == recipe.total_steps(len(data.train))
    trained = train(
        model,
        _training_split(job, context),
        recipe,
        seed=spec["seed"],
        test=data.test if ends or job.curves else None,
        start=start,
        until=spec["step"],
        evaluate_every_epoch=job.curves,
        engine=context.engine,
        device=context.device,
        keeper=keeper,
    )
    result = _training_result(trained)
    # Of a moving average, training goes on from the weights, and ends in the average.
    ended = trained.checkpoint.settled() if ends else trained.checkpoint
    result[_WRITTEN] = ended.save(_own_place(job, context))
    if result["curve"] and start.step % recipe.steps_per_epoch(len(data.train)):
        # The first of its epochs began in the stretch before: a mean over the rest of it is not the epoch's.
        result["curve"]["train_loss"][0] = None
    return result | ({"density": 1.0} | _measured(job, model, data) if ends else {})


def _score(job: Job, context: Context, _: Keeper) -> Result:
    scores = score(
        _state(job, context, "state"),
        _method(job),
        data=_data(job, context),
        seed=job.spec["seed"],
        scoring_batch=_scoring_batch(job),
        score_dtype=job.spec.get("score_dtype"),
        tf32=job.spec.get("tf32", False),
        **_loss(job, _data(job, context)),
    )
    written = _save_scores(scores, _own_place(job, context))
    return {"layers": {name: list(tensor.shape) for name, tensor in scores.items()}, _WRITTEN: written}


def _mask(job: Job, context: Context, keeper: Keeper) -> Result:
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
                **_loss(job, _data(job, context)),
                # What code of others keeps to itself between rounds is not known.
                keeper=None if job.foreign else keeper,
            )
    else:
        survivors = _input(job, context, "within", Masks.load) if "within" in job.inputs else None
        if "scores" in job.inputs:
            scores = _input(job, context, "scores", _load_scores)
        else:
            scores = score(_state(job, context, "state"), method, seed=spec["seed"], within=survivors)
        keep = keep_count(sum(layer.numel() for layer in scores.values()), sparsity)
        rounds = Rounds(method.zero_means, within=survivors, invert=invert, quotas=quotas)
        rounds.choose(scores, keep)
        chosen = rounds.finished(share_record(_build(job, context), scores))
    certificates = {"invert": chosen.provenance["certificate"]} if invert else {}
    masks = Masks(chosen, provenance={**chosen.provenance, "job": job.key, "spec": spec})
    written = masks.save(_own_place(job, context))
    initial = _build(job, context)
    found = {"unscored": masks.unscored} | _wiring(initial, masks, _data(job, context).input_shape)
    found |= {"parameters": masks.parameters, "left_out": sum(each.count for each in masks.left_out or ())}
    if spec["method"].get("name") == "magnitude" and not invert:
        found["initial_overlap"] = _initial_overlap(initial, masks)
    return _counts(masks) | found | {"certificates": certificates, _WRITTEN: written}


def _train(job: Job, context: Context, keeper: Keeper) -> Result:
    spec, data = job.spec, _data(job, context)
    certificates: Result = {}
    if redraw := REDRAWS.get(spec["weights"]):
        before, build = _state(job, context, "state"), _build_again(job, context)
        model, certificate = redraw.load()(before, seed=spec["seed"], build=build, initial=_build(job, context))
        certificates[spec["weights"]] = certificate.to_dict()
    else:
        model = _state(job, context, "weights")
    masks = _input(job, context, "mask", Masks.load) if "mask" in job.inputs else None
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
        _training_split(job, context),
        make_recipe(spec["recipe"], job.files),
        seed=spec["seed"],
        masks=masks,
        test=data.test,
        start=_at_rest(model, spec.get("begins", 0)),
        evaluate_every_epoch=job.curves,
        engine=context.engine,
        device=context.device,
        keeper=keeper,
    )
    result = _training_result(trained) | _measured(job, model, data) | {"certificates": certificates}
    if job.keeps_state:
        result[_WRITTEN] = trained.checkpoint.settled().save(_own_place(job, context))
    if masks is None:
        return result | {"density": 1.0}
    masks.verify(model)
    certificates["masks held"] = {"zero_after_training": masks.total - masks.kept}
    return result | _counts(masks) | wiring


_WORK: dict[Kind, Callable[[Job, Context, Keeper], Result]] = {
    "dense": _dense,
    "score": _score,
    "mask": _mask,
    "train": _train,
}


def _at_rest(model: nn.Module, step: int) -> Checkpoint | None:
    """The model as it is, to continue from at a step of the schedule, without momentum; None at its beginning."""
    return dataclasses.replace(Checkpoint.capture(model, step=step), afresh=True) if step else None


def _measured(job: Job, model: nn.Module, data: Dataset) -> Result:
    """The value of a metric of the user's, of the network that training has come to."""
    name = metric_name(job)
    return {"metric_value": measure(model, data.test, name)} if name else {}


def _training_result(trained: Trained) -> Result:
    return {
        "step": trained.checkpoint.step,
        "test_accuracy": trained.test_accuracy,
        "test_loss": trained.test_loss,
        "train_seconds": trained.train_seconds,
        "diverged": trained.diverged,
        "engine": trained.engine,
        "engine_reason": trained.engine_reason,
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


def _own_place(job: Job, context: Context) -> Place:
    return artifact_place(context.artifacts, job.key)


class _Load(Protocol[Content]):
    def __call__(self, path: Place, /, *, digest: str | None) -> Content: ...


def _input(job: Job, context: Context, role: str, load: _Load[Content]) -> Content:
    """The content of the artifact of an input, verified."""
    key = job.inputs[role]
    try:
        return load(artifact_place(context.artifacts, key), digest=job.digests.get(key))
    except (DamagedArtifactError, OSError) as error:
        raise UnusableInputError(key, error) from error


def _state(job: Job, context: Context, role: str) -> nn.Module:
    """The network in the state of an input: weights, biases and BatchNorm statistics."""
    model = _build(job, context)
    model.load_state_dict(_input(job, context, role, Checkpoint.load).model)
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
    return data_of(job, context.data_dir)


def _training_split(job: Job, context: Context) -> Split:
    _data(job, context)  # is what it was when the study began
    name = job.data or job.spec["dataset"]
    return make_training_split(name, context.data_dir, job.spec.get("normalise", "own"), context.device)


def _loss(job: Job, data: Dataset) -> dict[str, Any]:
    """The argument `loss` of scores: that of training, without label smoothing; none is cross-entropy."""
    if "loss" not in job.spec and data.task != "next-token":
        return {}
    recipe = make_recipe({"epochs": 1, "loss": job.spec.get("loss", "cross-entropy")}, job.files)
    return {"loss": make_loss(recipe).mean}


def _scoring_batch(job: Job) -> int:
    return job.spec.get("scoring_batch", SCORING_BATCH)


def _save_scores(scores: Mapping[str, Tensor], place: Place) -> Written:
    # The order of the layers breaks ties between scores, and safetensors keeps none.
    return write_artifact(place, _SCORES, plain_copies(scores), {"order": json.dumps(list(scores))})


def _load_scores(place: Place, *, digest: str | None = None) -> dict[str, Tensor]:
    artifact = read_artifact(place, _SCORES, digest=digest)
    with artifact.explained():
        return {name: artifact.tensors[name] for name in artifact.json("order")}
