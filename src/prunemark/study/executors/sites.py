"""The site of a run: which executor, how many jobs it takes at the same time, and on what they compute."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace

import torch

from prunemark.registry import find
from prunemark.study.devices import devices_of_workers
from prunemark.study.executors import EXECUTORS, Cluster, ClusterOptions, MakeExecutor
from prunemark.study.executors.local import usable_cores


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where jobs run.

    Attributes:
        executor: makes the executor.
        device: where jobs compute.
        checked_on: the device of this machine on which the study is checked and a training step is timed.
        devices: that of each worker.
        cores: how many jobs can compute at the same time without slowing each other down.
    """

    executor: MakeExecutor
    device: str
    checked_on: str
    devices: tuple[str, ...]
    cores: int


@contextmanager
def open_site(
    name: str, device: str, *, workers: int | None = None, per_device: int | None = None, options: ClusterOptions
) -> Generator[Site]:
    """The site that an executor makes, as long as it is needed.

    Args:
        name: in EXECUTORS.
        device: "cpu", "cuda", "mps" or "auto".
        workers: how many jobs run at the same time; None = as many as there is room for.
        per_device: how many at most share a GPU of this machine.
        options: of a cluster.

    Raises:
        ValueError: no such executor or device, numbers below 1, or options of a cluster for an executor that has none,
            or the other way round.
        ExecutorError: the cluster does not answer.
    """
    entry = find(EXECUTORS, "executor", name)
    if not entry.is_cluster:
        if given := [option for option, value in asdict(options).items() if value is not None]:
            raise ValueError(f'{", ".join(given)}: executor "{name}" runs on this machine alone; use executor "ray"')
        device = usable_device(device)
        gpus, cores = torch.cuda.device_count() if device.startswith("cuda") else 0, usable_cores()
        devices = devices_of_workers(device, workers=workers, per_device=per_device, gpus=gpus, cores=cores)
        yield Site(executor=entry.load(), device=device, checked_on=device, devices=devices, cores=cores)
        return
    if per_device is not None:
        raise ValueError(f'workers per device are of this machine; on executor "{name}" give gpus_per_job')
    for option in ("cpus_per_job", "gpus_per_job"):
        value: float | None = getattr(options, option)
        if value is not None and value < 0:
            raise ValueError(f"{option} must be at least 0; got {value:g}")
    if device == "auto":
        device = "cuda" if options.gpus_per_job else "cpu"
    if device not in ("cpu", "cuda"):
        # Which GPU, the cluster decides.
        raise ValueError(f'on executor "{name}" device must be cpu, cuda or auto, not "{device}"')
    on_gpu = device == "cuda"
    if on_gpu and options.gpus_per_job == 0:
        raise ValueError('device "cuda" needs gpus_per_job above 0')
    options = replace(
        options,
        cpus_per_job=1.0 if options.cpus_per_job is None else options.cpus_per_job,
        gpus_per_job=float(on_gpu) if options.gpus_per_job is None else options.gpus_per_job,
    )
    cluster: Cluster = entry.load()(options)
    with closing(cluster):
        cores = cluster.slots
        devices = devices_of_workers("cpu", workers=workers, per_device=None, gpus=0, cores=cores)
        yield Site(
            executor=cluster.executor,
            device=device,
            checked_on=_checked_on(device),
            devices=(device,) * len(devices),
            cores=cores,
        )


def usable_device(name: str) -> str:
    """A device of this machine by its name, "auto" among them.

    Raises:
        ValueError: it cannot be used here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f'device "{name}" cannot be used here: {reason}') from None
    return name


def _checked_on(device: str) -> str:
    """That device if this machine has one, else its processor: the head of a cluster often has no GPU."""
    try:
        return usable_device(device)
    except ValueError:
        return "cpu"
