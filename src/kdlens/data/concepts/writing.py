"""Writing annotated data as a folder in Broden's format."""

import csv
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, ConceptData
from kdlens.data.concepts.vocabulary import LARGEST_LABEL, Vocabulary
from kdlens.data.files import one_of, shown
from kdlens.errors import DataError
from kdlens.files import explained, require_folder

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ -]{0,63}")  # what may be part of a file's name everywhere


def write_broden(
    concepts: ConceptData,
    folder: str | os.PathLike[str],
    *,
    first_label: int = 1,
    image_format: Literal["png", "jpg"] = "png",
) -> Path:
    """Write annotated data in Broden's format, for `Broden` and other tools that read it.

    A mask is written under the primary category of its labels; one with labels of several categories is divided among
    them. Images without any label are left out, as `Broden` leaves them out.

    Args:
        concepts: what to write.
        folder: where to; a new folder, or an empty one.
        first_label: number of label 1 in the files; others follow with the same distances. Above 255, masks need their
            second byte.
        image_format: `"png"` keeps the images' 8 bits exactly; `"jpg"` is what Broden itself has, smaller and lossy.

    Returns:
        The folder.

    Raises:
        DataError: the folder is not empty, an image or an annotation cannot be read or holds what the format cannot.
        RunFolderError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from kdlens.data.concepts import Broden, load_concepts
        >>> scenes = load_concepts("fashion-scenes", count=4)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     copy = Broden(write_broden(scenes, place, first_label=300))
        ...     len(copy), torch.equal(copy.image(3), scenes.image(3)), int(copy.annotation(3).pixels.max())
        (4, True, 331)
    """
    one_of(image_format, ("png", "jpg"), "image_format", "write_broden")
    words = concepts.vocabulary
    _check_words(words, first_label)
    target = _empty(Path(folder))
    with explained(target):
        source = _PLAIN.fullmatch(concepts.name)
        images = target / "images" / (source[0] if source else "data")
        images.mkdir(parents=True)
        counts = _Counts(words)
        rows = []
        for index in range(len(concepts)):
            annotation = concepts.annotation(index)
            _check_labels(annotation, words, index)
            if annotation.whole or annotation.pixels.any():
                counts.add(annotation)
                name = images / f"{index:06d}"
                cells = [_cell(annotation, category, words, name, first_label) for category in words.categories]
                rows.append([*_write_image(concepts.image(index), name, image_format, annotation), *cells])
        _write_words(target, words, counts, first_label)
        _write_csv(target / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *words.categories], rows)  # is last
    return target


class _Counts:
    """In how many images each label occurs, and of how many whole images it covers as much."""

    def __init__(self, words: Vocabulary) -> None:
        self.images = np.zeros(len(words.names), dtype=np.int64)
        self.coverage = np.zeros(len(words.names))

    def add(self, annotation: Annotation) -> None:
        pixels = annotation.pixels.numpy()
        found = np.bincount(pixels.ravel(), minlength=len(self.images)) / (pixels.shape[1] * pixels.shape[2])
        np.add.at(found, list(annotation.whole), 1.0)
        found[0] = 0
        self.images += found > 0
        self.coverage += found


def _cell(annotation: Annotation, category: str, words: Vocabulary, name: Path, first: int) -> str:
    """Write the masks of a category beside their image and return what the index says of it."""
    place = words.categories.index(category)
    parts = torch.where(words.primary[annotation.pixels.long()] == place, annotation.pixels, 0)
    masks = [part.numpy() for part in parts if part.any()]
    items = []
    for number, mask in enumerate(masks, start=1):
        path = name.with_name(f"{name.name}_{category}{f'_{number}' if len(masks) > 1 else ''}.png")
        _save_mask(np.where(mask > 0, mask + (first - 1), 0), path)
        items.append(f"{path.parent.name}/{path.name}")
    return ";".join([*items, *(str(label + first - 1) for label in annotation.whole if words.primary[label] == place)])


def _save_mask(labels: Int[np.ndarray, "h w"], path: Path) -> None:
    from PIL import Image

    channels = np.stack([labels % 256, labels // 256, np.zeros_like(labels)], axis=-1)
    Image.fromarray(channels.astype(np.uint8)).save(path)


def _write_image(image: Float[Tensor, "c h w"], name: Path, form: str, annotation: Annotation) -> list[Any]:
    """Write an image and return the first cells of its row."""
    from PIL import Image

    if image.shape[0] not in (1, 3) or not 0 <= float(image.min()) <= float(image.max()) <= 1:
        raise DataError(
            f"image {int(name.name)} has shape {tuple(image.shape)} and values from {float(image.min()):g} to "
            f"{float(image.max()):g}; expected 1 or 3 channels in [0, 1]"
        )
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    path = name.with_suffix(f".{form}")
    options: dict[str, Any] = {"quality": 95} if form == "jpg" else {}
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, **options)
    listed = f"{path.parent.name}/{path.name}"
    split = "train" if zlib.crc32(listed.encode()) % 10 < 7 else "val"
    return [listed, split, *image.shape[1:], *annotation.pixels.shape[1:]]


def _write_words(target: Path, words: Vocabulary, counts: _Counts, first: int) -> None:
    labels, summary = [], []
    for category in words.categories:
        rows = []
        for code, label in enumerate(words.labels(category).tolist(), start=1):
            told = [int(counts.images[label]), f"{counts.coverage[label]:.6f}"]
            rows.append([code, label + first - 1, words.names[label], *told])
            labels.append([label + first - 1, words.names[label], f"{category}({told[0]})", *told, ""])
        _write_csv(target / f"c_{category}.csv", ["code", "number", "name", "frequency", "coverage"], rows)
        numbers = [row[1] for row in rows] or [0]
        summary.append([category, min(numbers), max(numbers), len(rows), sum(row[3] for row in rows)])
    _write_csv(target / "label.csv", ["number", "name", "category", "frequency", "coverage", "syns"], sorted(labels))
    _write_csv(target / "category.csv", ["name", "first", "last", "count", "frequency"], summary)


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([head, *rows])


def _check_words(words: Vocabulary, first: int) -> None:
    for category in words.categories:
        if not _PLAIN.fullmatch(category):
            raise DataError(
                f'the category "{shown(category)}" cannot be written, as it becomes part of file names; use letters, '
                "digits, spaces, - and _"
            )
    if len({category.lower() for category in words.categories}) < len(words.categories):
        raise DataError(f"categories differ in upper and lower case alone: {', '.join(words.categories)}; rename one")
    if first < 1 or first + len(words.names) - 2 > LARGEST_LABEL:
        raise DataError(
            f"first_label is {first}, with {len(words.names) - 1} labels; all must lie in 1 to {LARGEST_LABEL}"
        )


def _check_labels(annotation: Annotation, words: Vocabulary, index: int) -> None:
    for label in {*annotation.pixels.unique().tolist(), *annotation.whole} - {0}:
        if not 0 < label < len(words.names) or int(words.primary[label]) < 0:
            raise DataError(f"image {index} has label {label}, which is in no category of the vocabulary")


def _empty(folder: Path) -> Path:
    require_folder(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{shown(folder)} is not an empty folder; choose a new one")
    folder.mkdir(exist_ok=True)
    return folder
