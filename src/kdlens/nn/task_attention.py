"""Attention of tasks over experts: learned, the same for every image, one row of weights for every receiver.

Rows are `softmax(logits / T)`, from log-probabilities with the largest logit taken out, so that they and their
gradients stay finite for logits of any size. At temperature 0 a row is the limit: all weight on its largest logit, the
first of equal ones.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError

TEMPERATURE = "temperature"
"""What the temperature is called in a state dict."""


def attention_rows(logits: Float[Tensor, "r s"], temperature: float) -> Float[Tensor, "r s"]:
    """Return `softmax(logits / temperature)` by rows; one-hot, without gradient, at temperature 0.

    Example:
        >>> attention_rows(torch.tensor([[1000.0, -1000.0], [0.0, 0.0]]), temperature=1.0)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000]])
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
    return torch.softmax(logits / temperature, dim=1)


def row_entropy(logits: Float[Tensor, "r s"], temperature: float) -> Float[Tensor, " r"]:
    """Return the entropy of every row of `softmax(logits / temperature)`, in nats, between 0 and ln(senders).

    Example:
        >>> row_entropy(torch.zeros(1, 4), temperature=1.0)
        tensor([1.3863])
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    if temperature == 0:
        return logits.new_zeros(len(logits))
    log_rows = torch.log_softmax(logits / temperature, dim=1)
    return -(log_rows.exp() * log_rows).sum(dim=1)


def mean_entropy(attentions: Sequence[tuple[Float[Tensor, "r s"], float]]) -> Float[Tensor, ""]:
    """Return the mean over attentions, given as (logits, temperature), of the mean entropy of their rows, in nats.

    Attentions of one shape are computed together: a network has dozens, and each alone is little work.

    Example:
        >>> mean_entropy([(torch.zeros(2, 4), 1.0), (torch.tensor([[0.0, 1000.0]]), 1.0)])
        tensor(0.6931)
    """
    alike: dict[tuple[tuple[int, ...], float], list[Tensor]] = {}
    for logits, temperature in attentions:
        alike.setdefault((tuple(logits.shape), temperature), []).append(logits)
    sums = [row_entropy(torch.cat(group), temperature).mean() * len(group) for (_, temperature), group in alike.items()]
    return torch.stack(sums).sum() / len(attentions)


def row_margin(rows: Float[Tensor, "r s"]) -> Float[Tensor, " r"]:
    """Return how far the largest weight of every row is above the second; 1 where there is only one.

    Example:
        >>> row_margin(torch.tensor([[0.7, 0.2, 0.1]]))
        tensor([0.5000])
    """
    if rows.shape[1] == 1:
        return torch.ones_like(rows[:, 0])
    top = rows.topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def check_temperature(value: float) -> float:
    """Return the temperature as a float; raise `ConfigError` unless it is finite and not negative."""
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"the temperature of attention must be a number of at least 0 (0: hard choice), not {value}")
    return float(value)


class TaskAttention(nn.Module):
    """Every receiver's attention over the senders of the level below.

    Args:
        receivers: how many read.
        senders: how many are read.
        temperature: T; 0 chooses the sender with the largest weight.
        noise: first logits are drawn from N(0, noise^2). Some is needed: at uniform rows the gradient of the entropy
            vanishes, and equal experts receive equal gradients.
        straight_through: at temperature 0, let the gradient of the soft rows at T = 1 reach the logits.

    Attributes:
        logits: `(receivers, senders)`, learned.
        start: the logits as they were made, kept in the state dict, so that attention that was never trained can be
            told from attention that was.

    Raises:
        ConfigError: fewer than one receiver or sender, or a temperature below 0.

    Source: Xue et al., KDExplainer, IJCAI 2021 (rows over experts and a shared temperature; that a row depends on the
    task alone is read off its figure and the released code).

    Example:
        >>> attention = TaskAttention(2, 3, noise=0.0)
        >>> attention.weights().sum(dim=1)
        tensor([1., 1.], grad_fn=<SumBackward1>)
        >>> attention.parents().tolist()
        [0, 0]
    """

    def __init__(
        self,
        receivers: int,
        senders: int,
        temperature: float = 1.0,
        *,
        noise: float = 0.01,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        if receivers < 1 or senders < 1:
            raise ConfigError(f"attention needs receivers and senders, got {receivers} and {senders}")
        self.logits = nn.Parameter(noise * torch.randn(receivers, senders))
        self.straight_through = straight_through
        self.temperature = temperature
        self.start: Tensor
        self.register_buffer("start", self.logits.detach().clone())

    @property
    def temperature(self) -> float:
        """T, kept in the state dict; 0 is the hard choice."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._temperature = check_temperature(value)

    @property
    def hard(self) -> bool:
        """Whether every receiver reads one sender only, and no gradient says otherwise."""
        return self.temperature == 0 and not self.straight_through

    def weights(self) -> Float[Tensor, "r s"]:
        """Return the rows, each of which sums to 1."""
        rows = attention_rows(self.logits, self.temperature)
        if self.temperature == 0 and self.straight_through:
            soft = attention_rows(self.logits, 1.0)
            return rows + soft - soft.detach()
        return rows

    def entropy(self) -> Float[Tensor, " r"]:
        """Return the entropy of every row in nats; 0 at temperature 0."""
        return row_entropy(self.logits, self.temperature)

    def parents(self) -> Int[Tensor, " r"]:
        """Return the sender with the largest weight for every receiver, the first of equal ones."""
        return self.logits.detach().argmax(dim=1)

    def margin(self) -> Float[Tensor, " r"]:
        """Return how far every row's largest weight is above its second, at the present temperature."""
        return row_margin(self.weights().detach())

    def moved(self) -> float:
        """Return the largest change of a logit since it was made; 0 where attention was never trained."""
        return float((self.logits.detach() - self.start).abs().max())

    def read_by(self, receivers: Iterable[int]) -> set[int]:
        """Return which senders these receivers look at: all of them, or in hard attention those they chose."""
        if not self.hard:
            return set(range(self.logits.shape[1]))
        parents = self.parents().tolist()
        return {parents[receiver] for receiver in receivers}

    def forward(self, features: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Mix what the senders gave, `(n, ...)` each, into the input of every receiver.

        In hard attention a sender may be `None`; so is then the input of whoever chose it.
        """
        if self.hard:
            return [features[parent] for parent in self.parents().tolist()]
        stacked = torch.stack([feature for feature in features if feature is not None])
        return list(torch.tensordot(self.weights().to(stacked.dtype), stacked, dims=1))

    def extra_repr(self) -> str:
        """Receivers, senders and temperature."""
        receivers, senders = self.logits.shape
        return f"receivers={receivers}, senders={senders}, temperature={self.temperature:g}"

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Keep the temperature with the weights: without it they would mean something else."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + TEMPERATURE] = torch.tensor(self.temperature, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        stored = state_dict.pop(prefix + TEMPERATURE, None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if stored is not None:
            state_dict[prefix + TEMPERATURE] = stored
            self.temperature = float(stored)
            unexpected = args[3] if len(args) > 3 else kwargs["unexpected_keys"]
            if prefix + TEMPERATURE in unexpected:
                unexpected.remove(prefix + TEMPERATURE)
