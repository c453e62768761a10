"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017, section 3.1, activation-based).

The attention map of an activation A is Q = sum over channels of |A|^p, read as a vector over positions and divided by
its Euclidean length. The loss of a pair of layers is the mean over positions and images of (Q_student - Q_teacher)^2,
summed over pairs, with weight 1000: the authors' code, and the paper's "10^3 divided by the number of elements".

It works on feature maps only. Applied to logits it is identically zero, a mistake that has been published; a layer
without spatial extent is therefore refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.training.losses.base import Inputs, Layers, Loss, check_option, check_same_classes, in_full_precision
from kdlens.training.losses.features import check_pairs, choose_pairs, to_one_grid
from kdlens.training.losses.kd import soft_target_loss
from kdlens.training.losses.labels import label_term


def attention_map(activation: Float[Tensor, "n c h w"], power: float = 2.0) -> Float[Tensor, "n hw"]:
    """Return where an activation is strong: sum over channels of |A|^power, flattened, of length 1 (or 0).

    Example:
        >>> attention_map(torch.tensor([[[[3.0, 0.0], [0.0, 0.0]]]])).tolist()
        [[1.0, 0.0, 0.0, 0.0]]
    """
    return F.normalize(activation.abs().pow(power).sum(dim=1).flatten(1), dim=1)


def attention_distance(student: Tensor, teacher: Tensor, power: float = 2.0) -> Float[Tensor, ""]:
    """Return the mean squared difference of two attention maps, the larger pooled to the grid of the smaller."""
    student, teacher = to_one_grid(in_full_precision(student), in_full_precision(teacher.detach()))
    return (attention_map(student, power) - attention_map(teacher, power)).square().mean()


@dataclass(eq=False, repr=False)
class AttentionTransfer(Loss):
    """Cross-entropy with the labels + beta x sum over pairs of layers of the distance of their attention maps.

    Attributes:
        student_layers: names of the student's layers, or `"auto"` for its stages.
        teacher_layers: likewise for the teacher.
        beta: weight of the attention maps.
        power: p of the attention map.
        alpha: weight of soft targets beside the labels, as in `KD`; 0 leaves them out.
        temperature: for the soft targets.
    """

    name: ClassVar[str] = "at"
    spatial: ClassVar[bool] = True
    student_layers: str | Sequence[str] = "auto"
    teacher_layers: str | Sequence[str] = "auto"
    beta: float = 1000.0
    power: float = 2.0
    alpha: float = 0.0
    temperature: float = 4.0

    def check(self) -> None:
        """Refuse negative weights and powers below 1, whose gradient is infinite at 0."""
        check_option(self.beta >= 0, "beta", "must not be negative", self.beta)
        check_option(self.power >= 1, "power", "must be at least 1", self.power)
        check_option(0 <= self.alpha <= 1, "alpha", "must lie between 0 and 1", self.alpha)
        check_option(self.temperature > 0, "temperature", "must be positive", self.temperature)

    def layers(self, student: nn.Module, teacher: nn.Module, example: Tensor) -> Layers:
        """Return the pairs of stages, or the layers named."""
        return choose_pairs(student, teacher, example, self.student_layers, self.teacher_layers)

    def build(self, inputs: Inputs) -> None:
        """Refuse layers without spatial extent."""
        check_pairs(inputs.student_features, inputs.teacher_features)
        if self.alpha:
            check_same_classes(inputs)
        for role, features in (("student", inputs.student_features), ("teacher", inputs.teacher_features)):
            for feature in features:
                if feature.dim() != 4 or feature.shape[2] * feature.shape[3] == 1:
                    raise LayerShapeError(
                        "attention transfer needs feature maps (n, C, H, W) with more than one position; a layer of "
                        f"the {role} gives {tuple(feature.shape)}. Name others with student_layers and teacher_layers"
                    )

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the terms `labels`, `attention`, and `soft_targets` where asked for."""
        pairs = zip(inputs.student_features, inputs.teacher_features, strict=True)
        distances = [attention_distance(mine, theirs, self.power) for mine, theirs in pairs]
        terms = {
            "labels": (1 - self.alpha) * label_term(inputs),
            "attention": self.beta * torch.stack(distances).sum(),
        }
        if self.alpha:
            soft = soft_target_loss(inputs.student_logits, inputs.from_teacher, self.temperature)
            terms["soft_targets"] = self.alpha * soft
        return terms
