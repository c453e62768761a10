"""The tree that is left when every receiver keeps the one expert it reads most: which classes share a path."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME
from kdlens.nn.task_attention import row_margin
from kdlens.questions.conflict.routing import attention_report

TRUNK = "trunk"


@dataclass(frozen=True, repr=False)
class NeuralTree:
    """Classes, experts and the trunk as a tree.

    Attributes:
        classes: names.
        parents: for every attention, first to classes, the expert below that each receiver reads most.
        margins: for every attention and receiver, how far that weight is above the second; near 0 the choice is a toss.
        sizes: experts of every level.

    Example:
        >>> import torch
        >>> tree = tree_of([torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.7, 0.3], [0.6, 0.4]])], ["a", "b"])
        >>> tree.parents, tree.path(1), tree.depth_shared(0, 1)
        (((0, 1), (0, 0)), (0, 0), 2)
        >>> print(tree)
        trunk
        └─ levels.0.0
           └─ levels.1.0
              ├─ a (margin 0.40)
              └─ b (margin 0.20)
    """

    classes: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    margins: tuple[tuple[float, ...], ...]
    sizes: tuple[int, ...]

    def path(self, c: int) -> tuple[int, ...]:
        """The experts of a class, first level to last."""
        found = [c]
        for parents in reversed(self.parents):
            found.append(parents[found[-1]])
        return tuple(reversed(found[1:]))

    def depth_shared(self, c: int, d: int) -> int:
        """How many levels two classes go together: the depth of their lowest common ancestor; 0 is the trunk."""
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self.path(c), self.path(d), strict=True))
        return sum(1 for _ in same)

    def groups(self, level: int = -1) -> tuple[int, ...]:
        """The expert of every class at a level, by default the last."""
        return tuple(self.path(c)[level] for c in range(len(self.classes)))

    def text(self) -> str:
        """The tree in lines; experts that no class uses are not shown."""
        return "\n".join([TRUNK, *self._lines(-1, 0, "")])

    def to_json(self) -> str:
        """Classes with paths and margins, and the parents of all, as JSON."""
        found = {
            "classes": [
                {"name": name, "path": list(self.path(c)), "margin": self.margins[-1][c]}
                for c, name in enumerate(self.classes)
            ],
            "parents": [list(parents) for parents in self.parents],
            "margins": [list(margins) for margins in self.margins],
            "experts": list(self.sizes),
        }
        return json.dumps(found, ensure_ascii=False, allow_nan=False)

    def to_dot(self) -> str:
        """The tree in the language of Graphviz."""
        lines = ["digraph tree {", "  rankdir=TB;", f"  {json.dumps(TRUNK)} [shape=box];"]
        for level, experts in enumerate(self._used()):
            for expert in experts:
                parent = TRUNK if level == 0 else f"levels.{level - 1}.{self.parents[level - 1][expert]}"
                lines.append(f'  "{parent}" -> "levels.{level}.{expert}";')
        for c, name in enumerate(self.classes):
            last = len(self.sizes) - 1
            lines.append(f"  class{c} [label={json.dumps(name, ensure_ascii=False)}, shape=plaintext];")
            lines.append(f'  "levels.{last}.{self.parents[-1][c]}" -> class{c};')
        return "\n".join([*lines, "}"])

    def __repr__(self) -> str:
        return self.text()

    def _used(self) -> list[list[int]]:
        """The experts of every level on the path of some class."""
        paths = [self.path(c) for c in range(len(self.classes))]
        return [sorted({path[level] for path in paths}) for level in range(len(self.sizes))]

    def _lines(self, level: int, expert: int, indent: str) -> list[str]:
        last = len(self.sizes) - 1
        if level == last:
            below = [
                (f"{name} (margin {self.margins[-1][c]:.2f})", -1)
                for c, name in enumerate(self.classes)
                if self.parents[-1][c] == expert
            ]
        else:
            mine = [e for e in self._used()[level + 1] if level < 0 or self.parents[level][e] == expert]
            below = [(f"levels.{level + 1}.{e}", e) for e in mine]
        lines: list[str] = []
        for place, (label, child) in enumerate(below):
            end = place == len(below) - 1
            lines.append(f"{indent}{'└─' if end else '├─'} {label}")
            if child >= 0:
                lines += self._lines(level + 1, child, indent + ("   " if end else "│  "))
        return lines


def neural_tree(network: nn.Module, class_names: Sequence[str] | None = None) -> NeuralTree:
    """Read the tree off a mixture of experts: every receiver keeps the sender with the largest weight, ties the first.

    Args:
        network: a `kdlens.nn.HME`.
        class_names: names of its classes.

    Raises:
        ModelError: another network.
        ConfigError: another number of names than classes.

    Source: pruned trees are what Xue et al. (KDExplainer, IJCAI 2021) show; margins are ours.
    """
    inner = unwrap(network)
    if not isinstance(inner, HME):
        raise ModelError(f"{type(inner).__name__} is no mixture of experts (kdlens.nn.HME), so it holds no tree")
    report = attention_report(inner, class_names)
    return tree_of([level.weights for level in report.levels], report.classes)


def tree_of(rows: Sequence[Float[Tensor, "r n"]], classes: Sequence[str]) -> NeuralTree:
    """The tree of attention rows, first level to classes.

    Raises:
        ModelError: another number of rows in the last attention than classes.
    """
    if len(rows[-1]) != len(classes):
        raise ModelError(f"{len(classes)} classes are named, and the last attention has {len(rows[-1])} rows")
    parents = tuple(tuple(np.asarray(one.detach().cpu()).argmax(1).tolist()) for one in rows)  # the first of equals
    margins = tuple(tuple(row_margin(one.detach()).tolist()) for one in rows)
    return NeuralTree(tuple(classes), parents, margins, tuple(one.shape[1] for one in rows))
