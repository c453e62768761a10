"""What the report draws: examples with the cells that are kept, and counts over thresholds."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kdlens.questions.context import Context
from kdlens.questions.knowledge.drawn import Drawn
from kdlens.questions.knowledge.points import THRESHOLDS
from kdlens.questions.knowledge.rows import UNITS, Counting, values_of
from kdlens.stats.paired import crossed_mean

Arrays = dict[str, np.ndarray]


def examples(context: Context, drawn: Drawn, count: int) -> tuple[Tensor, Arrays]:
    """Places of some of the images, evenly spread over those drawn, and what is shown of them.

    Args:
        context: the study.
        drawn: the images.
        count: how many at most.

    Returns:
        Places `(k,)` among the images drawn, and the arrays `image`, `index`, `label`, `foreground` and, where there
        are masks, `mask`.
    """
    n = len(drawn.indices)
    places = torch.linspace(0, n - 1, min(count, n)).round().long()
    arrays = {
        "image": context.display(drawn.images[places]).numpy(),
        "index": drawn.indices[places].numpy(),
        "label": context.labels[drawn.indices[places]].numpy(),
        "foreground": drawn.foreground[places].numpy().astype(np.uint8),
    }
    if drawn.masks is not None:
        arrays["mask"] = drawn.masks[places].numpy().astype(np.uint8)
    return places, arrays


def kept_cells(maps: Mapping[str, Sequence[Tensor]], counting: Counting, places: Tensor) -> Arrays:
    """`kept.NAME` `(k, gh, gw)` of the first seed of every network, and `counted.NAME` `(k,)`."""
    arrays: Arrays = {}
    for name, seeds in maps.items():
        points = counting.of(seeds[0])
        arrays[f"kept.{name}"] = points.kept[places].numpy().astype(np.uint8)
        arrays[f"counted.{name}"] = points.counted[places].numpy().astype(np.uint8)
    return arrays


def sweeps(maps: Mapping[str, Sequence[Tensor]], counting: Counting) -> Arrays:
    """`sweep.thresholds` and, for every measure and network, mean and interval at every threshold `(t, 3)`."""
    arrays: Arrays = {"sweep.thresholds": np.array(THRESHOLDS)}
    for name, seeds in maps.items():
        found = [counting.at(threshold).points(seeds) for threshold in THRESHOLDS]
        if len(found[0][0].counted) < 2:
            continue
        for metric in UNITS:
            intervals = [crossed_mean(values_of(points, metric), seed=counting.seed) for points in found]
            arrays[f"sweep.{metric}.{name}"] = np.array([[i.value, i.low, i.high] for i in intervals])
    return arrays
