"""`kdlens.unicam(..., protocol="joint")`: one pair of networks and a batch of images."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.questions.unicam.joint.band import Band, other_labels
from kdlens.questions.unicam.joint.evidence import check_labels, cross_fitted, fit_temperature
from kdlens.questions.unicam.joint.forms import Form, effects_of, form_of
from kdlens.questions.unicam.joint.knowledge import Compared, knowledge_of
from kdlens.questions.unicam.joint.pair import Traced, confidence, null_band, scale_of, shown, signed_maps
from kdlens.questions.unicam.maps import UniCAM

if TYPE_CHECKING:
    from kdlens.questions.unicam.protocols import Request

BAND_IMAGES = 32
"""Images of the comparison set that band and scale are read off."""


def joint(request: "Request") -> UniCAM:
    """Evidence of `model` for the label less that of `given`, traced back to the image through both networks."""
    return _Joint(request).answer()


class _Joint:
    """One request on its way to maps."""

    def __init__(self, request: "Request") -> None:
        self.request = request
        self.form: Form = form_of(request.attribution)
        self.size = (request.images.shape[2], request.images.shape[3])
        self.compared = Compared(*(request.reference or (request.images, request.labels)))
        self._logits: dict[nn.Module, Tensor] = {}
        self._temperatures: dict[nn.Module, Tensor] = {}
        for labels in (request.labels, self.compared.labels):
            for network in (request.model, *([request.given] if request.given else [])):
                check_labels(labels, self.logits(network).shape[1])

    def answer(self) -> UniCAM:
        """Maps, band and numbers."""
        request = self.request
        own, other = self.traced(request.model), self.traced(request.given) if request.given else None
        signed = signed_maps(self.form, own, other, self.size)
        band, scale = self.band_and_scale(signed)
        found = shown(signed, band, scale)
        known = knowledge_of(request, self.compared)
        return UniCAM(
            maps=found.maps,
            raw=signed,
            relevance=known.relevance,
            unique_fraction=known.unique_fraction,
            degenerate=found.empty,
            layer=known.layer,
            given_layer=known.given_layer,
            depends_on_batch=request.reference is None,
            reason=known.reason,
            protocol="joint",
            own=self.form.draw(own.evidence, self.size),
            other=self.form.draw(other.evidence, self.size) if other else None,
            band=band,
            scale=scale,
            in_band=found.in_band,
            confidence=self.confidence(own, other),
        )

    def traced(self, network: nn.Module) -> Traced:
        """The images as a network speaks of them; temperatures never come from the image itself."""
        request = self.request
        effects = effects_of(self.form, network, request.images, request.labels, request.batch_size)
        if request.reference is None:
            return Traced(effects, self.temperatures(network))
        fitted = fit_temperature(self.logits(network), self.compared.labels)
        return Traced(effects, torch.full((len(request.images),), fitted))

    def band_and_scale(self, signed: Tensor) -> tuple[Band, float]:
        """The null band and the common scale, from part of the comparison set, so that no image changes another's."""
        request, chosen = self.request, _spread(self.compared.labels, BAND_IMAGES)
        images, labels = self.compared.images[chosen], self.compared.labels[chosen]

        def traced(network: nn.Module, labels: Tensor) -> Traced:
            effects = effects_of(self.form, network, images, labels, request.batch_size)
            return Traced(effects, self.temperatures(network)[chosen])

        if request.null:
            pairs: list[tuple[Traced, Traced | None]] = [
                (traced(a, labels), traced(b, labels)) for a, b in request.null
            ]
            source = "networks of other seeds"
        else:
            wrong = other_labels(labels, self.logits(request.model).shape[1], seed=request.seed)
            pairs = [(traced(request.model, wrong), traced(request.given, wrong) if request.given else None)]
            source = "labels of other images"
        band = null_band(self.form, pairs, self.size, source=source)
        if request.reference is None:
            return band, scale_of([signed])
        own, other = traced(request.model, labels), traced(request.given, labels) if request.given else None
        return band, scale_of([signed_maps(self.form, own, other, self.size)])

    def confidence(self, own: Traced, other: Traced | None) -> Tensor:
        """How often pixels keep their sign when the comparison set is drawn again."""
        networks = [self.request.model, *([self.request.given] if self.request.given else [])]
        logits = [self.logits(network) for network in networks]
        return confidence(self.form, own, other, self.size, logits, self.compared.labels, seed=self.request.seed)

    def temperatures(self, network: nn.Module) -> Float[Tensor, " m"]:
        """A network's temperature for every image of the comparison set, fitted without it."""
        if network not in self._temperatures:
            self._temperatures[network] = cross_fitted(self.logits(network), self.compared.labels)
        return self._temperatures[network]

    def logits(self, network: nn.Module) -> Tensor:
        """A network's logits on the comparison set, float32 on the CPU."""
        if network not in self._logits:
            images, device = self.compared.images, device_of(network)

            def run(part: slice) -> Tensor:
                return record(network, images[part].to(device), ())[0].float().cpu()

            size = self.request.batch_size or portion_size(network, images)
            self._logits[network] = torch.cat(in_portions(run, len(images), size))
        return self._logits[network]


def _spread(labels: Int[Tensor, " m"], most: int) -> Int[Tensor, " k"]:
    """At most so many images, evenly spaced in the order of their labels."""
    order = labels.argsort(stable=True)
    return order[torch.linspace(0, len(order) - 1, min(most, len(order))).long()].sort().values
