"""VGG with batch norm (Simonyan and Zisserman 2015), with one linear layer as head."""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise

_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3x3 convolutions; the second, third and fourth begin with a 2x2 max pooling.

    Args:
        convolutions: how many convolutions each stage has.
        num_classes: number of logits.
        in_channels: channels of the image.
    """

    def __init__(self, convolutions: Sequence[int], num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        inputs = (in_channels, *_WIDTHS)
        stages = [stage(inputs[i], _WIDTHS[i], convolutions[i], pool=i in (1, 2, 3)) for i in range(5)]
        self.layer1, self.layer2, self.layer3, self.layer4, self.layer5 = stages
        self.fc = nn.Linear(_WIDTHS[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5):
            x = stage(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def stage(inputs: int, outputs: int, convolutions: int, *, pool: bool) -> nn.Sequential:
    """Convolutions, after a 2x2 max pooling if wanted."""
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if pool else []
    for i in range(convolutions):
        layers.extend(conv_bn(inputs if i == 0 else outputs, outputs))
    return nn.Sequential(*layers)


vgg8 = partial(VGG, (1, 1, 1, 1, 1))
vgg11 = partial(VGG, (1, 1, 2, 2, 2))
vgg13 = partial(VGG, (2, 2, 2, 2, 2))
vgg16 = partial(VGG, (2, 2, 3, 3, 3))
vgg19 = partial(VGG, (2, 2, 4, 4, 4))
