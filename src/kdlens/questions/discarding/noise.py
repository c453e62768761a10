"""Random numbers that belong to an image, so that they are the same in any batch, network, checkpoint and process."""

import hashlib
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SIGNS = (2 * ((torch.arange(256)[:, None] >> torch.arange(8)) & 1) - 1).to(torch.int8)
"""The eight signs that a byte stands for."""


class Noise:
    """Draws for one image.

    Args:
        seed: seed of the study.
        position: which image it is.
        use: draws for another use of the same image have nothing in common with these.

    Example:
        >>> one, again = Noise(0, 7).normal("pilot", (2,)), Noise(0, 7).normal("pilot", (2,))
        >>> torch.equal(one, again)
        True
    """

    def __init__(self, seed: int, position: int, use: str = "") -> None:
        self._seed, self._position, self._use = seed, position, use
        self._running: dict[str, torch.Generator] = {}

    def again(self) -> "Noise":
        """The same draws from the beginning."""
        return Noise(self._seed, self._position, self._use)

    def apart(self, use: str) -> "Noise":
        """Other draws of the same image."""
        return Noise(self._seed, self._position, use)

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
        """Standard normal numbers on the CPU; each call for a purpose goes on where the last one ended."""
        return torch.randn(shape, generator=self._generator(purpose))

    def signs(self, purpose: str, shape: tuple[int, ...]) -> Int[Tensor, "..."]:
        """Numbers -1 and 1, a byte each."""
        count = math.prod(shape)
        words = torch.empty(-(-count // 32), dtype=torch.int32).random_(
            -(2**31), 2**31, generator=self._generator(purpose)
        )
        return _SIGNS[words.view(torch.uint8).int()].view(-1)[:count].view(shape)

    def order(self, purpose: str, count: int) -> Tensor:
        """A permutation of `range(count)`."""
        return torch.randperm(count, generator=self._generator(purpose))

    def orders(self, purpose: str, rows: int, count: int) -> Int[Tensor, "rows count"]:
        """Independent permutations of `range(count)`."""
        return torch.rand(rows, count, generator=self._generator(purpose)).argsort(1)

    def _generator(self, purpose: str) -> torch.Generator:
        if purpose not in self._running:
            digest = hashlib.sha256(f"{self._seed}/{self._position}/{self._use}{purpose}".encode()).digest()
            self._running[purpose] = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return self._running[purpose]
