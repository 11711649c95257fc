"""LeNet-300-100: the fully connected network of the MNIST experiments."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.networks.base import Network
from prunemark.networks.initialisation import Initialisation


class LeNet(Network):
    """Two hidden layers of 300 and 100 ReLU units (times `width`), over inputs of any size.

    Inputs (N, C, H, W), logits (N, classes). 266,200 prunable weights for 1x28x28 inputs and 10 classes.

    Reference: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998.
    Deviations: ReLU and cross-entropy, as in the pruning literature, instead of tanh and squared error.
    """

    def __init__(
        self, *, input_shape: tuple[int, int, int], classes: int, init: str = "he-normal", width: float = 1.0
    ) -> None:
        super().__init__(Initialisation(init=init))
        first, second = (max(1, round(width * units)) for units in (300, 100))
        self.fc1 = nn.Linear(math.prod(input_shape), first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        hidden = F.relu(self.fc1(inputs.flatten(1)))
        return self.fc3(F.relu(self.fc2(hidden)))
