"""The concepts that kdlens knows of its own datasets, image by image in their order."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Subset

from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.concepts.scenes import SceneConcepts
from kdlens.data.concepts.segmented import CUBConcepts, PetConcepts, Segmented, VOCConcepts
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.data.cub import CUB
from kdlens.data.pets import Pets
from kdlens.data.scenes import FashionScenes
from kdlens.data.voc import VOC, VOC_CLASSES


def own_concepts(dataset: Any) -> tuple[ConceptData, Int[Tensor, " n"]] | None:
    """Concepts of a dataset that `kdlens.load_dataset` opened, or of a part of one.

    Args:
        dataset: the dataset, or a torch `Subset`.

    Returns:
        Annotated data, and the place there of every image of the dataset; `None` where no concepts are known.

    Raises:
        DataError: the dataset's folder lacks the annotations; the message shows the layout.

    Example:
        >>> from kdlens.data import load_dataset
        >>> concepts, places = own_concepts(Subset(load_dataset("fashion-scenes", count=20), [7, 3]))
        >>> concepts.vocabulary.categories, places.tolist()
        (('object', 'color', 'texture'), [7, 3])
    """
    if isinstance(dataset, Subset):
        found = own_concepts(dataset.dataset)
        return None if found is None else (found[0], found[1][torch.as_tensor(dataset.indices).long()])
    concepts = _concepts(dataset)
    return None if concepts is None else (concepts, torch.arange(len(concepts)))


def _concepts(dataset: Any) -> ConceptData | None:
    if isinstance(dataset, FashionScenes):
        return SceneConcepts.of(dataset)
    if isinstance(dataset, VOC):  # all its images; those that nobody segmented have a problem when they are asked for
        concepts = VOCConcepts.__new__(VOCConcepts)
        Segmented.__init__(concepts, dataset, Vocabulary.of({"object": VOC_CLASSES}))
        return concepts
    if isinstance(dataset, Pets):
        return PetConcepts(dataset.folder, dataset.split, border=dataset.border)
    if isinstance(dataset, CUB):
        return CUBConcepts(dataset.folder, dataset.split)
    return dataset if isinstance(dataset, ConceptData) else None
