"""What a section's renderer knows beside its answer: the networks and their roles, the classes, and how much fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kdlens.answer import Answer
from kdlens.report.meta import Meta
from kdlens.report.numbers import short_name
from kdlens.report.rows import Measured


@dataclass(frozen=True)
class Detail:
    """How much a report may weigh: images in the gallery, their side and quality, rows in a table.

    Attributes:
        items: most images in the gallery.
        side: largest side of a picture.
        quality: WebP quality of a picture.
        negative: whether maps have their negative part.
        rows: most rows a table shows; the rest is in the download.
    """

    items: int = 48
    side: int = 224
    quality: int = 82
    negative: bool = True
    rows: int = 1500


LEVELS = (
    Detail(),
    Detail(side=192, quality=74),
    Detail(side=160, quality=70, negative=False, rows=800),
    Detail(items=24, side=144, quality=66, negative=False, rows=400),
    Detail(items=8, side=112, quality=60, negative=False, rows=100),
)
"""From full detail to what always fits."""


@dataclass(frozen=True)
class Setting:
    """The report a section stands in.

    Attributes:
        meta: networks, data and all else that is not an answer.
        answers: all answers by question.
        anchors: anchor of every question.
        detail: how much may be shown.
    """

    meta: Meta
    answers: Mapping[str, Answer]
    anchors: Mapping[str, str] = field(default_factory=dict)
    detail: Detail = LEVELS[0]

    def role(self, name: str) -> str:
        """A network's role; a name the study does not know is a student's unless it is a role itself."""
        roles = {card.name: card.role for card in self.meta.models}
        return roles.get(name) or (name if name in ("teacher", "baseline") else "student")

    def colour(self, m: Measured) -> str:
        """The class that colours a number: its network's role."""
        return self.role(m.row.model)

    def students(self, answer: Answer) -> list[str]:
        """The students an answer speaks of, in the order of the study."""
        seen = dict.fromkeys(row.model for row in answer.rows if row.model and self.role(row.model) == "student")
        order = {card.name: place for place, card in reversed(list(enumerate(self.meta.models)))}
        return sorted(seen, key=lambda name: order.get(name, len(order)))

    def class_name(self, label: int) -> str:
        """A class's name, or its number where it has none."""
        classes = self.meta.data.classes
        return short_name(classes[label]) if 0 <= label < len(classes) else f"class {label}"
