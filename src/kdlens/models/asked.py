"""Which layers were asked for: `"auto"`, dotted names, or names for each role."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from kdlens.errors import ConfigError, did_you_mean

Role = Literal["teacher", "student", "baseline"]
Layers = Literal["auto"] | Sequence[str] | Mapping[str, Sequence[str]]


def check_layers(layers: Any) -> Layers:
    """Refuse what does not say which layers.

    Raises:
        ConfigError: a single name, no name, a role that does not exist, or a layer named twice.

    Example:
        >>> check_layers({"students": ["layer4"]})
        Traceback (most recent call last):
        kdlens.errors.ConfigError: layers are given for teacher, student or baseline, not "students"; did you mean ...
    """
    roles = get_args(Role)
    for role in layers if isinstance(layers, Mapping) else ():
        if role not in roles:
            near = did_you_mean(str(role), roles, most=1)
            raise ConfigError(f'layers are given for {", ".join(roles[:-1])} or {roles[-1]}, not "{role}"{near}')
    for names in layers.values() if isinstance(layers, Mapping) else [layers]:
        if isinstance(names, str):
            if names != "auto":
                raise ConfigError(f'layers must be "auto" or a list of names, e.g. ["{names}"], not the text "{names}"')
        elif not names or len(set(names)) < len(names):
            raise ConfigError(f"layers must be a list of different names, got {list(names or ())!r:.200}")
    return layers  # type: ignore[no-any-return]
