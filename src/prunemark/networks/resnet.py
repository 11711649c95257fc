"""Residual networks."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from prunemark.networks.base import Network
from prunemark.networks.initialisation import Initialisation


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut around them.

    The shortcut is the identity, or a 1x1 convolution with BatchNorm where the shape changes.
    """

    expansion = 1

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded up."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)))))
        return F.relu(residual + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution with BatchNorm, and a shortcut around them.

    The last convolution has four times the channels of the others. The stride is the 3x3 convolution's ("v1.5").
    """

    expansion = 4

    def __init__(self, inputs: int, channels: int, *, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 * channels, H / stride, W / stride), rounded up."""
        narrow = F.relu(self.bn1(self.conv1(inputs)))
        residual = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(narrow)))))
        return F.relu(residual + self.shortcut(inputs))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


def _stages(
    block: type[BasicBlock | Bottleneck], inputs: int, channels: Sequence[int], blocks: Sequence[int]
) -> nn.Sequential:
    """Stages of blocks, every stage but the first at half the resolution of the one before."""
    stages = nn.Sequential()
    for stage, (narrow, count) in enumerate(zip(channels, blocks, strict=True)):
        layers = nn.Sequential()
        for number in range(count):
            layers.append(block(inputs, narrow, stride=2 if stage and number == 0 else 1))
            inputs = block.expansion * narrow
        stages.append(layers)
    return stages


def _scaled(width: float, channels: Sequence[int]) -> list[int]:
    return [max(1, round(width * base)) for base in channels]


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
        channels = _scaled(width, (16, 32, 64))
        self.conv = nn.Conv2d(input_shape[0], channels[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.stages = _stages(BasicBlock, channels[0], channels, [blocks] * 3)
        self.fc = nn.Linear(channels[-1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        features = self.stages(F.relu(self.bn(self.conv(inputs))))
        return self.fc(features.mean(dim=(2, 3)))


# Blocks of each stage, and their kind.
_IMAGENET = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}


class ImageNetResNet(Network):
    """The residual network that He et al. made for ImageNet, of depth 18 or 50.

    A stem, four stages with 64, 128, 256 and 512 channels (times `width`), the last three each at half the resolution
    of the one before, global average pooling, one linear layer. The stem is a 7x7 convolution of stride 2 and a 3x3
    max-pool of stride 2; the "modified" stem for small images is a 3x3 convolution of stride 1 without a max-pool.
    Inputs (N, C, H, W) of any size, logits (N, classes). For 3 channels and 1,000 classes 11,689,512 parameters at
    depth 18 and 25,557,032 at depth 50.

    Raises:
        ValueError: a depth other than 18 and 50.

    Reference: He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016, arXiv 1512.03385; the modified
    stem: Frankle et al. 2021, arXiv 2009.08576.
    Deviations: bottleneck blocks stride in their 3x3 convolution instead of the first 1x1, as in torchvision ("v1.5").
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        depth: int,
        modified: bool = False,
        width: float = 1.0,
        init: str = "he-normal",
        batchnorm: str = "uniform",
    ) -> None:
        super().__init__(Initialisation(init=init, batchnorm=batchnorm))
        if depth not in _IMAGENET:
            raise ValueError(f"the depth of an ImageNet ResNet here is 18 or 50, not {depth}")
        block, blocks = _IMAGENET[depth]
        channels = _scaled(width, (64, 128, 256, 512))
        kernel, stride = (3, 1) if modified else (7, 2)
        self.conv = nn.Conv2d(input_shape[0], channels[0], kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.pool = nn.Identity() if modified else nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = _stages(block, channels[0], channels, blocks)
        self.fc = nn.Linear(block.expansion * channels[-1], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        features = self.stages(self.pool(F.relu(self.bn(self.conv(inputs)))))
        return self.fc(features.mean(dim=(2, 3)))
