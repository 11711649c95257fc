"""Which device each worker computes on. Imports torch only to ask it."""

from prunemark.terms.numbers import counted


def devices_of_workers(
    device: str, *, workers: int | None, per_device: int | None, gpus: int, cores: int
) -> tuple[str, ...]:
    """The device of each worker: jobs go to whichever worker is free, so devices are dealt out in turn.

    Args:
        device: "cpu", "cuda" (all GPUs), "cuda:1" (that one) or another name of torch's.
        workers: how many in all; None = one per core on a CPU, else `per_device` on each device.
        per_device: how many on each GPU at most; None = 1, or as many as `workers` asks for.
        gpus: how many GPUs there are.
        cores: how many cores.

    Raises:
        ValueError: numbers below 1, more workers than fit, or workers per device on a CPU.
    """
    for name, count in (("workers", workers), ("workers per device", per_device)):
        if count is not None and count < 1:
            raise ValueError(f"{name} counts from 1; got {count}")
    if device == "cpu":
        if per_device is not None:
            raise ValueError("workers per device are of GPUs; on a CPU the number of workers is all there is")
        return ("cpu",) * (workers or cores)
    devices = [f"cuda:{number}" for number in range(gpus)] if device == "cuda" and gpus > 1 else [device]
    if workers and per_device and workers > per_device * len(devices):
        raise ValueError(f"{workers} workers are more than {per_device} on each of {counted(len(devices), 'device')}")
    count = workers or (per_device or 1) * len(devices)
    return tuple(devices[number % len(devices)] for number in range(count))


def device_words(device: str) -> str:
    """A device as results name it: a GPU by its model and not by its number, for equal ones give equal numbers."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})"
