"""Knowledge distillation from softened outputs (Hinton, Vinyals and Dean, arXiv 1503.02531, section 2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdlens.training.losses.base import Inputs, Loss, check_option, check_same_classes, in_full_precision
from kdlens.training.losses.labels import label_term


def soft_target_loss(
    student: Float[Tensor, "n k"], teacher: Float[Tensor, "n k"], temperature: float = 4.0
) -> Float[Tensor, ""]:
    """Return T^2 KL(softmax(teacher/T) || softmax(student/T)) in nats: summed over classes, mean over images.

    The factor T^2 keeps the size of the gradient, which softening divides by T^2, comparable over temperatures.

    Args:
        student: logits.
        teacher: logits; no gradient is sent here.
        temperature: T, positive.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
        >>> soft_target_loss(logits, logits).item()
        0.0
    """
    learned = F.log_softmax(in_full_precision(student) / temperature, dim=1)
    taught = F.log_softmax(in_full_precision(teacher.detach()) / temperature, dim=1)
    return temperature**2 * F.kl_div(learned, taught, reduction="batchmean", log_target=True)


@dataclass(eq=False, repr=False)
class KD(Loss):
    """(1 - alpha) cross-entropy with the labels + alpha soft-target loss.

    Attributes:
        temperature: how much both outputs are softened.
        alpha: weight of the teacher, in [0, 1].

    Example:
        >>> import torch
        >>> logits = torch.randn(4, 3)
        >>> terms = KD(temperature=2.0)(Inputs(torch.tensor([0, 1, 2, 0]), logits, logits))
        >>> sorted(terms), terms["soft_targets"].item()
        (['labels', 'soft_targets'], 0.0)
    """

    name: ClassVar[str] = "kd"
    temperature: float = 4.0
    alpha: float = 0.9

    def check(self) -> None:
        """Refuse weights outside [0, 1] and temperatures that are not positive."""
        check_option(self.temperature > 0, "temperature", "must be positive", self.temperature)
        check_option(0 <= self.alpha <= 1, "alpha", "must lie between 0 and 1", self.alpha)

    def build(self, inputs: Inputs) -> None:
        """Check that both networks name the same classes."""
        check_same_classes(inputs)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the terms `labels` and `soft_targets`."""
        soft = soft_target_loss(inputs.student_logits, inputs.from_teacher, self.temperature)
        return {"labels": (1 - self.alpha) * label_term(inputs), "soft_targets": self.alpha * soft}
