"""A three-block CNN, small enough to train in a minute: for demos, tests and first steps."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise


class SmallCNN(nn.Module):
    """Three 3x3 convolutions of `width`, `2 * width` and `4 * width` channels, at full, half and quarter size.

    Width 32 has 94 thousand parameters, width 8 has 6 thousand.
    """

    def __init__(self, width: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.layer1 = conv_bn(in_channels, width)
        self.layer2 = nn.Sequential(nn.MaxPool2d(2), *conv_bn(width, 2 * width))
        self.layer3 = nn.Sequential(nn.MaxPool2d(2), *conv_bn(2 * width, 4 * width))
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


cnn8 = partial(SmallCNN, 8)
cnn16 = partial(SmallCNN, 16)
cnn32 = partial(SmallCNN, 32)
