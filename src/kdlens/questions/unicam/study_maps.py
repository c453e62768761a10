"""The maps of a study, whichever protocol draws them."""

from typing import NamedTuple, Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.questions.context import Subject, Trio
from kdlens.questions.unicam.maps import Scene, Sight, unicam_from_activations
from kdlens.questions.unicam.view import View


class Drawn(NamedTuple):
    """Maps of some images.

    Attributes:
        signed: `(n, H, W)` signed and on one scale; what cannot be told from chance is zero where the protocol knows.
        empty: `(n,)` nothing positive.
        layer: layer of the maps; empty where they need none.
    """

    signed: Float[Tensor, "n H W"]
    empty: Bool[Tensor, " n"]
    layer: str


class StudyMaps(Protocol):
    """Draws maps for the networks of a study."""

    def of_reference(self, model: Subject, given: Subject | None) -> Drawn:
        """Maps of the comparison set."""
        ...

    def of_images(self, model: Subject, given: Subject | None, chosen: Int[Tensor, " n"]) -> Drawn:
        """Maps of other images, each of which depends on no other."""
        ...

    def whole(self, model: Subject, given: Subject | None) -> Float[Tensor, "n H W"]:
        """Signed maps of the comparison set from which nothing has been cut, to put pixels in order."""
        ...

    def own(self, model: Subject) -> Float[Tensor, "n H W"]:
        """`whole` of one network alone, each map up to a positive factor, for a network that is looked at once."""
        ...

    def in_band(self, trio: Trio) -> Bool[Tensor, " n"] | None:
        """Which images of the comparison set show no more than null maps do; None where the protocol has no null."""
        ...


class PublishedMaps:
    """Maps of the published protocol.

    Args:
        view: the study through UniCAM's eyes.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self._sights: dict[tuple[Subject, bytes], Sight] = {}

    def of_reference(self, model: Subject, given: Subject | None) -> Drawn:
        """The comparison set's maps, from comparing its images with one another."""
        return self._drawn(self.view.scene(model, given), None)

    def of_images(self, model: Subject, given: Subject | None, chosen: Int[Tensor, " n"]) -> Drawn:
        """Each image compared with the comparison set alone."""
        sights = (self._sight(model, chosen), self._sight(given, chosen) if given else None)
        return self._drawn(Scene(*sights, self.view.context.labels[chosen]), self.view.scene(model, given))

    def whole(self, model: Subject, given: Subject | None) -> Float[Tensor, "n H W"]:
        """The signed maps as they are."""
        return self.of_reference(model, given).signed

    def own(self, model: Subject) -> Float[Tensor, "n H W"]:
        """The same of one network; its features are not kept."""
        return self._drawn(Scene(self.view.sight(model, self.view.reference), None, self.view.labels), None).signed

    def in_band(self, trio: Trio) -> None:
        """The published protocol has no null."""

    def _sight(self, subject: Subject, chosen: Tensor) -> Sight:
        key = (subject, chosen.numpy().tobytes())
        if key not in self._sights:
            self._sights[key] = self.view.sight(subject, chosen)
        return self._sights[key]

    def _drawn(self, scene: Scene, reference: Scene | None) -> Drawn:
        found = unicam_from_activations(scene, size=self.view.size, reference=reference)
        return Drawn(found.raw.cpu(), found.degenerate.cpu(), found.layer)
