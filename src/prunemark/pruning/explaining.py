"""Failures of the user's model and loss, said in a sentence."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemark.models.calling import Forward, Inputs, Loss
from prunemark.pruning.scoring_examples import tensors_of


def explained_forward(forward: Forward) -> Forward:
    """The same forward, but inputs in another precision than the model's are a ValueError that says so."""

    _require_function("forward", forward, "(model, inputs) -> outputs")

    def explained(model: nn.Module, inputs: Inputs) -> Any:
        try:
            return forward(model, inputs)
        except RuntimeError as error:
            # Integers are tokens, but bytes are images that were not turned into floats.
            dtypes = {tensor.dtype for tensor in tensors_of(inputs)}
            given = {dtype for dtype in dtypes if dtype.is_floating_point or dtype == torch.uint8}
            own = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
            if "type" in str(error) and given - own:
                raise ValueError(
                    f"the model computes in {_names(own)}, but its inputs are {_names(given)}: convert one of them"
                ) from error
            if "same dtype" in str(error):
                raise ValueError(
                    f"the model computes in {_names(own)} (half precision is scored in float32), which casts in its "
                    f"forward do not fit: pass forward=(model, inputs) -> outputs without them: {error}"
                ) from error
            raise

    return explained


def explained_loss(loss: Loss) -> Loss:
    """The loss, with a ValueError that says what to do if the outputs or the result are not tensors."""

    _require_function("loss", loss, "(outputs, targets) -> scalar")

    def explained(outputs: Any, targets: Any) -> Tensor:
        if loss is functional.cross_entropy and not isinstance(outputs, Tensor):
            raise ValueError(
                f"the model returns a {type(outputs).__name__}, which cross-entropy cannot take: pass "
                "forward=(model, inputs) -> logits, or loss=(outputs, targets) -> scalar"
            )
        if loss is functional.cross_entropy and outputs.ndim and outputs.shape[1 if outputs.ndim > 1 else 0] == 1:
            raise ValueError(
                "the model gives one output, and cross-entropy over one class is 0 whatever the weights: pass loss=, "
                "such as torch.nn.functional.mse_loss, or binary_cross_entropy_with_logits for a yes or no"
            )
        if loss is functional.cross_entropy:
            _require_classes(outputs, targets)
        value = loss(outputs, targets)
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"the loss must be one number as a tensor, so that it has gradients; got {value!r}")
        return value

    return explained


def _require_classes(outputs: Tensor, targets: Any) -> None:
    """Raise a ValueError unless these are targets that cross-entropy takes."""
    takes = (
        "cross-entropy takes class indices, int64, of shape {}, or probabilities of the outputs' shape; for regression "
        "pass loss=(outputs, targets) -> scalar"
    )
    indices = tuple(outputs.shape[:1] + outputs.shape[2:]) if outputs.ndim > 1 else ()
    if not isinstance(targets, Tensor):
        raise ValueError(f"targets are a {type(targets).__name__}, not a tensor: {takes.format(indices)}")
    whole = targets.dtype in (torch.int64, torch.uint8) and tuple(targets.shape) == indices
    if not whole and not (targets.is_floating_point() and targets.shape == outputs.shape):
        raise ValueError(
            f"targets are {_names({targets.dtype})} of shape {tuple(targets.shape)}, outputs have shape "
            f"{tuple(outputs.shape)}: {takes.format(indices)}"
        )


def require_derivatives(method: str, error: RuntimeError) -> None:
    """Raise a ValueError if the error is that an operation of the model has no second derivative."""
    if "derivative for" in str(error) or "once_differentiable" in str(error):
        raise ValueError(
            f"{method} takes a second derivative, which an operation of the model does not have ({error}): take a "
            "method of first derivatives, such as snip or synflow, or another activation"
        ) from error


def _require_function(name: str, given: Any, signature: str) -> None:
    # A class of losses is callable too, but its call makes a loss.
    if not callable(given) or isinstance(given, type):
        raise ValueError(f"{name}= is a function {signature}; got {given!r}")


def _names(dtypes: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
