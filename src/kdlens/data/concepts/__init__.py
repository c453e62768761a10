"""Images annotated with concepts: objects, parts, colours and textures of their pixels, and labels of the whole."""

import inspect
import os
from typing import Any

from kdlens.data.concepts.annotated import Annotation, ConceptData
from kdlens.data.concepts.broden import Broden
from kdlens.data.concepts.given import as_concepts
from kdlens.data.concepts.scenes import SceneConcepts
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.data.concepts.writing import write_broden
from kdlens.errors import DataError, did_you_mean
from kdlens.registry import Registry

__all__ = [
    "CONCEPTS",
    "Annotation",
    "Broden",
    "ConceptData",
    "SceneConcepts",
    "Vocabulary",
    "as_concepts",
    "load_concepts",
    "write_broden",
]

CONCEPTS: Registry[Any] = Registry(
    "concept data",
    {
        "broden": "kdlens.data.concepts.broden:Broden",
        "cub": "kdlens.data.concepts.segmented:CUBConcepts",
        "fashion-scenes": "kdlens.data.concepts.scenes:SceneConcepts",
        "pets": "kdlens.data.concepts.segmented:PetConcepts",
        "voc": "kdlens.data.concepts.segmented:VOCConcepts",
    },
    group="kdlens.concepts",
)


def load_concepts(source: Any, *, root: str | os.PathLike[str] | None = None, **options: Any) -> ConceptData:
    """Open images with concept labels, by name or as given. Nothing is downloaded.

    Args:
        source: a registered name; `fashion-scenes` comes with the package, `broden` reads a folder in the format of
            Network Dissection, and `voc`, `pets` and `cub` the layouts these are published in. Or annotated data, or
            any dataset, for which see `kdlens.data.concepts.as_concepts`.
        root: the folder.
        options: of the reader, e.g. `categories=["object", "color"]` of `broden`, or `names` for a dataset.

    Returns:
        Annotated data: `.image(i)` in [0, 1], `.annotation(i)` with the label numbers of its pixels and of the whole,
        and `.vocabulary` with what they mean.

    Raises:
        UnknownNameError: no such concept data.
        DataError: the folder is missing or not as expected (the message shows the layout), or an unknown option.

    Example:
        >>> data = load_concepts("fashion-scenes", count=10)
        >>> data.vocabulary.categories, data.annotation(0).pixels.shape
        (('object', 'color', 'texture'), torch.Size([3, 32, 32]))
    """
    if root is not None:
        options["root"] = root
    named = isinstance(source, str)
    reader = CONCEPTS[source] if named else as_concepts
    parameters = inspect.signature(reader).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in options:
            if option not in parameters:
                what = f'concept data "{source}"' if named else f"a {type(source).__name__}"
                raise DataError(f'{what} has no option "{option}"{did_you_mean(option, parameters) or "."}')
    opened: ConceptData = reader(**options) if named else reader(source, **options)
    return opened
