"""Images to study: embedded and generated ones, readers for the layouts datasets are published in, and any other."""

import inspect
import os
from typing import Any

from kdlens.errors import DataError, did_you_mean
from kdlens.registry import Registry

DATASETS: Registry[Any] = Registry(
    "dataset",
    {
        "cells": "kdlens.data.cells:Cells",
        "cifar10": "kdlens.data.cifar:CIFAR10",
        "cifar100": "kdlens.data.cifar:CIFAR100",
        "cub": "kdlens.data.cub:CUB",
        "fashion": "kdlens.data.fashion:Fashion",
        "fashion-mnist": "kdlens.data.fashion:FashionMNIST",
        "fashion-scenes": "kdlens.data.scenes:FashionScenes",
        "folder": "kdlens.data.folder:ImageFolder",
        "pets": "kdlens.data.pets:Pets",
        "planted": "kdlens.data.planted.images:load",
        "voc": "kdlens.data.voc:VOC",
    },
    group="kdlens.datasets",
)


def load_dataset(name: str, *, root: str | os.PathLike[str] | None = None, split: str = "test", **options: Any) -> Any:
    """Open a dataset by name. Nothing is downloaded.

    Args:
        name: a registered name; `cells`, `fashion`, `fashion-scenes` and `planted` come with the package, the others
            read a folder.
        root: the folder, in the layout the dataset is published in.
        split: which part.
        options: options of the reader, e.g. `bias=0.9` of `fashion-scenes`.

    Returns:
        A map-style dataset of `Item`: image `(C, H, W)` in [0, 1], label, and a mask where there is one; with
        `.classes`, `.labels` and, where recommended, `.mean` and `.std`.

    Raises:
        UnknownNameError: no such dataset.
        DataError: the folder is missing or not as expected (the message shows the layout), or an unknown option.

    Example:
        >>> data = load_dataset("fashion", split="test")
        >>> len(data), data[0].image.shape, data.classes[data[0].label]
        (2000, torch.Size([1, 28, 28]), 'T-shirt/top')
    """
    reader = DATASETS[name]
    given = {"split": split, **options}
    if root is not None:
        given["root"] = root
    parameters = inspect.signature(reader).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in given:
            if option not in parameters:
                raise DataError(f'dataset "{name}" has no option "{option}"{did_you_mean(option, parameters) or "."}')
    return reader(**given)
