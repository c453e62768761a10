"""The logits of a study, reduced to the images on which every network gives numbers, and who is compared with whom."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.questions.accuracy.judged import Judged, judge
from kdlens.questions.context import Context

Key = tuple[str, int]
"""A network's name and seed."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the question works on.

    Attributes:
        logits: `(n, classes)` of every network and seed, finite.
        labels: `(n,)`.
        classes: names of the classes.
        roles: every network's role, in the order of the study.
        partners: the baseline of every student and seed.
        drawn: images before those with NaN or infinite logits were left out.
        broken: of every network and seed with such images, how many.
    """

    logits: dict[Key, Float[Tensor, "n classes"]]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    roles: dict[str, str]
    partners: dict[Key, Key]
    drawn: int
    broken: dict[Key, int]

    @property
    def teacher(self) -> Key | None:
        """The teacher, where there is one."""
        return next((key for key in self.logits if self.roles[key[0]] == "teacher"), None)

    @property
    def students(self) -> list[str]:
        """Names of the students."""
        return [name for name, role in self.roles.items() if role == "student"]

    @property
    def present(self) -> list[int]:
        """Classes with images."""
        return [int(k) for k in self.labels.unique()]

    def keys(self, name: str) -> list[Key]:
        """A network's seeds."""
        return [key for key in self.logits if key[0] == name]

    def baseline(self, student: str) -> str:
        """The baseline that a student is compared with."""
        return self.partners[self.keys(student)[0]][0]


def prepare(context: Context) -> Prepared:
    """Take every network's logits from the context.

    Raises:
        DataError: no images, or labels outside the classes.
        ModelError: logits of the wrong shape, or not one image with finite logits.
    """
    judged: dict[str, Judged] = judge(context)
    every = [(one, seed, logits) for one in judged.values() for seed, logits in zip(one.seeds, one.logits, strict=True)]
    finite = {(one.name, seed): torch.isfinite(logits).all(1) for one, seed, logits in every}
    keep = torch.stack(list(finite.values())).all(0)
    return Prepared(
        logits={(one.name, seed): logits[keep] for one, seed, logits in every},
        labels=context.labels[keep],
        classes=tuple(context.class_names),
        roles={name: one.role for name, one in judged.items()},
        partners={(t.student.name, t.student.seed): (t.baseline.name, t.baseline.seed) for t in context.trios()},
        drawn=len(keep),
        broken={key: int((~one).sum()) for key, one in finite.items() if not bool(one.all())},
    )
