"""The annotated images a study is dissected on, and its networks as readers of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kdlens.data.concepts import CONCEPTS, load_concepts
from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.concepts.part import Part
from kdlens.errors import ConfigError, LayerShapeError
from kdlens.models.tokens import to_feature_map
from kdlens.questions.context import Context, Subject
from kdlens.questions.dissection.passes import Reader
from kdlens.questions.dissection.prepare import Once, Preparation

AUTO = "auto"
PURPOSE = "dissection"
"""Of the draw."""

_NONE_KNOWN = (
    'no concepts are known for the images of "{data}"; give annotated images by name: concepts: {names}; with root: '
    "the folder they lie in, or use kdlens.dissect on a dataset of your own"
)

Scale = Callable[[Tensor], Tensor]


def open_concepts(context: Context, name: str, root: str | None, images: int) -> ConceptData:
    """The annotated images, drawn by the study's seed where there are more.

    Args:
        context: the study.
        name: `"auto"`, the study's own images; or registered.
        root: folder of named ones.
        images: how many to draw; of the study's own, class-balanced.

    Raises:
        ConfigError: `"auto"`, and kdlens knows no concepts of the study's images.
        DataError: the annotations are not there.
    """
    if name == AUTO:
        known = context.annotated()
        if known is None:
            names = ", ".join(CONCEPTS.names())
            raise ConfigError(_NONE_KNOWN.format(data=context.data_name, names=names))
        return Part(known, context.draw(images, PURPOSE))
    data = load_concepts(name, root=root)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(context.seed))
    return Part(data, order[:images].sort().values)


def scale_of(context: Context, preset: Any, concepts: ConceptData) -> Scale:
    """How annotated images become inputs: as the study's, or by a preset of `kdlens.dissect` at their size."""
    if preset == "study":
        return Once(context.scaled)
    size = context.batch(torch.tensor([0])).images.shape[2:]
    return Once(Preparation.of(preset, (size[0], size[1]), concepts))


def mapped_layers(context: Context, subject: Subject) -> tuple[dict[str, tuple[int, int, int]], dict[str, str]]:
    """Layers with places, as units, rows and columns; and why others have none."""
    image = context.batch(torch.tensor([0])).images
    found: dict[str, tuple[int, int, int]] = {}
    problems: dict[str, str] = {}
    for layer, activation in context.activations_of(subject, image, subject.layers).items():
        try:
            _, units, height, width = as_map(activation, image, subject, layer).shape
            found[layer] = (units, height, width)
        except LayerShapeError as error:
            problems[layer] = str(error)
    return found, problems


def reader_of(context: Context, subject: Subject, layers: Sequence[str], scale: Scale) -> Reader:
    """From images in [0, 1] to activation maps; every process must call it with the same images."""

    def read(images: Tensor) -> Mapping[str, Tensor]:
        x = scale(images)
        found = context.activations_of(subject, x, layers)
        return {layer: as_map(activation, x, subject, layer) for layer, activation in found.items()}

    return read


def as_map(activation: Tensor, x: Tensor, subject: Subject, layer: str) -> Tensor:
    """The activation in its spatial form."""
    size = (x.shape[2], x.shape[3])
    return to_feature_map(activation, batch=len(x), input_size=size, model=subject.network, layer=layer).float()
