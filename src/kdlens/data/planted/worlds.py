"""What planted worlds are made of.

Three cues are planted in every image. The *taught* cue is known to teacher and student, the *other* cue to the baseline
alone, the *shared* cue to all. So what the student has and the baseline has not is the taught cue, nothing else; what
the baseline has and the student has not is the other cue.

* In an **additive** world every cue votes for the class and votes independently of the others, right four times out of
  five. Evidence adds up, and the student's own part of it is exactly what the taught cue says.
* In an **interacting** world the class is a combination: the student's of shared and taught cue, the baseline's of
  shared and other cue. What one cue is worth then depends on another, so the truth is measured: take exactly that cue
  out of the image and see what changes.
"""

from dataclasses import dataclass
from typing import Literal

from kdlens.data.files import one_of
from kdlens.data.planted.cues import VOTES, Cue
from kdlens.errors import DataError

Kind = Literal["additive", "interacting"]
Canvas = Literal["plain", "scenes"]
Place = Literal["columns", "scattered", "overlapping"]
Role = Literal["teacher", "student", "baseline"]

CUES = ("taught", "shared", "other")
ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")
KNOWN = {"teacher": ("taught", "shared"), "student": ("taught", "shared"), "baseline": ("shared", "other")}
"""Which cues the networks of a world can learn from their training images."""

CLASSES = 4
RELIABILITY = 0.8
"""Chance that a cue of an additive world votes for the class."""

MISSING = 0.15
"""Chance that a cue is not there in a training image, so that networks know what its absence looks like."""

_WIDEST = 10  # pixels of a third of 32


@dataclass(frozen=True)
class World:
    """A world: what its cues look like and where they lie.

    Attributes:
        kind: `"additive"`, evidence adds up, or `"interacting"`, cues must be combined.
        taught: look of the cue that the student can have from its teacher.
        shared: look of the cue that all networks know.
        other: look of the cue that the baseline alone knows.
        canvas: `"plain"`, noise, or `"scenes"`, garments on textured backgrounds; neither tells the class.
        place: `"columns"`, each cue in its third of the image, `"scattered"` without touching, or `"overlapping"`,
            anywhere, also partly on one another.

    Raises:
        DataError: an unknown kind, canvas or place, or cues too wide for their columns.

    Example:
        >>> World("additive", Cue("shape", 7), Cue("colour", 5), Cue("angle", 7), place="columns").votes
        4
    """

    kind: Kind
    taught: Cue
    shared: Cue
    other: Cue
    canvas: Canvas = "plain"
    place: Place = "scattered"

    def __post_init__(self) -> None:
        one_of(self.kind, ("additive", "interacting"), "kind", "a world")
        one_of(self.canvas, ("plain", "scenes"), "canvas", "a world")
        one_of(self.place, ("columns", "scattered", "overlapping"), "place", "a world")
        if self.place == "columns" and max(cue.size for cue in self.cues) > _WIDEST:
            raise DataError(f"cues in columns are at most {_WIDEST} pixels wide, a third of the image")

    @property
    def cues(self) -> tuple[Cue, Cue, Cue]:
        """Looks of the taught, the shared and the other cue."""
        return self.taught, self.shared, self.other

    @property
    def votes(self) -> int:
        """Things each cue can say."""
        return VOTES if self.kind == "additive" else 2


WORLDS = {
    "columns": World("additive", Cue("shape", 7), Cue("colour", 5), Cue("angle", 7), place="columns"),
    "scattered": World("additive", Cue("texture", 9), Cue("shape", 7), Cue("colour", 5)),
    "overlapping": World("additive", Cue("angle", 11), Cue("colour", 7), Cue("shape", 9), place="overlapping"),
    "scenes": World("additive", Cue("shape", 9), Cue("colour", 7), Cue("texture", 9), canvas="scenes"),
    "columns-interacting": World("interacting", Cue("angle", 7), Cue("shape", 7), Cue("colour", 5), place="columns"),
    "scenes-interacting": World("interacting", Cue("texture", 9), Cue("shape", 9), Cue("colour", 7), canvas="scenes"),
}
"""The six worlds of the benchmark; cached networks were trained on them, so they do not change."""
