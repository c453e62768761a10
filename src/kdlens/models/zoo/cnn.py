"""Three-block CNNs, small enough to train in a minute: for demos, tests and first steps."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise


class SmallCNN(nn.Module):
    """Three 3x3 convolutions of `width`, `2 * width` and `4 * width` channels, at full, half and quarter size.

    Width 32 has 94 thousand parameters, width 8 has 6 thousand.

    Args:
        width: channels of the first convolution.
        num_classes: number of logits.
        in_channels: channels of the image.
        smooth: with SiLU (Elfwing, Uchibe and Doya 2018) and average pooling, which have no kinks, in place of ReLU
            and max pooling. What small noise does to such a network, its derivatives tell.
    """

    def __init__(self, width: int, num_classes: int = 10, in_channels: int = 3, *, smooth: bool = False) -> None:
        super().__init__()
        self.layer1 = stage(in_channels, width, smooth=smooth, pool=False)
        self.layer2 = stage(width, 2 * width, smooth=smooth)
        self.layer3 = stage(2 * width, 4 * width, smooth=smooth)
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def stage(inputs: int, outputs: int, *, smooth: bool, pool: bool = True) -> nn.Sequential:
    """Convolution, batch norm and activation, after a 2x2 pooling if wanted."""
    halve: list[nn.Module] = [nn.AvgPool2d(2) if smooth else nn.MaxPool2d(2)] if pool else []
    convolved = [*conv_bn(inputs, outputs, relu=False), nn.SiLU()] if smooth else conv_bn(inputs, outputs)
    return nn.Sequential(*halve, *convolved)


cnn8 = partial(SmallCNN, 8)
cnn16 = partial(SmallCNN, 16)
cnn32 = partial(SmallCNN, 32)
smoothcnn8 = partial(SmallCNN, 8, smooth=True)
