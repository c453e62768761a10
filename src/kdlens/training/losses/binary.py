"""K classes as K yes-no tasks, as mixtures of experts are trained (Xue et al., KDExplainer, IJCAI 2021).

Any student with K logits can be trained so: logit c answers whether the image is of class c, and the largest answer
wins. That K classes become K binary tasks is published; the weights below are those of the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from kdlens.errors import ConfigError
from kdlens.nn.binary import Reduction, binary_cross_entropy, binary_kd_loss, marginal_logits
from kdlens.training.losses.base import Inputs, Loss, check_option, check_same_classes, in_full_precision

PosWeight = float | Literal["balanced"] | None
"""Weight of the one yes among K answers: a number, `"balanced"` for K - 1, None for 1."""


@dataclass(eq=False, repr=False)
class BinaryLabels(Loss):
    """Cross-entropy of every class's yes or no with the label, in nats, summed over classes, mean over images.

    Attributes:
        pos_weight: weight of the one yes among K answers: a number, `"balanced"` for K - 1, None for 1.
        reduction: `"sum"` or `"mean"` over classes.

    Example:
        >>> import torch
        >>> terms = BinaryLabels()(Inputs(torch.tensor([1]), torch.tensor([[0.0, 0.0]])))
        >>> round(terms["labels"].item(), 4)  # 2 ln 2
        1.3863
    """

    name: ClassVar[str] = "binary-labels"
    needs_teacher: ClassVar[bool] = False
    pos_weight: PosWeight = None
    reduction: Reduction = "sum"

    def check(self) -> None:
        """Refuse weights and reductions that there are not."""
        _check(self.pos_weight, self.reduction)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the term `labels`."""
        logits = in_full_precision(inputs.student_logits)
        return {"labels": binary_cross_entropy(logits, inputs.labels, **self.options)}


@dataclass(eq=False, repr=False)
class BinaryLabelSmoothing(Loss):
    """Cross-entropy of every class's yes or no with its smoothed label.

    Attributes:
        smoothing: epsilon, in [0, 1). All wrong classes get the same target.
        kind: what is added to `(1 - epsilon) [y = c]`: epsilon / K (`"marginal"`) or epsilon / 2 (`"binary"`).
        pos_weight: weight of the yes part of every target: a number, `"balanced"` for K - 1, None for 1.
        reduction: `"sum"` or `"mean"` over classes.

    Example:
        >>> BinaryLabelSmoothing(smoothing=0.2).options["kind"]
        'marginal'
    """

    name: ClassVar[str] = "binary-label-smoothing"
    needs_teacher: ClassVar[bool] = False
    smoothing: float = 0.1
    kind: Literal["marginal", "binary"] = "marginal"
    pos_weight: PosWeight = None
    reduction: Reduction = "sum"

    def check(self) -> None:
        """Refuse a share outside [0, 1), and choices that there are not."""
        check_option(0 <= self.smoothing < 1, "smoothing", "must be at least 0 and less than 1", self.smoothing)
        _one_of("kind", self.kind, "marginal", "binary")
        _check(self.pos_weight, self.reduction)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the term `labels`."""
        logits = in_full_precision(inputs.student_logits)
        return {"labels": binary_cross_entropy(logits, inputs.labels, **self.options)}


@dataclass(eq=False, repr=False)
class BinaryKD(Loss):
    """(1 - alpha) binary cross-entropy with the labels + alpha T^2 KL of every class's yes and no from the teacher's.

    Attributes:
        temperature: how much both outputs are softened.
        alpha: weight of the teacher, in [0, 1].
        soft_target: what the teacher says of a class: its share of the softmax (`"marginal"`), or the sigmoid of its
            logit alone (`"sigmoid"`, for teachers that were trained so).
        student_kind: whether the student's logits are those of K sigmoids or of one softmax, whose marginals are taken.
        pos_weight: weight of the yes in the label term: a number, `"balanced"` for K - 1, None for 1.
        reduction: `"sum"` or `"mean"` over classes.

    With marginals as targets, a student that learned all has the logits `T r_c(T)`, where r_c is the logit of the
    teacher's softened share of class c. Its ranking is the teacher's; its sigmoids are the teacher's shares at T.

    Example:
        >>> import torch
        >>> teacher, loss = torch.tensor([[2.0, 1.0, 0.0, -1.0]]), BinaryKD()
        >>> loss.agreeing(teacher)
        tensor([[-2.4774, -3.9274, -5.2458, -6.4774]])
        >>> terms = loss(Inputs(torch.tensor([0]), loss.agreeing(teacher), teacher))
        >>> abs(terms["soft_targets"].item()) < 1e-5
        True
    """

    name: ClassVar[str] = "binary-kd"
    temperature: float = 4.0
    alpha: float = 0.9
    soft_target: Literal["marginal", "sigmoid"] = "marginal"
    student_kind: Literal["sigmoid", "softmax"] = "sigmoid"
    pos_weight: PosWeight = None
    reduction: Reduction = "sum"

    def check(self) -> None:
        """Refuse weights and choices that there are not, and a softmax that should give any set of yes and no."""
        check_option(self.temperature > 0, "temperature", "must be positive", self.temperature)
        check_option(0 <= self.alpha <= 1, "alpha", "must lie between 0 and 1", self.alpha)
        _one_of("soft_target", self.soft_target, "marginal", "sigmoid")
        _one_of("student_kind", self.student_kind, "sigmoid", "softmax")
        _check(self.pos_weight, self.reduction)
        if self.student_kind == "softmax" and self.soft_target == "sigmoid":
            raise ConfigError(
                'the shares of a softmax add up to 1 and sigmoids do not, so student_kind="softmax" could never learn '
                'soft_target="sigmoid"; use soft_target="marginal" or student_kind="sigmoid"'
            )

    def build(self, inputs: Inputs) -> None:
        """Check that both networks name the same classes."""
        check_same_classes(inputs)

    def agreeing(self, teacher_logits: Tensor) -> Tensor:
        """Return T r_c(T) for sigmoids that learn marginals, the teacher's own logits otherwise."""
        if self.soft_target == "sigmoid" or self.student_kind == "softmax":
            return teacher_logits
        return self.temperature * marginal_logits(teacher_logits, self.temperature)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the terms `labels` and `soft_targets`."""
        learned, taught = in_full_precision(inputs.student_logits), in_full_precision(inputs.from_teacher)
        answers = marginal_logits(learned) if self.student_kind == "softmax" else learned
        labels = binary_cross_entropy(answers, inputs.labels, pos_weight=self.pos_weight, reduction=self.reduction)
        soft = binary_kd_loss(
            learned,
            taught,
            self.temperature,
            reduction=self.reduction,
            soft_target=self.soft_target,
            student_kind=self.student_kind,
        )
        return {"labels": (1 - self.alpha) * labels, "soft_targets": self.alpha * soft}


def _check(pos_weight: object, reduction: object) -> None:
    fine = pos_weight in (None, "balanced") or (isinstance(pos_weight, int | float) and 0 < pos_weight < float("inf"))
    check_option(fine, "pos_weight", 'must be a positive number, "balanced" or None', pos_weight)
    _one_of("reduction", reduction, "sum", "mean")


def _one_of(name: str, value: object, *known: str) -> None:
    check_option(value in known, name, f"must be {' or '.join(known)}", value)
