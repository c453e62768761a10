"""Build a network from its name: `zoo:resnet20`, `timm:NAME`, `torchvision:NAME` or `file.py:function`."""

import inspect
import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from kdlens.errors import ConfigError, ModelError, UnknownNameError, did_you_mean
from kdlens.models import sources
from kdlens.models.weights import load_weights, virtual_layers
from kdlens.nn import insert_vam


def load_model(
    arch: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    classes: int | None = None,
    allow_code: bool = False,
    vam: bool | Mapping[str, Any] | None = None,
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
        vam: put virtual attention in before the weights are loaded: True, or options of `kdlens.nn.insert_vam`. Its
            temperature and scale are taken from weights that `kdlens` saved, unless they are among the options.
        options: further arguments of the architecture, e.g. `in_channels=1`.

    Raises:
        UnknownNameError: no network of that name; the text offers the nearest.
        ModelError: it cannot be built, or the weights do not fit.
        ConfigError: an unknown option of `vam`, or blocks that do not divide a layer's channels.
        UnsafeFileError: `arch` names code and `allow_code` is off, or the weights would run code.

    Example:
        >>> load_model("resnet8", classes=3).fc.out_features
        3
    """
    kind, name = _split(arch)
    network = sources.SOURCES[kind](name, classes, allow_code, dict(options))
    if not isinstance(network, nn.Module):
        raise ModelError(f"{arch} gives {type(network).__name__}; a torch.nn.Module was expected")
    attention = _vam_options(vam)
    if attention is not None:
        insert_vam(network, **attention)
    if weights is not None:
        load_weights(network, weights)
    for name in ("temperature", "rescale"):
        if attention is not None and name in attention:
            for _, layer in virtual_layers(network):
                setattr(layer, name, attention[name])
    return network.eval()


def _vam_options(given: bool | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if given is None or isinstance(given, bool):
        return {} if given else None
    if not isinstance(given, Mapping):
        raise ConfigError(f"vam is true, or options of kdlens.nn.insert_vam such as {{blocks: 4}}, not {given!r:.80}")
    known = [name for name in inspect.signature(insert_vam).parameters if name != "network"]
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"; it has {', '.join(known)}"
            raise ConfigError(f'vam has no option "{name}"{hint}')
    return dict(given)


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
