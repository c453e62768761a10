"""Images drawn anew with repetition within every class, the same draws for every network."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MOST_HELD = 4_000_000  # numbers held at once


def by_class(labels: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """An order of the images in which those of one class stand together."""
    return labels.argsort(stable=True)


def resampled(
    sizes: Int[Tensor, " classes"], draws: int, *, seed: int, width: int = 1
) -> Iterator[Float[Tensor, "part n"]]:
    """How often each image is drawn, for images that stand class by class; every class keeps its size.

    Args:
        sizes: images of each class.
        draws: resamples in all; they come in parts that fit into memory.
        seed: of the draws.
        width: numbers held for each draw beside its images.

    Example:
        >>> [part] = resampled(torch.tensor([2, 3]), 4, seed=0)
        >>> part.shape, part[:, :2].sum(1).tolist(), part[:, 2:].sum(1).tolist()
        (torch.Size([4, 5]), [2.0, 2.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0])
    """
    n = int(sizes.sum())
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    size = sizes.repeat_interleave(sizes)
    generator = torch.Generator().manual_seed(seed)
    part = max(1, _MOST_HELD // max(n, width))
    for start in range(0, draws, part):
        count = min(part, draws - start)
        drawn = first + (torch.rand(count, n, generator=generator, dtype=torch.float64) * size).long()
        ones = torch.ones(count, n, dtype=torch.float64)
        yield torch.zeros_like(ones).scatter_add_(1, drawn, ones)


def class_means(
    values: Float[Tensor, "n width"], sizes: Int[Tensor, " classes"], times: Float[Tensor, "part n"]
) -> Float[Tensor, "part classes width"]:
    """Mean of the values of every class, each image counted as often as it was drawn; images stand class by class.

    Example:
        >>> class_means(torch.tensor([[1.0], [3.0], [7.0]]).double(), torch.tensor([2, 1]), torch.ones(1, 3).double())
        tensor([[[2.],
                 [7.]]], dtype=torch.float64)
    """
    ends = sizes.cumsum(0).tolist()
    parts = [
        times[:, end - size : end] @ values[end - size : end].double() / size
        for end, size in zip(ends, sizes.tolist(), strict=True)
    ]
    return torch.stack(parts, 1)
