"""Steps recorded once per shape of their inputs and replayed from then on: CUDA graphs."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]
"""(images, targets) -> loss, after a whole step of training, in which nothing is read back from the device."""
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records what a function launches, without running it: what replays it, and its result, written by each replay."""

# Before them libraries choose kernels, and optimizers make their state.
_BEFORE = 3


def cuda_graph(step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record a step as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    return graph.replay, loss


class Replayed:
    """Takes steps; from the fourth step on of inputs of one shape on, by replaying a record of it.

    A step that cannot be recorded (a model that reads a value back, say) is taken as it is, and a warning says so. What
    a step draws from the device's generator it draws anew in each replay.

    Args:
        step: takes one.
        record: as `cuda_graph`.
    """

    def __init__(self, step: Step, record: Record = cuda_graph) -> None:
        self._step, self._record, self._able = step, record, True
        self._seen: dict[tuple[object, ...], int] = {}
        self._records: dict[tuple[object, ...], tuple[Tensor, Tensor, Callable[[], None], Tensor]] = {}

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        key = (images.shape, images.stride(), images.dtype, targets.shape, targets.dtype)
        if self._able and key not in self._records and self._seen.get(key, 0) >= _BEFORE:
            self._try_to_record(key, images, targets)
        if key in self._records:
            held_images, held_targets, replay, loss = self._records[key]
            held_images.copy_(images)
            held_targets.copy_(targets)
            replay()
            return loss.clone()  # the next replay writes over it
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._step(images, targets)

    def _try_to_record(self, key: tuple[object, ...], images: Tensor, targets: Tensor) -> None:
        held = torch.empty_like(images).copy_(images), torch.empty_like(targets).copy_(targets)
        try:
            replay, loss = self._record(lambda: self._step(*held))
        except RuntimeError as error:
            self._able = False
            reason = str(error).partition("\n")[0]
            warnings.warn(f"steps are launched one by one, for they cannot be recorded: {reason}", stacklevel=3)
            return
        self._records[key] = (*held, replay, loss)
