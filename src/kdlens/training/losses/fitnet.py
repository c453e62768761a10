"""FitNets: hints for thin deep nets (Romero et al., ICLR 2015, equation 3).

A regressor on a layer of the student learns to say what a layer of the teacher says. Published are two stages, the hint
alone and then soft targets; later work (the usual benchmark code) trains hint and labels together with the mean of
squares over all elements and weight 100, which is the default here. `hint_epochs` gives the first stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.training.losses.base import Inputs, Layers, Loss, check_option, check_same_classes, in_full_precision
from kdlens.training.losses.features import check_pairs, choose_pairs, to_one_grid
from kdlens.training.losses.kd import soft_target_loss
from kdlens.training.losses.labels import label_term


@dataclass(eq=False, repr=False)
class FitNet(Loss):
    """Cross-entropy with the labels + beta x mean squared distance of regressed and taught activations.

    The regressor is a 1x1 convolution on feature maps and a linear map on tokens and vectors. Between equally wide
    layers it starts as the identity, so that a student equal to its teacher pays nothing.

    Attributes:
        student_layers: the student's layer, or several for several hints; `"auto"` takes the middle one of its stages.
        teacher_layers: likewise for the teacher.
        beta: weight of the hints (their mean, if there are several).
        alpha: weight of soft targets beside the labels, as in `KD`; 0 leaves them out.
        temperature: for the soft targets.
        hint_epochs: so many first epochs learn from the hint alone.

    Example:
        >>> FitNet(student_layers="layer2", teacher_layers="layer2").options["beta"]
        100.0
    """

    name: ClassVar[str] = "fitnet"
    student_layers: str | Sequence[str] = "auto"
    teacher_layers: str | Sequence[str] = "auto"
    beta: float = 100.0
    alpha: float = 0.0
    temperature: float = 4.0
    hint_epochs: int = 0

    def check(self) -> None:
        """Refuse negative weights."""
        check_option(self.beta >= 0, "beta", "must not be negative", self.beta)
        check_option(0 <= self.alpha <= 1, "alpha", "must lie between 0 and 1", self.alpha)
        check_option(self.temperature > 0, "temperature", "must be positive", self.temperature)
        check_option(self.hint_epochs >= 0, "hint_epochs", "must not be negative", self.hint_epochs)
        self.regressors = nn.ModuleList()

    @property
    def unused_parameters(self) -> bool:
        """In the first stage nothing above the hint has a gradient."""
        return self.hint_epochs > 0

    def layers(self, student: nn.Module, teacher: nn.Module, example: Tensor) -> Layers:
        """Return the named pair(s), or the middle pair of the stages."""
        pairs = choose_pairs(student, teacher, example, self.student_layers, self.teacher_layers)
        if self.student_layers != "auto" or self.teacher_layers != "auto" or not pairs.student:
            return pairs
        middle = (len(pairs.student) - 1) // 2
        return Layers((pairs.student[middle],), (pairs.teacher[middle],))

    def build(self, inputs: Inputs) -> None:
        """Create one regressor a pair of layers."""
        check_pairs(inputs.student_features, inputs.teacher_features)
        if self.alpha:
            check_same_classes(inputs)
        pairs = zip(inputs.student_features, inputs.teacher_features, strict=True)
        self.regressors = nn.ModuleList(_regressor(mine, theirs) for mine, theirs in pairs)
        self.regressors.to(inputs.student_logits.device)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the terms `hint`, and `labels` and `soft_targets` where they are asked for."""
        triples = zip(self.regressors, inputs.student_features, inputs.teacher_features, strict=True)
        hints = [hint_distance(regressor, mine, theirs) for regressor, mine, theirs in triples]
        terms = {"hint": self.beta * torch.stack(hints).mean()}
        if inputs.epoch < self.hint_epochs:
            return terms
        terms["labels"] = (1 - self.alpha) * label_term(inputs)
        if self.alpha:
            soft = soft_target_loss(inputs.student_logits, inputs.from_teacher, self.temperature)
            terms["soft_targets"] = self.alpha * soft
        return terms


def hint_distance(regressor: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over all elements of (regressor(student) - teacher)^2, feature maps brought to one grid."""
    student, teacher = in_full_precision(student), in_full_precision(teacher.detach())
    if student.dim() == 4:
        student, teacher = to_one_grid(student, teacher)
    return F.mse_loss(regressor(student), teacher)


def _regressor(student: Tensor, teacher: Tensor) -> nn.Module:
    """A 1x1 convolution for `(n, C, H, W)`, a linear map for `(n, N, C)` and `(n, C)`; identity where widths agree."""
    same_kind = student.dim() == teacher.dim() and student.dim() in (2, 3, 4)
    if not same_kind or (student.dim() == 3 and student.shape[1] != teacher.shape[1]):
        raise LayerShapeError(
            "a hint needs two feature maps, two vectors or two equally long token sequences; the student's layer gives "
            f"{tuple(student.shape)} and the teacher's {tuple(teacher.shape)} (first axis: images)"
        )
    if student.dim() == 4:
        conv = nn.Conv2d(student.shape[1], teacher.shape[1], kernel_size=1)
        return _start_as_identity(conv) if conv.in_channels == conv.out_channels else conv
    linear = nn.Linear(student.shape[-1], teacher.shape[-1])
    return _start_as_identity(linear) if linear.in_features == linear.out_features else linear


def _start_as_identity(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.eye(layer.weight.shape[0]).reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
