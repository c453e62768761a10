"""Which layer of one network is compared with which of another, by one rule for all questions."""

import math
from collections.abc import Sequence

from kdlens.questions.context import Context


def pair_layers(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Pair every layer of the first network with the one at the same place, from first to last, of the second.

    Networks of the same architecture meet layer by layer; the last layers always meet.

    Example:
        >>> pair_layers(["a", "b"], ["w", "x", "y", "z"])
        [('a', 'w'), ('b', 'z')]
    """
    if len(first) == 1:
        return [(first[0], second[-1])]
    step = (len(second) - 1) / (len(first) - 1)
    return [(name, second[math.floor(i * step + 0.5)]) for i, name in enumerate(first)]


def foreign_pairs(context: Context, *, teacher: bool) -> dict[str, str]:
    """Which layers met where their names differ, in words; a row names the first network's layer only.

    Args:
        context: the study.
        teacher: whether student and baseline are compared with the teacher, too.

    Returns:
        `"layers of kd / teacher"` -> `"layer1 / stages.0, layer2 / stages.1"`; empty for networks of one architecture.
    """
    found: dict[str, str] = {}
    for trio in context.trios():
        compared = [(trio.student, trio.baseline)]
        if teacher and trio.teacher is not None:
            compared += [(trio.student, trio.teacher), (trio.baseline, trio.teacher)]
        for mine, other in compared:
            pairs = pair_layers(mine.layers, other.layers)
            if any(a != b for a, b in pairs):
                found[f"layers of {mine.name} / {other.name}"] = ", ".join(f"{a} / {b}" for a, b in pairs)
    return found
