"""The maps of a study by the joint protocol. Every network traces its evidence back once for each set of images."""

import hashlib
from collections.abc import Mapping
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdlens.questions.context import Subject, Trio
from kdlens.questions.unicam.joint.band import Band, above, other_labels, within
from kdlens.questions.unicam.joint.forms import form_of
from kdlens.questions.unicam.joint.pair import Traced, null_band, signed_maps
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.study_maps import Drawn
from kdlens.questions.unicam.view import View


class JointMaps:
    """Maps of the joint protocol; see `kdlens.questions.unicam.study_maps.StudyMaps`.

    The null band is read off the comparison set: off the baselines of different seeds where there are several, else off
    labels of other images.

    Args:
        view: the study through UniCAM's eyes.
        attribution: `"gradients"` or `"occlusion"`.
        temperatures: of the networks.
    """

    def __init__(self, view: View, attribution: str, temperatures: Temperatures) -> None:
        self.view = view
        self.form = form_of(attribution)
        self.temperatures = temperatures
        self._traced: dict[tuple[Subject, str], Traced] = {}

    @cached_property
    def band(self) -> Band:
        """What maps show by chance."""
        chosen, labels = self.view.reference, self.view.labels
        baselines = [s for s in self.view.context.subjects if s.role == "baseline"]
        if len(baselines) > 1:
            neighbours = list(zip(baselines, [*baselines[1:], baselines[0]], strict=True))[: len(baselines) - 1]
            pairs = [(self.traced(a, chosen, labels), self.traced(b, chosen, labels)) for a, b in neighbours]
            return null_band(self.form, pairs, self.view.size, source="baselines of different seeds")
        trio: Trio = next(iter(self.view.context.trios()))
        wrong = other_labels(labels, len(self.view.context.class_names), seed=self.view.context.seed)
        both = (self.traced(trio.student, chosen, wrong), self.traced(trio.baseline, chosen, wrong))
        return null_band(self.form, [both], self.view.size, source="labels of other images")

    def of_reference(self, model: Subject, given: Subject | None) -> Drawn:
        """The comparison set's maps; no image's depends on another."""
        return self.of_images(model, given, self.view.reference)

    def of_images(self, model: Subject, given: Subject | None, chosen: Int[Tensor, " n"]) -> Drawn:
        """Maps of any images; of two networks, without what is inside the null band, which is one of differences."""
        signed = self._signed(model, given, chosen)
        signed = signed if given is None else above(signed, self.band)
        return Drawn(signed, signed.amax((1, 2)) <= 0, "")

    def whole(self, model: Subject, given: Subject | None) -> Float[Tensor, "n H W"]:
        """Signed maps of the comparison set with what is inside the band."""
        return self._signed(model, given, self.view.reference)

    def own(self, model: Subject) -> Float[Tensor, "n H W"]:
        """Maps of one network's logits: no temperature is fitted, which needs all images, and nothing is kept."""
        effects = self._effects(model, self.view.batch().images, self.view.labels)
        return self.form.draw(effects, self.view.size)

    def _signed(self, model: Subject, given: Subject | None, chosen: Int[Tensor, " n"]) -> Float[Tensor, "n H W"]:
        labels = self.view.context.labels[chosen]
        other = self.traced(given, chosen, labels) if given else None
        return signed_maps(self.form, self.traced(model, chosen, labels), other, self.view.size)

    def in_band(self, trio: Trio) -> Bool[Tensor, " n"] | None:
        """Which images of the comparison set show no more than null maps do."""
        return within(self.whole(trio.student, trio.baseline), self.band)

    def traced(self, subject: Subject, chosen: Tensor, labels: Tensor) -> Traced:
        """Images as a network speaks of them with regard to some labels."""
        key = hashlib.sha256(chosen.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
        if (subject, key) not in self._traced:
            effects = self._effects(subject, self.view.context.batch(chosen).images, labels)
            self._traced[subject, key] = Traced(effects, self.temperatures(subject, chosen))
        return self._traced[subject, key]

    def _effects(self, subject: Subject, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        def run(network: nn.Module, part: Tensor, positions: Tensor) -> Mapping[str, Tensor]:
            found = self.form.effects(network, part.float(), labels[positions].to(part.device))
            return {str(place): effect.float() for place, effect in enumerate(found)}

        found = self.view.context.through(subject, images, run)
        return tuple(found[str(place)] for place in range(len(found)))
