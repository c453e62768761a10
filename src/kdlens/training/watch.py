"""Sums of an epoch, and the alarm when a loss is no number any more."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.errors import KdlensError

ADVICE = "the last stored state is from before. Try a smaller learning rate, a warmup, or clip"


class TrainingDivergedError(KdlensError, ArithmeticError):
    """A term of the loss became NaN or infinite."""


class Watch:
    """Sums what the steps of an epoch report.

    A step's numbers are read when the next step is on its way, so that an accelerator never waits for Python.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.images = 0
        self.last_loss = math.nan
        self._waiting: tuple[int, int, list[str], Tensor, int] | None = None

    def see(self, epoch: int, step: int, terms: list[str], numbers: Tensor, images: int) -> None:
        """Take the mean terms of a step and its correct answers, `(terms + 1,)`; check those of the step before."""
        self.settle()
        self._waiting = (epoch, step, terms, numbers, images)

    def settle(self) -> None:
        """Read and check the numbers that are still waiting.

        Raises:
            TrainingDivergedError: a term is not finite; names the first such term, the epoch and the step.
        """
        if self._waiting is None:
            return
        epoch, step, terms, numbers, images = self._waiting
        self._waiting = None
        *values, correct = numbers.tolist()
        for term, value in zip(terms, values, strict=True):
            if not math.isfinite(value):
                raise TrainingDivergedError(
                    f'the term "{term}" of the loss became {value} in epoch {epoch + 1}, step {step + 1}; {ADVICE}'
                )
            self.sums[term] = self.sums.get(term, 0.0) + value * images
        self.last_loss = sum(values)
        self.sums["correct"] = self.sums.get("correct", 0.0) + correct
        self.images += images

    def means(self) -> dict[str, float]:
        """Return the epoch's means: `loss`, each term as `loss_NAME`, and `top1` in percent."""
        self.settle()
        terms = {name: total / self.images for name, total in self.sums.items() if name != "correct"}
        means = {"loss": sum(terms.values()), **{f"loss_{name}": value for name, value in terms.items()}}
        means["top1"] = 100 * self.sums["correct"] / self.images
        return means

    def state(self) -> dict[str, Any]:
        """Sums so far, for a state in the middle of an epoch."""
        self.settle()
        return {"sums": self.sums, "images": self.images}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.sums, self.images = dict(state["sums"]), int(state["images"])


def check_finite_weights(network: nn.Module, epoch: int) -> None:
    """Raise `TrainingDivergedError` when a weight is NaN or infinite; the next loss would show it too late.

    Args:
        network: the student.
        epoch: finished epochs.
    """
    named = [(name, weight) for name, weight in network.named_parameters() if weight.is_floating_point()]
    if not named:
        return
    finite = torch.stack([torch.isfinite(weight).all() for _, weight in named]).tolist()
    for (name, _), fine in zip(named, finite, strict=True):
        if not fine:
            raise TrainingDivergedError(f'the weights "{name}" became NaN or infinite in epoch {epoch + 1}; {ADVICE}')


def step_numbers(terms: dict[str, Tensor], logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Return a process's part of the mean terms and of the number of correct answers, in float64.

    Args:
        terms: means over the images this process has.
        logits: `(n, K)`.
        labels: `(n,)`.
        share: its share of the batch; 0 for a process that has none of it.
    """
    correct = (logits.argmax(1) == labels).sum() * (share > 0)
    return torch.stack([*(term.detach().double() * share for term in terms.values()), correct.double()])
