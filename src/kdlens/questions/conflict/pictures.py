"""Arrays for the drawings: every network's matrix of cosines, and the attention of mixtures of experts."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.answer import Answer
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.class_similarity.clustering import average_linkage
from kdlens.questions.conflict.rows_routing import Reports, tree
from kdlens.questions.conflict.seen import Study, means


def add_pictures(answer: Answer, study: Study, reports: Reports, known: Categories | None) -> None:
    """Add `conflict.NAME` `(K, K)`, `order` and `superclass` `(K,)`, and for mixtures of experts their attention.

    `routing.NAME.I` are the rows of attention I of the first seed, first level to classes; `parents.NAME.I` the expert
    that each receiver reads most. The order of classes is that of clusters of the baseline's cosines, superclasses kept
    together.
    """
    matrices = {name: means([study.sights[key] for key in study.keys(name)]).nanmean(0) for name in study.roles}
    first = next(name for name, role in study.roles.items() if role == "baseline")
    superclass = known.number(len(study.classes)) if known else [-1] * len(study.classes)
    answer.arrays["order"] = np.array(_order(matrices[first], superclass), dtype=np.int64)
    answer.arrays["superclass"] = np.array(superclass, dtype=np.int64)
    answer.arrays.update({f"conflict.{name}": one.numpy().astype(np.float32) for name, one in matrices.items()})
    for name in study.roles:
        key = study.keys(name)[0]
        if key not in reports or not reports[key].effective:
            continue
        found = tree(reports[key])
        for i, level in enumerate(reports[key].levels):
            answer.arrays[f"routing.{name}.{i}"] = level.weights.numpy().astype(np.float32)
            answer.arrays[f"parents.{name}.{i}"] = np.array(found.parents[i], dtype=np.int64)


def _order(cosines: Float[Tensor, "k k"], superclass: list[int]) -> list[int]:
    """Classes that pull alike side by side, superclasses together."""
    apart = torch.nan_to_num((1 - cosines) / 2, nan=1.0).fill_diagonal_(0.0)
    order = average_linkage(apart).order
    place = {k: at for at, k in enumerate(order)}
    seen: dict[int, int] = {}
    for k in order:
        seen.setdefault(superclass[k], len(seen))
    return sorted(order, key=lambda k: (superclass[k] < 0, seen[superclass[k]], place[k]))
