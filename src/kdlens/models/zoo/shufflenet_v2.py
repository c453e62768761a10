"""ShuffleNetV2 at width 1 (Ma et al. 2018) for small images, as the distillation literature uses it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise

_STEM = 24
_WIDTHS = (116, 232, 464)
_BLOCKS = (4, 8, 4)
_HEAD = 1024


class SplitUnit(nn.Module):
    """One half of the channels passes by, the other is convolved; then both are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), conv_bn(half, half, 3, groups=half, relu=False), conv_bn(half, half, 1)
        )
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, channels, h, w)` to the same shape."""
        kept, changed = x.chunk(2, 1)
        return self.shuffle(torch.cat([kept, self.branch(changed)], 1))


class DownUnit(nn.Module):
    """Both branches see all channels and halve the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.left = nn.Sequential(conv_bn(inputs, inputs, 3, 2, groups=inputs, relu=False), conv_bn(inputs, half, 1))
        self.right = nn.Sequential(
            conv_bn(inputs, half, 1), conv_bn(half, half, 3, 2, groups=half, relu=False), conv_bn(half, half, 1)
        )
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, inputs, h, w)` to `(n, outputs, h / 2, w / 2)`."""
        return self.shuffle(torch.cat([self.left(x), self.right(x)], 1))


class ShuffleNetV2(nn.Module):
    """Stem without stride, three stages that each halve the map, a 1x1 convolution to 1024 channels, a linear layer."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = conv_bn(in_channels, _STEM, 3)
        inputs = (_STEM, *_WIDTHS)
        stages = [_stage(inputs[i], _WIDTHS[i], _BLOCKS[i]) for i in range(3)]
        self.layer1, self.layer2, self.layer3 = stages
        self.head = conv_bn(_WIDTHS[-1], _HEAD, 1)
        self.fc = nn.Linear(_HEAD, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(self.head(x), 1).flatten(1))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(DownUnit(inputs, outputs), *(SplitUnit(outputs) for _ in range(blocks - 1)))


shufflenetv2 = ShuffleNetV2
