"""What UniCAM needs from a study: activations of the fixed reference set, as vectors and as feature maps."""

from dataclasses import dataclass

from torch import Tensor

from kdlens.answer import Row
from kdlens.errors import LayerNotFoundError, did_you_mean
from kdlens.explain.context import Context, Subject, reference_size
from kdlens.explain.unicam_maps import Activations, Features, UniCAM, unicam_from_activations, vectors
from kdlens.models.tokens import to_feature_map


@dataclass(frozen=True)
class Sight:
    """Images of a study as one network sees them at one layer."""

    subject: Subject
    layer: str
    activation: Tensor


class View:
    """Reads a study for UniCAM.

    Args:
        context: the study.
        images: size wanted for the comparison set; at least the study's reference size is drawn.
        layer: layer of the maps, or `"auto"` for the last of each network.
        features: what is compared.
    """

    def __init__(self, context: Context, *, images: int, layer: str, features: Features) -> None:
        self.context = context
        self.layer = layer
        self.features = features
        self.reference = context.draw(max(images, reference_size(len(context.class_names))), "reference")
        self.labels = context.labels[self.reference]

    def map_layer(self, subject: Subject) -> str:
        """The layer of a network's maps.

        Raises:
            LayerNotFoundError: the student or baseline has no such layer; the teacher's last layer stands in for it.
        """
        names = [name for name, _ in subject.network.named_modules()]
        if self.layer == "auto" or (self.layer not in names and subject.role == "teacher"):
            return subject.layers[-1]
        if self.layer.split("#")[0] not in names:
            near = did_you_mean(self.layer, names)
            raise LayerNotFoundError(
                f'layer "{self.layer}" not found in {subject.name} ({type(subject.network).__name__}){near}'
            )
        return self.layer

    def vectors(self, subject: Subject) -> dict[str, Tensor]:
        """Features of the reference set at every layer of a network, in one pass."""
        layers = list(dict.fromkeys([*subject.layers, self.map_layer(subject)]))
        found = self.context.activations(subject, self.reference, layers)
        return {layer: vectors(self._in_space(subject, layer, found[layer]), self.features) for layer in layers}

    def see(self, subject: Subject, indices: Tensor) -> Sight:
        """Feature maps of some images at the layer of the maps."""
        layers = list(dict.fromkeys([*subject.layers, self.map_layer(subject)]))  # as above, so that passes are shared
        layer = self.map_layer(subject)
        found = self.context.activations(subject, indices, layers)[layer]
        return Sight(subject, layer, self._in_space(subject, layer, found))

    def maps(
        self, model: Sight, given: Sight | None, labels: Tensor, *, alone: tuple[Sight, Sight | None] | None
    ) -> UniCAM:
        """Maps of some images, compared with one another, or alone with the reference set's sights `alone`."""
        reference = None
        if alone is not None:
            reference = Activations(alone[0].activation, alone[1] and alone[1].activation, self.labels)
        return unicam_from_activations(
            Activations(model.activation, given and given.activation, labels),
            size=self.size,
            reference=reference,
            features=self.features,
            layer=model.layer,
            given_layer=given.layer if given else "",
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the networks' input."""
        shape = self.context.batch(self.reference[:1]).images.shape
        return (shape[2], shape[3])

    def _in_space(self, subject: Subject, layer: str, activation: Tensor) -> Tensor:
        if activation.ndim == 2:
            return activation
        return to_feature_map(
            activation, batch=len(activation), input_size=self.size, model=subject.network, layer=layer
        )
