"""The hierarchical mixture of experts: a student whose classes are separate tasks, routed through shared experts.

A trunk is shared by all. Above it lie levels of experts, parts of what was one block each; every expert of a level has
its own attention over the experts of the level below, and every class has one over the last level and a head of its
own. Which experts a class ends up with is how the training settled conflicts between classes.

Source: Xue, Song, Chen, Wang, Wang, Song, "KDExplainer: a task-oriented attention model for explaining knowledge
distillation", IJCAI 2021; the layout is that of its architecture figure.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import ConfigError, ModelError
from kdlens.nn.heads import LinearHeads
from kdlens.nn.task_attention import TaskAttention

TaskMode = Literal["binary", "multiclass"]


@dataclass(frozen=True, eq=False)
class HMEOutput:
    """What a mixture of experts gives.

    Attributes:
        logits: `(n, K)`: yes minus no of every class's head, or its one logit.
        pair_logits: `(n, K, 2)`, no and yes; `None` for heads with one logit.
        features: for every level what its experts gave, `None` for an expert that nobody reads.
    """

    logits: Float[Tensor, "n k"]
    pair_logits: Float[Tensor, "n k 2"] | None
    features: tuple[tuple[Tensor | None, ...], ...]


class HME(nn.Module):
    """A trunk, levels of experts, and one head for every class.

    Args:
        trunk: shared by all; `torch.nn.Identity()` for none.
        levels: the experts of every level, first to last. Experts of the first level read the trunk; those of a level
            must all give outputs of one shape.
        heads: one module a class, each giving `(n, 2)` (no, yes) or `(n, 1)`, or `LinearHeads`.
        attentions: one `TaskAttention` for every level but the first, and one for the heads; by default made here.
        task_mode: `"binary"`: heads say no and yes, and the logits are their differences, to be trained with losses for
            binary tasks. `"multiclass"`: one logit a head, the larger of the two where it has two, for the softmax over
            classes, as in the authors' code.
        temperature: of the attentions made here.

    Raises:
        ConfigError: no experts, fewer than two classes, attentions that do not fit, or a module used twice.

    Example:
        >>> experts = [[nn.Linear(4, 2) for _ in range(3)] for _ in range(1)]
        >>> network = HME(nn.Identity(), experts, LinearHeads(2, classes=5))
        >>> network(torch.zeros(7, 4)).shape
        torch.Size([7, 5])
    """

    def __init__(
        self,
        trunk: nn.Module,
        levels: Sequence[Sequence[nn.Module]],
        heads: Sequence[nn.Module] | LinearHeads,
        attentions: Sequence[TaskAttention] | None = None,
        task_mode: TaskMode = "binary",
        *,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if task_mode not in ("binary", "multiclass"):
            raise ConfigError(f'task_mode is "binary" or "multiclass", not "{task_mode}"')
        self.trunk = trunk
        self.levels = nn.ModuleList(nn.ModuleList(experts) for experts in levels)
        self.heads: nn.Module = heads if isinstance(heads, LinearHeads) else nn.ModuleList(heads)
        self.task_mode = task_mode
        sizes = [*(len(experts) for experts in levels), len(heads)]
        _check_sizes(sizes)
        if attentions is None:
            attentions = [TaskAttention(r, s, temperature) for s, r in itertools.pairwise(sizes)]
        _check_attentions(attentions, sizes)
        self.attentions = nn.ModuleList(attentions)
        _check_used_once(self)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.heads)  # type: ignore[arg-type]

    @property
    def temperature(self) -> float:
        """T of the attentions, shared by all; 0 is the hard choice, which leaves one tree."""
        return self.task_attentions()[0].temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        for attention in self.task_attentions():
            attention.temperature = value

    def task_attentions(self) -> list[TaskAttention]:
        """The attentions, first level to heads."""
        return list(self.attentions)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Float[Tensor, "n k"]:
        """Images `(n, C, H, W)`, or whatever the trunk takes, to one logit a class."""
        return self.routed(x).logits

    def routed(self, x: Tensor) -> HMEOutput:
        """As `forward`, with the outputs of all experts. In hard attention experts that nobody reads do not run."""
        shared = self.trunk(x)
        read = self.experts_read()
        inputs: Sequence[Tensor | None] = [shared] * len(self._experts(0))
        features: list[tuple[Tensor | None, ...]] = []
        for level, attention in enumerate(self.task_attentions()):
            experts = enumerate(zip(self._experts(level), inputs, strict=True))
            given = tuple(expert(x) if i in read[level] else None for i, (expert, x) in experts)
            _check_alike(given, level)
            features.append(given)
            inputs = attention(given)
        return HMEOutput(*self._heads(inputs), tuple(features))

    def experts_read(self) -> list[set[int]]:
        """For every level the experts that some class looks at, directly or through others: in hard attention few."""
        read: list[set[int]] = []
        readers = set(range(self.num_classes))
        for attention in reversed(self.task_attentions()):
            readers = attention.read_by(readers)
            read.append(readers)
        return read[::-1]

    def _experts(self, level: int) -> list[nn.Module]:
        experts: Any = self.levels[level]
        return list(experts)

    def _heads(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.heads, LinearHeads):
            outputs = self.heads(torch.stack([x for x in inputs if x is not None]))
        else:
            heads: Any = self.heads
            outputs = torch.stack([head(x) for head, x in zip(heads, inputs, strict=True)], dim=1)
        if outputs.dim() != 3 or outputs.shape[2] not in (1, 2):
            raise ModelError(f"every head must give (n, 1) or (n, 2); together they gave {tuple(outputs.shape)}")
        if outputs.shape[2] == 1:
            return outputs[:, :, 0], None
        if self.task_mode == "binary":
            return outputs[:, :, 1] - outputs[:, :, 0], outputs
        return outputs.max(dim=2).values, outputs


def _check_sizes(sizes: Sequence[int]) -> None:
    if len(sizes) < 2:
        raise ConfigError("a mixture of experts needs at least one level of experts")
    for level, size in enumerate(sizes[:-1]):
        if size < 1:
            raise ConfigError(f"levels.{level} has no experts")
    if sizes[-1] < 2:
        raise ConfigError(f"at least two classes are needed to have a conflict; there are {sizes[-1]} heads")


def _check_attentions(attentions: Sequence[TaskAttention], sizes: Sequence[int]) -> None:
    expected = [(r, s) for s, r in itertools.pairwise(sizes)]
    found = [tuple(attention.logits.shape) for attention in attentions]
    if found != expected:
        raise ConfigError(f"attentions of (receivers, senders) {expected} are needed, got {found}")


def _check_used_once(network: HME) -> None:
    """Two places with one expert would be one expert with two names; what the routing says of it would be wrong."""
    seen: dict[int, str] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        whole = name.count(".") == (1 if name.startswith(("heads.", "attentions.")) else 2)
        if name.split(".")[0] in ("levels", "heads", "attentions") and whole:
            if id(module) in seen:
                raise ConfigError(f"{name} is the same module as {seen[id(module)]}; give it a copy: copy.deepcopy")
            seen[id(module)] = name


def _check_alike(features: Sequence[Tensor | None], level: int) -> None:
    shapes = {i: tuple(feature.shape) for i, feature in enumerate(features) if feature is not None}
    first = next(iter(shapes))
    for i, shape in shapes.items():
        if shape != shapes[first]:
            raise ModelError(
                f"levels.{level}.{i} gives {shape} and levels.{level}.{first} {shapes[first]}; the experts of a level "
                "must give one shape, so that they can be mixed"
            )
