"""Randomness that depends on the place in the training only, so that nothing has to be stored to continue exactly.

Every draw comes from a generator seeded with (seed, purpose, epoch, step, ...). A run that continues at step 17 draws
at step 17 what an uninterrupted run draws there.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derive(seed: int, *place: object) -> int:
    """Return a 63-bit seed for one purpose and place.

    Example:
        >>> derive(0, "order", 1) == derive(0, "order", 1), derive(0, "order", 1) == derive(0, "order", 2)
        (True, False)
    """
    digest = hashlib.blake2b(repr((seed, *place)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *place: object) -> torch.Generator:
    """Return a CPU generator for one purpose and place."""
    return torch.Generator().manual_seed(derive(seed, *place))


@contextlib.contextmanager
def own_global_randomness() -> Iterator[None]:
    """Give the global generators (torch, numpy, python: dropout and foreign transforms use them) back as found."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def seed_global(seed: int) -> None:
    """Seed torch's, numpy's and python's global generators; only inside `own_global_randomness`."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
