"""Running a study: the driver that hands out jobs and writes down what comes of them."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prunemark.datasets import facts_text, short_dataset
from prunemark.datasets.files import data_folder
from prunemark.study.disk import Sizes, needed_bytes, require_room
from prunemark.study.driver import Driver
from prunemark.study.executors import ClusterOptions
from prunemark.study.executors.sites import Site, open_site
from prunemark.study.job import Context, Job
from prunemark.study.judging import judge_stored
from prunemark.study.plan import Plan, plan
from prunemark.study.preflight import Findings, has_data, preflight
from prunemark.study.progress import Looked, Planned, Progress
from prunemark.study.rehearsal import CHECK_TIMEOUT_S, rehearse
from prunemark.study.restoring import note
from prunemark.study.schedule import critical_paths, pending
from prunemark.study.spec import Study
from prunemark.study.stopping import Stopping, require_same_looks
from prunemark.study.store import Store
from prunemark.study.tracking import tracked
from prunemark.training.engines import require_engine

# Until the first worker has loaded torch and the data; measured.
_STARTUP_SECONDS = 4.0
CHECKPOINT_MINUTES = 5.0
"""Minutes of work that a job which is killed loses at most, unless a run says otherwise."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Summary of a run, in jobs.

    Attributes:
        done: finished in this run, those that diverged included.
        failed: failed in this run, those given up because of another included.
        skipped: there already.
        left: not done, because the run was interrupted or was dry.
        seconds: how long it took.
        interrupted: whether Ctrl-C stopped it; run the same again to resume.
        failures: of each job that failed by itself, its key and why, in one line.
        notes: what was found damaged of what is stored, and what was done about it.
    """

    done: int
    failed: int
    skipped: int
    left: int
    seconds: float
    interrupted: bool = False
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def run(
    study: Study | str | Path,
    *,
    out: str | Path,
    workers: int | None = None,
    executor: str = "local",
    address: str | None = None,
    cpus_per_job: float | None = None,
    gpus_per_job: float | None = None,
    device: str = "auto",
    workers_per_device: int | None = None,
    engine: str = "dense",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
    check_timeout_s: float | None = None,
    job_timeout_s: float | None = None,
    job_memory_gib: float | None = None,
    track: str | None = None,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
) -> RunSummary:
    """Run what is missing of a study, and store it in a folder.

    A finished job is never run twice: a study that was interrupted, killed or extended resumes where it was.
    The results do not depend on the number of workers or on what was there before. A job that fails takes only what
    needs it along, and is tried again by the next run. Device and engine are not part of a job's identity: results of
    another device or engine are taken as they are, and told apart by their columns.

    Args:
        study: a Study, or what `Study.load` takes.
        out: the folder; several studies may share one.
        workers: how many jobs run at the same time; by default one per usable core, or `workers_per_device` per GPU; on
            a cluster as many as fit on its nodes.
        executor: a name in EXECUTORS: "local", or "ray" for the nodes of a Ray cluster, which share the folder.
        address: of the cluster: HOST:PORT, "ray://HOST:PORT", or "auto" for that of this machine; None = "auto".
        cpus_per_job: cores that the cluster sets aside for each job, which computes with one thread; None = 1.
        gpus_per_job: GPUs, or a fraction of one, likewise; None = 1 on cuda, else 0.
        device: "cpu", "cuda" (all GPUs), "cuda:1" (one of them), "mps", or "auto": cuda where there is one, else cpu;
            on a cluster "cpu", "cuda", or "auto": cuda where `gpus_per_job` is above 0.
        workers_per_device: how many jobs share a GPU of this machine; None = 1. Small networks leave a GPU idle most of
            the time.
        engine: what takes the steps of training: "dense", "sparse" (a network that it cannot train is a problem of the
            study), or "auto": for each training sparse where the masks leave few multiplications, else dense.
        data_dir: folder that holds the data sets, see `prunemark.dataset`.
        progress: called with a `Planned` before anything runs, with an `Advanced` after each job, with what is
            `Working` once a second, and with a `Slow` or `Resumed` job once each.
        dry_run: stop after `Planned`, and write and download nothing; where the data are not here, the time of a step
            is measured on random images. What the layers cost by each engine is measured, too.
        check_timeout_s: seconds that each network or method of the user's own may take when it is checked,
            which a process of its own does before anything runs; None = 300.
        job_timeout_s: seconds that a job may take; one that takes more is ended and has failed. None = no limit.
        job_memory_gib: GiB of memory that the process of a worker, torch included, may take for itself; what asks
            for more fails. None = no limit. On Linux alone.
        track: "tensorboard", "mlflow" or "wandb", or one of them with ":TARGET": where the curve and results of each
            trial go, too, see `prunemark.study.tracking.TRACKERS`. What fails there changes nothing of the study.
        checkpoint_minutes: minutes after which a job that still runs writes down how far it is. When the run is
            stopped or killed, the next one resumes it there, and gets the same numbers.

    Raises:
        StudyError: the study has problems.
        ValueError: an unknown executor, tracker, device or engine, an engine or tracker that is not installed, workers
            below 1, a limit that is not above 0, data that are missing or damaged, options of a cluster for an executor
            that has none, or a cluster with no room for a job.
        StoreError: the folder cannot be used, another process is writing to it, or its disk has no room.
        ExecutorError: workers cannot be started, the executor's package is not installed, or its cluster does not
            answer.

    Examples:
        >>> fields = {"network": "lenet-300-100", "dataset": "digits", "recipe": {"epochs": 1}, "replicates": 1}
        >>> study = pm.Study(name="small", methods=["snip"], sparsities=[0.9], **fields)
        >>> pm.run(study, out="results").failed
        0
    """
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        # A study of hub data reads them for their shape, and knows no folder.
        stack.enter_context(data_folder(data_dir))
        study = study if isinstance(study, Study) else Study.load(study)
        if not dry_run:
            progress = stack.enter_context(tracked(progress, track, out, study.name))
        options = ClusterOptions(address=address, cpus_per_job=cpus_per_job, gpus_per_job=gpus_per_job)
        site = stack.enter_context(
            open_site(executor, device, workers=workers, per_device=workers_per_device, options=options)
        )
        require_engine(engine)
        workers = len(site.devices)
        _require_above_0(
            job_timeout_s=job_timeout_s, job_memory_gib=job_memory_gib, checkpoint_minutes=checkpoint_minutes
        )
        store, begun = None, 0
        if Store.is_in(out):
            store = stack.enter_context(Store.reading(out)) if dry_run else _writing(out, progress, stack)
            require_same_looks(store.studies().get(study.name), study, out)
            begun = store.replicates(study.name) if study.looks else 0
            begun = begun if begun in study.sizes else 0  # fewer than any look, of a number that was fixed
        job_plan, jobs, stopping = _resumed(study, begun, store, dry_run)
        skipped = len(job_plan.jobs) - len(jobs)
        folder = None if data_dir is None else str(Path(data_dir).expanduser().absolute())
        found = Findings(step_seconds=0.0, fingerprint="", share="")
        if jobs:
            here = not dry_run or has_data(study, data_dir)
            if not here:
                job_plan = replace(job_plan, notes=(*job_plan.notes, _without_data(study.dataset)))
            found = _found(
                study,
                folder,
                site.checked_on,
                engine,
                here,
                costs=dry_run,
                timeout_s=check_timeout_s or CHECK_TIMEOUT_S,
            )
            notes = [found.share, *([_timed_elsewhere(site)] if site.checked_on != site.device else [])]
            job_plan = replace(job_plan, notes=(*job_plan.notes, *notes))
        step_seconds = found.step_seconds
        if progress:
            progress(
                Planned(
                    plan=job_plan,
                    jobs=len(jobs),
                    steps=sum(job.steps for job in jobs),
                    seconds=_expected_seconds(jobs, step_seconds, min(workers, site.cores)),
                    step_seconds=step_seconds,
                    workers=workers,
                    device=site.device,
                    engines=found.engine,
                    most_seconds=_expected_seconds(_left(plan(study), store), step_seconds, min(workers, site.cores))
                    if study.looks
                    else 0.0,
                )
            )
        if dry_run:
            return RunSummary(done=0, failed=0, skipped=skipped, left=len(jobs), seconds=time.perf_counter() - began)
        if not jobs:
            if progress and stopping:
                progress(Looked(stopping=stopping, jobs=0))
            seconds, notes = time.perf_counter() - began, tuple(store.notes) if store else ()
            return RunSummary(done=0, failed=0, skipped=skipped, left=0, seconds=seconds, notes=notes)
        sizes = Sizes(state=found.state_bytes, weights=found.weights)
        require_room(out, needed_bytes(jobs, sizes, workers))
        if store is None:
            # A new folder only now, so that a study with problems leaves none behind. Meanwhile another driver may have
            # been here: what it did is not done again.
            store = _writing(out, progress, stack)
            require_same_looks(store.studies().get(study.name), study, out)
            jobs = _left(job_plan, store)
            skipped = len(job_plan.jobs) - len(jobs)
        _require_data(store, study, found.fingerprint)
        store.begin(job_plan)
        context = Context(
            artifacts=str(store.artifacts.absolute()),
            device=site.device,
            devices=site.devices,
            engine=engine,
            data_dir=folder,
            memory_gib=job_memory_gib,
            checkpoint_s=60 * checkpoint_minutes,
        )
        driver = Driver(store, job_plan, progress, step_seconds, began, job_timeout_s=job_timeout_s)
        interrupted = False
        try:
            # Later looks have jobs for more workers than what an interrupted one left.
            crew = site.executor(context, min(workers, len(job_plan.jobs if study.looks else jobs)), store.log)
            stack.callback(crew.close)
            driver.drive(crew, jobs)
            while further := _further(job_plan, stopping := _look(store, study)):
                store.begin(further)
                jobs = _left(further, store, since=job_plan.replicates)
                job_plan = driver.restoring.plan = further
                skipped = len(job_plan.jobs) - driver.jobs_total - len(jobs)
                driver.tell(stopping, len(jobs))
                driver.drive(crew, jobs)
            driver.tell(stopping, 0)
        except KeyboardInterrupt:
            interrupted = True
        return RunSummary(
            done=driver.done,
            failed=driver.failed,
            skipped=skipped,
            left=driver.jobs_total - driver.done - driver.failed,
            seconds=time.perf_counter() - began,
            interrupted=interrupted,
            failures=tuple(driver.failures),
            notes=tuple(store.notes),
        )


def _require_data(store: Store, study: Study, fingerprint: str) -> None:
    """Record what the study's data are, or raise StoreError: they are not what they were."""
    told_apart = study.dataset if study.normalise == "own" else f"{study.dataset}, normalise = {study.normalise}"
    problem = f"the data set {short_dataset(study.dataset)} has changed"
    store.require_fact(f"data set {told_apart}", fingerprint, problem)
    if study.data.fingerprint:
        # For reports, which do not read it.
        store.require_fact(f"facts of {study.dataset}", facts_text(study.data), problem)


def _require_above_0(**limits: float | None) -> None:
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be above 0; got {limit:g}")


def _found(
    study: Study, data_dir: str | None, device: str, engine: str, here: bool, *, costs: bool, timeout_s: float
) -> Findings:
    """Findings of the preflight, which has a process of its own where code of the user's is run."""
    if study.own_code:
        return rehearse(
            study, data_dir=data_dir, device=device, engine=engine, here=here, costs=costs, timeout_s=timeout_s
        )
    return preflight(study, data_dir=data_dir, device=device, engine=engine, here=here, costs=costs)


def _writing(out: str | Path, progress: Progress | None, stack: contextlib.ExitStack) -> Store:
    """The store, open to be written, and what was found damaged in it said."""
    store = stack.enter_context(Store.writing(out))
    found, store.notes = store.notes, []
    for text in found:
        note(store, text, progress)
    return store


def _left(job_plan: Plan, store: Store | None, *, since: int = 0) -> list[Job]:
    """The jobs that are left to do for the replicates from `since` on."""
    if store is None:
        return list(job_plan.jobs)
    wanted = replace(job_plan, trials=tuple(trial for trial in job_plan.trials if trial.replicate >= since))
    return pending(wanted, store.finished(), store.has_artifact)


def _resumed(study: Study, begun: int, store: Store | None, dry_run: bool) -> tuple[Plan, list[Job], Stopping | None]:
    """The plan up to the next look, the jobs that are left of it, and what the last look said."""
    job_plan = plan(study, begun or study.sizes[0])
    jobs = _left(job_plan, store)
    stopping = None
    # What a look found follows from what is stored, so that a run that was stopped there decides alike.
    while store and not dry_run and not jobs:
        store.begin(job_plan)
        stopping = _look(store, study)
        further = _further(job_plan, stopping)
        if further is None:
            break
        job_plan, jobs = further, _left(further, store)
    return job_plan, jobs, stopping


def _look(store: Store, study: Study) -> Stopping | None:
    """The state of a study with looks, by its results; None if its number of replicates is fixed."""
    return judge_stored(store, study.name).stopping if study.looks else None


def _further(job_plan: Plan, stopping: Stopping | None) -> Plan | None:
    """The plan up to the next look; None where the study has ended."""
    return None if stopping is None or stopping.stops else plan(job_plan.study, stopping.following)


def _without_data(name: str) -> str:
    return (
        f"{name} is not here (prunemark data fetch {name}): the time is measured on random images, and whether each "
        "class has enough examples is not known"
    )


def _timed_elsewhere(site: Site) -> str:
    return f"jobs run on {site.device}, which this machine has not: the time of a step is that of its {site.checked_on}"


def _expected_seconds(jobs: Sequence[Job], step_seconds: float, cores: int) -> float:
    if not jobs:
        return 0.0
    shared = sum(job.cost for job in jobs) / min(cores, len(jobs))
    longest_chain = max(critical_paths(jobs).values())
    return _STARTUP_SECONDS + step_seconds * max(shared, longest_chain)
