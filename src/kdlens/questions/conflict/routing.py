"""How a network's attention is spread: per level of a mixture of experts, or per layer with virtual attention."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import ConfigError, ModelError
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME, TaskAttention, attention_modules
from kdlens.nn.task_attention import attention_rows, row_entropy, row_margin

DEAD = 0.1
"""An expert is dead if its usage is below this share of an even one: 1 / (10 N)."""


@dataclass(frozen=True, eq=False)
class LevelReport:
    """One attention: R receivers over N senders, the same for every image. Entropies are in nats.

    Attributes:
        name: dotted name of the module.
        reads: what the senders are: a level of experts, or groups of channels.
        weights: `(R, N)`, rows sum to 1.
        entropy: `(R,)` of every row, between 0 and ln N.
        usage: `(N,)` mean of the rows: how much a sender is read.
        margin: `(R,)` largest weight minus the second.
        temperature: T of the softmax over the raw logits.
        logit_spread: standard deviation of the raw logits within rows. Unlike the entropy it does not depend on T.
        moved: largest change of a logit since it was made; NaN where that is not known.

    Example:
        >>> level_report(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), 1.0)
        LevelReport: 2 receivers over 2 senders at T = 1: entropy 0.365 nats (53 % of even), MI 0.328, no dead sender
    """

    name: str
    reads: str
    weights: Float[Tensor, "r n"]
    entropy: Float[Tensor, " r"]
    usage: Float[Tensor, " n"]
    margin: Float[Tensor, " r"]
    temperature: float
    logit_spread: float
    moved: float

    @property
    def senders(self) -> int:
        """N."""
        return len(self.usage)

    @property
    def mean_entropy(self) -> float:
        """Mean entropy of the rows, in nats."""
        return self.entropy.mean().item()

    @property
    def normalised_entropy(self) -> float:
        """Mean entropy as a share of ln N; 0 where there is one sender, which leaves no choice."""
        return self.mean_entropy / math.log(self.senders) if self.senders > 1 else 0.0

    @property
    def perplexity(self) -> Float[Tensor, " r"]:
        """By row e to its entropy: among how many senders it chooses, as it were."""
        return self.entropy.exp()

    @property
    def mutual_information(self) -> float:
        """H(usage) minus the mean entropy of the rows, in nats: 0 where all receivers read alike."""
        return (_entropy(self.usage) - self.entropy.mean()).clamp_min(0).item()

    @property
    def dead(self) -> tuple[int, ...]:
        """Senders that are hardly read: usage below 1 / (10 N)."""
        return tuple((self.usage < DEAD / self.senders).nonzero().flatten().tolist())

    def __repr__(self) -> str:
        receivers, senders = self.weights.shape
        dead = f"dead: {', '.join(map(str, self.dead))}" if self.dead else "no dead sender"
        name = f" {self.name}" if self.name else ""
        return (
            f"LevelReport{name}: {receivers} receivers over {senders} senders at T = {self.temperature:g}: entropy "
            f"{self.mean_entropy:.3f} nats ({100 * self.normalised_entropy:.0f} % of even), MI "
            f"{self.mutual_information:.3f}, {dead}"
        )


@dataclass(frozen=True, eq=False)
class AttentionReport:
    """All attention of a network.

    Attributes:
        levels: one report for every attention, in the network's order.
        effective: by level of a mixture of experts, `(K, N)`: how much every class reads of each of its experts,
            directly or through others; rows sum to 1. Empty for virtual attention, which is not by class.
        classes: names, for a mixture of experts.
    """

    levels: tuple[LevelReport, ...]
    effective: dict[str, Float[Tensor, "k n"]]
    classes: tuple[str, ...]

    @property
    def mean_entropy(self) -> float:
        """Mean over attentions of their mean entropies, in nats."""
        return math.fsum(level.mean_entropy for level in self.levels) / len(self.levels)

    @property
    def normalised_entropy(self) -> float:
        """The same as a share of ln N."""
        return math.fsum(level.normalised_entropy for level in self.levels) / len(self.levels)

    @property
    def mutual_information(self) -> float:
        """Mean over attentions, in nats."""
        return math.fsum(level.mutual_information for level in self.levels) / len(self.levels)

    @property
    def logit_spread(self) -> float:
        """Mean over attentions of the standard deviation of raw logits within rows."""
        return math.fsum(level.logit_spread for level in self.levels) / len(self.levels)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures there are, each once, in ascending order."""
        return tuple(sorted({level.temperature for level in self.levels}))

    def __repr__(self) -> str:
        return "\n".join(str(level) for level in self.levels)


def attention_report(network: nn.Module, class_names: Sequence[str] | None = None) -> AttentionReport:
    """Describe the attention of a mixture of experts, or of a network with virtual attention.

    Args:
        network: holds a `kdlens.nn.HME`, or layers that `kdlens.nn.insert_vam` changed.
        class_names: names of the classes of a mixture of experts.

    Raises:
        ModelError: the network has no attention.
        ConfigError: another number of names than classes.

    Source: entropy of the attention is what Xue et al. (KDExplainer, IJCAI 2021) judge objectives by; usage, dead
    experts, mutual information and the products of rows are ours.

    Example:
        >>> network = HME(nn.Identity(), [[nn.Linear(4, 2) for _ in range(3)]], [nn.Linear(2, 1) for _ in range(2)])
        >>> report = attention_report(network, ["cat", "dog"])
        >>> [level.reads for level in report.levels], report.effective["levels.0"].shape
        (['levels.0'], torch.Size([2, 3]))
    """
    inner = unwrap(network)
    if isinstance(inner, HME):
        names = class_names_of(inner, class_names)
        levels = tuple(
            _of_module(f"attentions.{i}", f"levels.{i}", one) for i, one in enumerate(inner.task_attentions())
        )
        return AttentionReport(levels, effective_routing([level.weights for level in levels]), names)
    levels = tuple(_of_module(name, "groups of channels", one) for name, one in attention_modules(inner))
    if not levels:
        raise ModelError(
            f"{type(inner).__name__} has no attention to report; build a kdlens.nn.HME, or put virtual attention in "
            "with kdlens.nn.insert_vam"
        )
    return AttentionReport(levels, {}, ())


def class_names_of(network: HME, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes, or their numbers.

    Raises:
        ConfigError: another number of names than classes.
    """
    if given is None:
        return tuple(str(k) for k in range(network.num_classes))
    if len(given) != network.num_classes:
        raise ConfigError(f"{len(given)} class names are given, and the network has {network.num_classes} heads")
    return tuple(given)


def level_report(
    logits: Float[Tensor, "r n"], temperature: float, *, name: str = "", reads: str = "", moved: float = math.nan
) -> LevelReport:
    """Describe `softmax(logits / temperature)`; computed in float64.

    Raises:
        ModelError: NaN or infinite logits.
    """
    logits = logits.detach().double().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(f"{name or 'the attention'} has NaN or infinite logits; its training has broken down")
    weights = attention_rows(logits, temperature)
    return LevelReport(
        name=name,
        reads=reads,
        weights=weights,
        entropy=row_entropy(logits, temperature),
        usage=weights.mean(0),
        margin=row_margin(weights),
        temperature=temperature,
        logit_spread=(logits - logits.mean(1, keepdim=True)).square().mean().sqrt().item(),
        moved=moved,
    )


def effective_routing(rows: Sequence[Float[Tensor, "r n"]]) -> dict[str, Float[Tensor, "k n"]]:
    """How much every class reads of the experts of every level, through all levels between: products of rows.

    Args:
        rows: of every attention, first level to classes.

    Raises:
        ModelError: rows that do not fit each other.

    Example:
        >>> first = torch.tensor([[0.75, 0.25], [0.5, 0.5]]).double()
        >>> classes = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]).double()
        >>> effective_routing([first, classes])["levels.0"][0].round(decimals=4).tolist()
        [0.725, 0.275]
    """
    for i, (lower, higher) in enumerate(itertools.pairwise(rows)):
        if len(lower) != higher.shape[1]:
            raise ModelError(f"attention {i + 1} reads {higher.shape[1]} experts, and attention {i} has {len(lower)}")
    found: dict[str, Tensor] = {}
    product: Tensor | None = None
    for i in range(len(rows) - 1, -1, -1):
        product = rows[i] if product is None else product @ rows[i]
        found[f"levels.{i}"] = product
    return dict(reversed(found.items()))


def _of_module(name: str, reads: str, module: nn.Module) -> LevelReport:
    if isinstance(module, TaskAttention):
        return level_report(module.logits, module.temperature, name=name, reads=reads, moved=module.moved())
    logits: Tensor = module.vam_logits  # type: ignore[assignment]
    moved = logits.detach().abs().max().item()  # they start at 0
    return level_report(logits, float(module.temperature), name=name, reads=reads, moved=moved)  # type: ignore[arg-type]


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum()
