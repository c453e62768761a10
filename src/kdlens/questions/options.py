"""Checks of a question's options, in words that read alike from Python and after `question "NAME": ` from a file."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from kdlens.errors import ConfigError


def at_least(question: Any, **least: float) -> None:
    """Refuse options that are less than they must be.

    Args:
        question: has the options as attributes.
        **least: the smallest value of every option.

    Raises:
        ConfigError: an option that is too small, or no finite number.

    Example:
        >>> from types import SimpleNamespace
        >>> at_least(SimpleNamespace(images=1, gallery=0), gallery=0, images=2)
        Traceback (most recent call last):
        ...
        kdlens.errors.ConfigError: images must be 2 or more, got 1
    """
    for option, smallest in least.items():
        value = getattr(question, option)
        if not (isinstance(value, Real) and math.isfinite(value) and float(value) >= smallest):
            finite = " and finite" if value == math.inf else ""
            raise ConfigError(f"{option} must be {smallest} or more{finite}, got {value!r:.80}")


def one_of(question: Any, **known: Sequence[str]) -> None:
    """Refuse options that are none of the words they may be.

    Args:
        question: has the options as attributes.
        **known: the words of every option.

    Raises:
        ConfigError: another word.

    Example:
        >>> from types import SimpleNamespace
        >>> one_of(SimpleNamespace(fill="box"), fill=("tile", "mean"))
        Traceback (most recent call last):
        ...
        kdlens.errors.ConfigError: fill must be "tile" or "mean", not "box"
    """
    for option, words in known.items():
        value = getattr(question, option)
        if value not in words:
            quoted = [f'"{word}"' for word in words]
            raise ConfigError(f'{option} must be {", ".join(quoted[:-1])} or {quoted[-1]}, not "{value}"')
