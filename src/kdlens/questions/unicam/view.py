"""What UniCAM needs from a study: its fixed comparison set, as every network sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdlens.errors import LayerNotFoundError, did_you_mean
from kdlens.models.tokens import to_feature_map
from kdlens.questions.context import Batch, Context, Subject, reference_size
from kdlens.questions.unicam.maps import Features, Scene, Sight, vectors
from kdlens.questions.unicam.score import label_vectors

MOST_COMPARED = 1024
"""Images whose distance matrices are resampled; with more, evenly spaced classes are kept whole."""


@dataclass(frozen=True)
class Seen:
    """The comparison set as one network sees it: features at every layer, and feature maps at the layer of the maps."""

    subject: Subject
    features: Mapping[str, Tensor]
    sight: Sight


class View:
    """A study through UniCAM's eyes; every network reads the comparison set once.

    Args:
        context: the study.
        images: wanted size of the comparison set; at least the study's reference size is drawn.
        layer: layer of the maps, or `"auto"` for the last one of each network.
        features: what is compared.
    """

    def __init__(self, context: Context, *, images: int, layer: str, features: Features) -> None:
        self.context = context
        self.layer = layer
        self.features = features
        self.reference = context.draw(max(images, reference_size(len(context.class_names))), "reference")
        self.labels = context.labels[self.reference]
        self.compared = at_most(MOST_COMPARED, self.labels)
        self._seen: dict[Subject, Seen] = {}
        self._batch: Batch | None = None

    @property
    def label_vectors(self) -> Tensor:
        """One-hot labels of the images whose distances are resampled."""
        return label_vectors(self.labels[self.compared])[0]

    def batch(self) -> Batch:
        """The comparison set itself, read once."""
        if self._batch is None:
            self._batch = self.context.batch(self.reference)
        return self._batch

    def seen(self, subject: Subject) -> Seen:
        """The comparison set as `subject` sees it."""
        if subject not in self._seen:
            found = self.context.activations(subject, self.reference, self._layers(subject))
            spatial = {layer: self._in_space(subject, layer, a) for layer, a in found.items()}
            features = {layer: vectors(a, self.features)[self.compared] for layer, a in spatial.items()}
            layer = self.map_layer(subject)
            self._seen[subject] = Seen(subject, features, Sight(spatial[layer], self.features, layer))
        return self._seen[subject]

    def sight(self, subject: Subject, indices: Tensor) -> Sight:
        """Other images as `subject` sees them at the layer of its maps."""
        layer = self.map_layer(subject)
        found = self.context.activations(subject, indices, [layer])[layer]
        return Sight(self._in_space(subject, layer, found), self.features, layer)

    def scene(self, model: Subject, given: Subject | None) -> Scene:
        """The comparison set as a pair of networks sees it."""
        return Scene(self.seen(model).sight, self.seen(given).sight if given else None, self.labels)

    def map_layer(self, subject: Subject) -> str:
        """The layer of a network's maps; a teacher without the layer asked for shows its last one.

        Raises:
            LayerNotFoundError: a student or baseline has no such layer.
        """
        names = [name for name, _ in subject.network.named_modules()]
        known = self.layer.split("#")[0] in names
        if self.layer == "auto" or (not known and subject.role == "teacher"):
            return subject.layers[-1]
        if not known:
            near = did_you_mean(self.layer, names)
            raise LayerNotFoundError(
                f'layer "{self.layer}" not found in {subject.name} ({type(subject.network).__name__}){near}'
            )
        return self.layer

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the networks' input."""
        shape = self.context.batch(self.reference[:1]).images.shape
        return (shape[2], shape[3])

    def _layers(self, subject: Subject) -> Sequence[str]:
        return list(dict.fromkeys([*subject.layers, self.map_layer(subject)]))

    def _in_space(self, subject: Subject, layer: str, activation: Tensor) -> Tensor:
        if activation.ndim == 2:
            return activation
        n = len(activation)
        return to_feature_map(activation, batch=n, input_size=self.size, model=subject.network, layer=layer)


def at_most(most: int, labels: Tensor) -> Tensor:
    """Positions of at most about `most` images: all, or all images of evenly spaced classes.

    Example:
        >>> at_most(4, torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]))
        tensor([0, 2, 4, 6])
    """
    if len(labels) <= most:
        return torch.arange(len(labels))
    classes = labels.unique()
    step = -(-len(labels) // most)
    return torch.isin(labels, classes[::step]).nonzero().flatten()
