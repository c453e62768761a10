"""Arrays for the drawings: every network's similarity matrix, and the order in which like classes are neighbours."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.answer import Answer
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.class_similarity.clustering import average_linkage, dissimilarity
from kdlens.questions.class_similarity.prepared import Prepared
from kdlens.questions.class_similarity.similarity import class_similarity


def matrix(found: Prepared, name: str, temperature: float) -> Float[Tensor, "k k"]:
    """A network's similarity matrix, mean over its seeds."""
    every = [class_similarity(found.logits[key], found.labels, temperature=temperature) for key in found.keys(name)]
    return torch.stack(every).mean(0)


def add_pictures(answer: Answer, found: Prepared, categories: Categories, *, temperature: float) -> None:
    """Add `similarity.NAME` `(k, k)`, `order` `(k,)` and `category` `(k,)`, in the order of the data's classes.

    The order is that of the teacher's clustering (without a teacher, the first network's); categories stay together.
    """
    matrices = {name: matrix(found, name, temperature) for name in found.roles}
    first = found.teacher[0] if found.teacher else next(iter(matrices))
    order = average_linkage(dissimilarity(matrices[first])).order
    category = categories.number(len(found.classes))
    place = {k: at for at, k in enumerate(order)}
    first_seen: dict[int, int] = {}
    for k in order:
        first_seen.setdefault(category[k], len(first_seen))
    order = sorted(order, key=lambda k: (category[k] < 0, first_seen[category[k]], place[k]))
    answer.arrays["order"] = np.array(order, dtype=np.int64)
    answer.arrays["category"] = np.array(category, dtype=np.int64)
    answer.arrays.update({f"similarity.{name}": one.numpy().astype(np.float32) for name, one in matrices.items()})
