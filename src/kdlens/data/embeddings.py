"""Label embeddings: classes as points, so that a measure can know that a shirt is nearer to a coat than to a bag."""

import functools
import json
import os
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdlens.data.embedding_files import read_embeddings
from kdlens.errors import DataError, did_you_mean

TABLE = "label_embeddings.safetensors"
_CLIP = ("ViT-B-32", "laion2b_s34b_b79k")
_ELSE = (
    'use source="one-hot", a file of your own (.npy, .safetensors or .csv), '
    'or source="clip" with pip install kdlens[text]'
)


def label_embeddings(classes: Sequence[str], source: str | os.PathLike[str] = "one-hot") -> Float[Tensor, "classes e"]:
    """Embed class names, one row a class in the order given.

    Args:
        classes: the class names.
        source: `"one-hot"`; `"minilm"`, a table of MiniLM sentence embeddings of the class names of Fashion-MNIST,
            CIFAR-10 and -100, Oxford pets, VOC, CUB and PlantVillage that comes with the package; `"clip"`, computed
            with `open_clip` and weights it finds on this machine or downloads; or the path of a file: `.npy` `(K, e)`,
            `.safetensors` or `.csv`, with or without names.

    Returns:
        float32, rows of MiniLM and CLIP of length 1.

    Raises:
        DataError: no classes, classes the source does not have, or a file that does not fit; says what to use instead.

    Example:
        >>> vectors = label_embeddings(["T-shirt/top", "Shirt", "Ankle boot"], "minilm")
        >>> [round(float(vectors[0] @ v), 1) for v in vectors]
        [1.0, 0.8, 0.4]

    Source: Wang et al., MiniLM, NeurIPS 2020, as the sentence transformer all-MiniLM-L6-v2.
    """
    names = [str(name) for name in classes]
    if not names:
        raise DataError("there are no class names to embed")
    if str(source) in _SOURCES:
        return _SOURCES[str(source)](names)
    path = Path(source)
    if path.suffix.lower() not in (".npy", ".safetensors", ".csv"):
        known = list(_SOURCES)
        raise DataError(
            f'unknown label embedding "{source}"{did_you_mean(str(source), known) or "."} '
            f"Known: {', '.join(known)}, or a .npy, .safetensors or .csv file"
        )
    found, rows = read_embeddings(path)
    return _matched(names, found, rows, path)


def plain_name(name: str) -> str:
    """A class name in plain lower-case words, by which names are compared.

    Example:
        >>> plain_name("001.Black_footed_Albatross"), plain_name("T-shirt/top")
        ('black footed albatross', 't shirt top')
    """
    return re.sub(r"[\W_]+", " ", re.sub(r"^\d+\.", "", name)).strip().casefold()


def _one_hot(names: list[str]) -> Tensor:
    return torch.eye(len(names))


def _minilm(names: list[str]) -> Tensor:
    table, rows = _minilm_table()
    unknown = [name for name in names if plain_name(name) not in table]
    if unknown:
        listed = ", ".join(f'"{name}"' for name in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        hint = did_you_mean(plain_name(unknown[0]), table)
        raise DataError(f"the MiniLM table has no embedding of {listed}{hint or ';'} {_ELSE}")
    return rows[[table[plain_name(name)] for name in names]]


@functools.cache
def _minilm_table() -> tuple[dict[str, int], Tensor]:
    """Plain names to rows, and rows of length 1."""
    from safetensors.torch import load

    content = (files("kdlens.data") / "assets" / TABLE).read_bytes()
    names = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["names"])
    rows = F.normalize(load(content)["embeddings"].float(), dim=1)
    return {name: i for i, name in enumerate(names)}, rows


def _clip(names: list[str]) -> Tensor:
    try:
        import open_clip
    except ImportError as error:
        raise DataError("CLIP label embeddings need open_clip: pip install kdlens[text]") from error
    kind, weights = _CLIP
    try:
        model: Any = open_clip.create_model(kind, pretrained=weights)
    except Exception as error:  # whatever the download raised, the answer is the same
        raise DataError(
            f"the weights {kind}/{weights} of open_clip are not on this machine and could not be had ({error}); "
            'use source="minilm", "one-hot" or a file of your own'
        ) from error
    tokens = open_clip.get_tokenizer(kind)([f"a photo of a {plain_name(name)}" for name in names])
    with torch.no_grad():
        return F.normalize(model.eval().encode_text(tokens).float(), dim=1)


def _matched(names: list[str], found: list[str] | None, rows: Tensor, path: Path) -> Tensor:
    """Rows in the order of the classes: by name where the file has names, else by place."""
    if found is None:
        if len(rows) != len(names):
            raise DataError(f"{path} holds {len(rows)} embeddings without names, but there are {len(names)} classes")
        return rows
    places = {plain_name(name): i for i, name in enumerate(found)} | {name: i for i, name in enumerate(found)}
    chosen = [places.get(name, places.get(plain_name(name))) for name in names]
    missing = [name for name, place in zip(names, chosen, strict=True) if place is None]
    if missing:
        listed = ", ".join(f'"{name}"' for name in missing[:5])
        raise DataError(f"{path} has no embedding of {listed}{did_you_mean(missing[0], found)}")
    return rows[[place for place in chosen if place is not None]]


_SOURCES: dict[str, Callable[[list[str]], Tensor]] = {"one-hot": _one_hot, "minilm": _minilm, "clip": _clip}
