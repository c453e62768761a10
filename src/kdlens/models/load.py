"""Build a network from its name: `zoo:resnet20`, `timm:NAME`, `torchvision:NAME` or `file.py:function`."""

import os
from typing import Any

from torch import nn

from kdlens.errors import ModelError, UnknownNameError
from kdlens.models import sources
from kdlens.models.weights import load_weights


def load_model(
    arch: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    classes: int | None = None,
    allow_code: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a network by name, with weights if given, in eval mode.

    Args:
        arch: `"zoo:resnet20"` or `"resnet20"` (the zoo of this package), `"timm:NAME"`, `"torchvision:NAME"`, or
            `"path/file.py:function"`, which runs that file and is refused without `allow_code`.
        weights: file with weights, see `kdlens.load_weights`; without it the network is random (or pretrained, for
            `timm:` and `torchvision:` with the option `pretrained=True`).
        classes: number of classes; `None` takes the architecture's own default.
        allow_code: let `file.py:function` run. Only for files you trust.
        options: further arguments of the architecture, e.g. `in_channels=1`.

    Raises:
        UnknownNameError: no network of that name; the text offers the nearest.
        ModelError: it cannot be built, or the weights do not fit.
        UnsafeFileError: `arch` names code and `allow_code` is off, or the weights would run code.

    Example:
        >>> load_model("resnet8", classes=3).fc.out_features
        3
    """
    kind, name = _split(arch)
    network = sources.SOURCES[kind](name, classes, allow_code, dict(options))
    if not isinstance(network, nn.Module):
        raise ModelError(f"{arch} gives {type(network).__name__}; a torch.nn.Module was expected")
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


def _split(arch: str) -> tuple[str, str]:
    file, colon, _ = arch.rpartition(":")
    if file.endswith(".py") or (not colon and arch.endswith(".py")):
        return "file", arch
    kind, colon, name = arch.partition(":")
    if not colon:
        return "zoo", arch
    if kind not in sources.SOURCES or kind == "file":
        raise UnknownNameError(
            f'unknown source "{kind}" in "{arch}"; write zoo:NAME, timm:NAME, torchvision:NAME or path/file.py:function'
        )
    return kind, name
