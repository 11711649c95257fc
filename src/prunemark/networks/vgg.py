"""VGG for small images."""

from torch import Tensor, nn

from prunemark.networks.base import Network
from prunemark.networks.initialisation import Initialisation

# Channels of the convolutions of each stage; a max-pool ends each stage but the last.
_STAGES = {16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))}


class Vgg(Network):
    """VGG of the CIFAR kind: 3x3 convolutions with BatchNorm, four max-pools, an average pool, one linear layer.

    Inputs (N, C, H, W) of any size that leaves every pool something to halve (17 pixels); logits (N, classes).
    Channels are multiplied by `width`. At depth 16 for 3x32x32 inputs and 10 classes: 14,715,584 prunable weights;
    14,719,818 with biases, which is the published size without BatchNorm; 14,728,266 parameters in all.

    Raises:
        ValueError: a depth other than 16.

    Reference: Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, 2015,
    arXiv 1409.1556 (configuration D); with BatchNorm, an average in place of the fifth max-pool, and one linear layer
    as in the code of Frankle et al. 2021 (and of Tanaka et al. 2020), where the average is over 2x2 pixels.
    Deviations: max-pools round odd sizes up and the average is over all that is left of the image, so that images of
    other sizes fit too; at 32x32 pixels what is left is 2x2, and the network is theirs. Convolutions keep their biases,
    as in that code, though BatchNorm cancels them.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        depth: int = 16,
        width: float = 1.0,
        init: str = "he-normal",
        batchnorm: str = "uniform",
        biases: str = "uniform",
    ) -> None:
        super().__init__(Initialisation(init=init, batchnorm=batchnorm, biases=biases))
        if depth not in _STAGES:
            raise ValueError(f"the depth of a VGG is one of {', '.join(map(str, _STAGES))}, not {depth}")
        self.features = nn.Sequential()
        inputs = input_shape[0]
        for number, stage in enumerate(_STAGES[depth]):
            if number:
                self.features.append(nn.MaxPool2d(2, ceil_mode=True))
            for base in stage:
                outputs = max(1, round(width * base))
                self.features.append(nn.Conv2d(inputs, outputs, 3, padding=1))
                self.features.append(nn.BatchNorm2d(outputs))
                self.features.append(nn.ReLU())
                inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        return self.fc(self.features(inputs).mean(dim=(2, 3)))
