"""Three-block CNNs, small enough to train in a minute: for demos, tests and first steps."""

from collections.abc import Iterable
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
        halve = nn.AvgPool2d if smooth else nn.MaxPool2d
        self.layer1 = nn.Sequential(*_convolved(in_channels, width, smooth))
        self.layer2 = nn.Sequential(halve(2), *_convolved(width, 2 * width, smooth))
        self.layer3 = nn.Sequential(halve(2), *_convolved(2 * width, 4 * width, smooth))
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _convolved(inputs: int, outputs: int, smooth: bool) -> Iterable[nn.Module]:
    """Convolution, batch norm and activation."""
    return [*conv_bn(inputs, outputs, relu=False), nn.SiLU()] if smooth else conv_bn(inputs, outputs)


cnn8 = partial(SmallCNN, 8)
cnn16 = partial(SmallCNN, 16)
cnn32 = partial(SmallCNN, 32)
smoothcnn8 = partial(SmallCNN, 8, smooth=True)
