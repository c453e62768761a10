"""Failures inside torch, in words that say what to do about them."""

import contextlib
from collections.abc import Iterator

from kdlens.errors import ConfigError, KdlensError
from kdlens.memory import ran_out


@contextlib.contextmanager
def explained_failures(batch_size: int, processes: int) -> Iterator[None]:
    """Turn running out of memory, and BatchNorm over a single value, into errors that say what to change.

    The batch is not halved behind the caller's back: with BatchNorm, that would train another network.

    Raises:
        KdlensError: no memory was left.
        ConfigError: a batch was too small for BatchNorm.

    Example:
        >>> with explained_failures(64, 1):
        ...     raise MemoryError
        Traceback (most recent call last):
        kdlens.errors.KdlensError: out of memory with batches of 64 images; choose a smaller batch_size ...
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, KdlensError) or not ran_out(error):
            raise
        raise KdlensError(
            f"out of memory with batches of {batch_size} images; choose a smaller batch_size (and a learning rate "
            "smaller by the same factor), or more processes. What was stored is kept"
        ) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "a BatchNorm layer of the student got a single value per channel, of which there is no variance; every "
            f"process needs at least two images of a batch (batch_size is {batch_size}, processes: {processes})"
        ) from error
