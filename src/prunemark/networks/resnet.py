"""Residual networks."""

from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.networks.base import Network
from prunemark.networks.initialisation import Initialisation


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut around them.

    The shortcut is the identity, or a 1x1 convolution with BatchNorm where the shape changes.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)))))
        return F.relu(residual + self.shortcut(inputs))


class CifarResNet(Network):
    """The residual network that He et al. made for CIFAR, of depth 6n + 2.

    A 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels (times `width`), the second and
    third at half the resolution of the one before, global average pooling, one linear layer. Inputs
    (N, C, H, W) with any C and with H and W of at least 4; logits (N, classes). 270,896 prunable weights at depth
    20 for 3x32x32 inputs and 10 classes.

    Raises:
        ValueError: the depth is not 6n + 2 with n of at least 1.

    Reference: He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016, arXiv 1512.03385.
    Deviations: shortcuts that change shape are 1x1 convolutions with BatchNorm (their option B) instead of
    padded identities (A), as in the networks of Frankle et al. 2021.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        depth: int,
        width: float = 1.0,
        init: str = "he-normal",
        batchnorm: str = "uniform",
    ) -> None:
        super().__init__(Initialisation(init=init, batchnorm=batchnorm))
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"the depth of a CIFAR ResNet is 6n + 2: 8, 14, 20, ..., not {depth}")
        channels = [max(1, round(width * base)) for base in (16, 32, 64)]
        self.conv = nn.Conv2d(input_shape[0], channels[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.stages = nn.Sequential()
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            strides = [1 if stage == 0 else 2] + [1] * (blocks - 1)
            self.stages.append(
                nn.Sequential(
                    *(
                        BasicBlock(inputs if block == 0 else outputs, outputs, stride=stride)
                        for block, stride in enumerate(strides)
                    )
                )
            )
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        features = self.stages(F.relu(self.bn(self.conv(inputs))))
        return self.fc(features.mean(dim=(2, 3)))
