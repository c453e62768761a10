"""What the report draws: points over the epochs, and the cells that are kept at every checkpoint."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kdlens.questions.dynamics.rows import Timing, Trained
from kdlens.stats.paired import crossed_mean

CURVES = {"points_on_object": "on_object", "points_off_object": "off_object", "points_share": "share"}

Arrays = dict[str, np.ndarray]


def curves(trained: Mapping[str, Sequence[Trained]], timing: Timing) -> Arrays:
    """`epochs` (or `checkpoints`) and, for every measure and network, mean and interval at every checkpoint `(m, 3)`.

    Args:
        trained: every network, one entry a seed.
        timing: how points are counted.
    """
    arrays: Arrays = {f"{timing.unit}s": np.array(timing.epochs)}
    for name, seeds in trained.items():
        found = timing.of(seeds)
        if int(found[0].counted.sum()) < 2:
            continue
        for metric, field in CURVES.items():
            values = torch.stack([getattr(one, field) for one in found])  # (seeds, m, n)
            values = 100 * values if field == "share" else values
            intervals = [crossed_mean(values[:, m], seed=timing.counting.seed) for m in range(values.shape[1])]
            arrays[f"curve.{metric}.{name}"] = np.array([[i.value, i.low, i.high] for i in intervals])
        for kind in seeds[0].paths:
            arrays[f"path.{kind}.{name}"] = torch.stack([one.paths[kind] for one in seeds]).mean(0).numpy()
    return arrays


def time_lapse(trained: Mapping[str, Sequence[Trained]], timing: Timing, places: Tensor) -> Arrays:
    """`kept.NAME` `(m, k, gh, gw)` of the first seed of every network, and `counted.NAME` `(k,)`."""
    arrays: Arrays = {}
    for name, seeds in trained.items():
        found = timing.whole(seeds[0])
        arrays[f"kept.{name}"] = found.kept[:, places].numpy().astype(np.uint8)
        arrays[f"counted.{name}"] = found.counted[places].numpy().astype(np.uint8)
    return arrays
