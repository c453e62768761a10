"""The network that the authors released: a learning-to-branch network, trained as one softmax over classes.

It is not the one of the paper's figure: there is no shared trunk, levels have 2, 4 and 8 experts of one small design,
and a head's two outputs are two pieces of a maximum rather than no and yes. It is here to compare with what others
trained. Its branching parameters are our logits, and its temperature t is our T = t / 2.

Sources: the code beside Xue et al. (IJCAI 2021); Guo, Lee and Ulbricht, Learning to branch for multi-task learning
(ICML 2020), after which it is made.
"""

from typing import Literal

from torch import nn

from kdlens.errors import ConfigError
from kdlens.nn.hme import HME
from kdlens.nn.task_attention import TaskAttention

LEVELS = (2, 4, 8)
WIDTHS = (64, 64, 32)
"""Channels that the experts of each level give."""


def ltb_compat(
    num_classes: int = 10, in_channels: int = 3, *, head: Literal["ce", "nce"] = "ce", temperature: float = 5.0
) -> HME:
    """Build the released network, for images of 32 x 32 pixels.

    Args:
        num_classes: K.
        in_channels: channels of the image.
        head: `"ce"`: one logit a head; `"nce"`: two, of which the larger counts.
        temperature: T = t / 2; the authors' t is 10 / epoch in the first training and hard (0) in the second.

    Example:
        >>> network = ltb_compat(5)
        >>> [tuple(attention.logits.shape) for attention in network.task_attentions()]
        [(4, 2), (8, 4), (5, 8)]
    """
    if head not in ("ce", "nce"):
        raise ConfigError(f'head is "ce" or "nce", not "{head}"')
    inputs = (in_channels, *WIDTHS)
    levels = [
        [_expert(inputs[level], width) for _ in range(experts)]
        for level, (experts, width) in enumerate(zip(LEVELS, WIDTHS, strict=True))
    ]
    heads = [_head(WIDTHS[-1], 1 if head == "ce" else 2) for _ in range(num_classes)]
    sizes = (*LEVELS, num_classes)
    attentions = [TaskAttention(sizes[i + 1], sizes[i], temperature) for i in range(len(LEVELS))]
    for attention in attentions:
        nn.init.uniform_(attention.logits)
        attention.start.copy_(attention.logits.detach())
    return HME(nn.Identity(), levels, heads, attentions, task_mode="multiclass")


def _expert(inputs: int, outputs: int) -> nn.Sequential:
    middle = 64
    return nn.Sequential(
        *(nn.Conv2d(inputs, middle, 3, padding=1), nn.BatchNorm2d(middle), nn.ReLU()),
        *(nn.Conv2d(middle, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()),
        nn.MaxPool2d(2),
    )


def _head(channels: int, outputs: int) -> nn.Sequential:
    """The pooling to 7 x 7 enlarges maps of 32-pixel images, which are 4 x 4; kept as it was."""
    return nn.Sequential(
        *(nn.AdaptiveAvgPool2d(7), nn.Flatten()),
        *(nn.Linear(channels * 49, 128), nn.ReLU(), nn.Dropout(0.15)),
        *(nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.15)),
        nn.Linear(128, outputs),
    )
