"""Training on the labels alone: the baseline, and the teacher before it can teach."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from kdlens.training.losses.base import Inputs, Loss, check_option, in_full_precision


@dataclass(eq=False, repr=False)
class Labels(Loss):
    """Cross-entropy with the labels, in nats, mean over images.

    Example:
        >>> import torch
        >>> terms = Labels()(Inputs(torch.tensor([1]), torch.tensor([[0.0, 0.0]])))
        >>> round(terms["labels"].item(), 4)
        0.6931
    """

    name: ClassVar[str] = "labels"
    needs_teacher: ClassVar[bool] = False

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the term `labels`."""
        return {"labels": label_term(inputs)}


@dataclass(eq=False, repr=False)
class LabelSmoothing(Loss):
    """Cross-entropy with labels mixed with the uniform distribution (Szegedy et al., CVPR 2016, section 7).

    Attributes:
        smoothing: share of the uniform distribution, in [0, 1).

    Example:
        >>> LabelSmoothing(smoothing=0.2).options
        {'smoothing': 0.2}
    """

    name: ClassVar[str] = "label-smoothing"
    needs_teacher: ClassVar[bool] = False
    smoothing: float = 0.1

    def check(self) -> None:
        """Refuse a share outside [0, 1)."""
        check_option(0 <= self.smoothing < 1, "smoothing", "must be at least 0 and less than 1", self.smoothing)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the term `labels`."""
        logits = in_full_precision(inputs.student_logits)
        return {"labels": F.cross_entropy(logits, inputs.labels, label_smoothing=self.smoothing)}


def label_term(inputs: Inputs) -> Tensor:
    """Cross-entropy of the student with the labels, in nats, mean over images."""
    return F.cross_entropy(in_full_precision(inputs.student_logits), inputs.labels)
