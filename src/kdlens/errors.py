"""Errors that say what was wrong, what was expected and what to do.

Every error kdlens raises on purpose is a `KdlensError`, so a caller can catch one type; each also is the built-in type
a Python programmer would expect (`ValueError`, `LookupError`), so ordinary handlers keep working.
"""

import difflib
import logging
import os
from collections.abc import Iterable

DEBUG = "KDLENS_DEBUG"
"""Environment variable that asks for the traceback of what failed while the rest went on."""


class KdlensError(Exception):
    """Base of all errors kdlens raises on purpose."""


class UnknownNameError(KdlensError, LookupError):
    """A name that is not in a registry, a model or a configuration."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # LookupError would print the repr


class LayerNotFoundError(UnknownNameError):
    """A layer name the model does not have."""


class LayerShapeError(KdlensError, ValueError):
    """A layer whose output cannot be used as asked: not spatial, re-used, or of ambiguous token layout."""


class UnsafeFileError(KdlensError, ValueError):
    """A file that would run code if it were opened the ordinary way."""


class ModelError(KdlensError, ValueError):
    """A network or its weights do not fit what was asked."""


class HistoryError(KdlensError, ValueError):
    """Checkpoints or path lengths of a training that are missing or do not fit together."""


class DataError(KdlensError, ValueError):
    """Images, labels or masks that cannot be used."""


class StatisticsError(KdlensError, ValueError):
    """Too few or degenerate samples for the statistic asked for."""


class ConfigError(KdlensError, ValueError):
    """A study or training file that does not say what it must."""


class RunFolderError(KdlensError, OSError):
    """A run folder that cannot be read or written."""


def in_one_line(error: Exception) -> str:
    r"""What went wrong: the message of an error made for people, any other with its type.

    Example:
        >>> in_one_line(StatisticsError("at least 4 images, got 3")), in_one_line(KeyError("layer1"))
        ('at least 4 images, got 3', "KeyError: 'layer1'")
    """
    text = " ".join(str(error).split())
    if isinstance(error, KdlensError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def log_failure(what: str, error: Exception) -> None:
    """Log in one line that something failed and the rest goes on; the traceback only where it was asked for."""
    debug = bool(os.environ.get(DEBUG))
    hint = "" if debug or isinstance(error, KdlensError) else f" (run with {DEBUG}=1 for the traceback)"
    logging.getLogger("kdlens").error("%s: %s%s", what, in_one_line(error), hint, exc_info=error if debug else None)


def did_you_mean(name: str, options: Iterable[str], *, most: int = 3) -> str:
    """Return `; did you mean "a" or "b"?`, or an empty string when nothing is near.

    Example:
        >>> did_you_mean("layr4", ["layer3", "layer4", "fc"], most=1)
        '; did you mean "layer4"?'
    """
    near = difflib.get_close_matches(name, list(options), n=most, cutoff=0.6)
    quoted = " or ".join(f'"{match}"' for match in near)
    return f"; did you mean {quoted}?" if near else ""
