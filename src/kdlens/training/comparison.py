"""The comparison of Han, Kim, Choi and Yoon (ICML 2023): does distillation make a student more interpretable?

Their claim: logits of a teacher carry which classes are alike, and a student that learns them gets more interpretable,
while label smoothing, which is as good for accuracy, takes just this away. At temperature 1 the two differ in nothing
but the second target, the teacher's distribution or the uniform one: that is the controlled part of the comparison.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from kdlens.training.losses import LOSSES, Loss

TeacherName = Literal["teacher", "smoothed teacher", "own architecture"]
"""Who teaches: a larger network trained on labels, the same trained with label smoothing, or a network of the student's
architecture, from other first weights, trained on labels."""

SMOOTHING = 0.1
"""Share of the uniform distribution; the authors' is not published."""

CONTROLLED: dict[str, Any] = {"temperature": 1.0, "alpha": 0.5}
"""Soft targets as in the controlled part: not softened, half of the loss. This is their released setting for KD."""


@dataclass(frozen=True)
class Preset:
    """One student of the comparison.

    Attributes:
        name: what to call it.
        method: name of the method, see `kdlens methods`.
        options: options of the method, for `kdlens.distill(..., method=method, **options)`.
        teacher: who teaches it; None for the labels alone.
        about: what it is there for.
    """

    name: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    teacher: TeacherName | None = None
    about: str = ""

    def loss(self) -> Loss:
        """The method with its options.

        Example:
            >>> interpretability_comparison()[0].loss().name
            'labels'
        """
        return LOSSES[self.method].from_options(self.options)


def interpretability_comparison() -> tuple[Preset, ...]:
    """Return the students of the comparison: labels, label smoothing, KD in its variants, and feature distillation.

    Feature distillation comes without and with logit distillation. Theirs are attention transfer, FT, CRD and SSKD; of
    these kdlens has attention transfer, and FitNet stands beside it. Their attention transfer weighs the labels 0.1 and
    the maps 1,000; here the labels keep weight 1, as its authors have it. Their KD from a smoothed teacher is at
    temperature 2 with the teacher's weight 0.9, and the temperature is varied; here the weight stays that of `kd`, so
    that teacher and temperature are all that differs.

    Example:
        >>> [preset.name for preset in interpretability_comparison()]  # doctest: +NORMALIZE_WHITESPACE
        ['labels', 'label-smoothing', 'kd', 'kd-t4', 'kd-smoothed', 'kd-smoothed-t4', 'self-kd', 'at', 'at+kd',
         'fitnet', 'fitnet+kd']

    Source: Han et al., On the impact of knowledge distillation for model interpretability, ICML 2023.
    """
    softer = {**CONTROLLED, "temperature": 4.0}
    smoothed: TeacherName = "smoothed teacher"
    return (
        Preset("labels", "labels", about="what all others are compared with"),
        Preset("label-smoothing", "label-smoothing", {"smoothing": SMOOTHING}, about="soft targets without a teacher"),
        Preset("kd", "kd", CONTROLLED, "teacher", "soft targets that know which classes are alike"),
        Preset("kd-t4", "kd", softer, "teacher", "softer ones"),
        Preset("kd-smoothed", "kd", CONTROLLED, smoothed, "a teacher that forgot which classes are alike"),
        Preset("kd-smoothed-t4", "kd", softer, smoothed, "what is left of it, made louder"),
        Preset("self-kd", "self-distillation", CONTROLLED, "own architecture", "no larger network is needed"),
        Preset("at", "at", {}, "teacher", "features alone"),
        Preset("at+kd", "at", CONTROLLED, "teacher", "features and logits"),
        Preset("fitnet", "fitnet", {}, "teacher", "features alone"),
        Preset("fitnet+kd", "fitnet", CONTROLLED, "teacher", "features and logits"),
    )
