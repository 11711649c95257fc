"""`LayerCall`: one use of a layer in a forward pass, as a map from units to units."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One use of a layer in a forward pass.

    A layer maps units to units: channels of a convolution, features of a linear map.

    Attributes:
        layer: name of its weight.
        shape: of the weight as (output units, input units per group, entries per kernel).
        groups: of a grouped convolution; 1 otherwise.
        from_input: per input unit, whether the model's input reaches it through no other layer.
        to_output: per output unit, whether it reaches the model's output through no other layer.
    """

    layer: str
    shape: tuple[int, int, int]
    groups: int
    from_input: Tensor
    to_output: Tensor

    @property
    def weights(self) -> int:
        """Number of weights of the layer."""
        outputs, inputs_per_group, kernel = self.shape
        return outputs * inputs_per_group * kernel
