"""Images that keep a part of their coordinates: the highest or the lowest by a network's own gradient."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdlens.errors import DataError, ModelError
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.models.state import undisturbed
from kdlens.models.taps import first_tensor
from kdlens.training.batches import Batches
from kdlens.training.randomness import generator

Attribution = Literal["logit", "loss"]
Ranking = Literal["coordinates", "pixels"]


class Kept(NamedTuple):
    """Which coordinates are kept, packed eight to a byte, a row an image: those of the top and of the bottom."""

    top: np.ndarray
    bottom: np.ndarray


class Masked:
    """Images with what is not kept replaced. Masks are unpacked a batch at a time.

    Args:
        data: the images as the network takes them.
        kept: packed mask of every image.
        fill: what is put in, `(C, 1, 1)` or a number.
        pixels: whether a mask has an entry a pixel, for all channels, rather than one a coordinate.
    """

    name = "masked images"

    def __init__(self, data: Batches, kept: np.ndarray, fill: Tensor | float, *, pixels: bool) -> None:
        self.data, self.kept, self.fill, self.pixels = data, kept, fill, pixels
        self.labels = data.labels

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        images, labels, _ = self.gather(torch.tensor([index]))
        return images[0], int(labels[0])

    def gather(self, indices: Int[Tensor, " m"]) -> tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"], None]:
        """Many images at once, and their labels."""
        x, y = (tensor.cpu() for tensor in self.data.batch(indices))
        shape = (len(x), 1, *x.shape[2:]) if self.pixels else x.shape
        bits = np.unpackbits(self.kept[indices.numpy()], axis=1, count=int(np.prod(shape[1:])))
        return torch.where(torch.from_numpy(bits.astype(bool)).view(shape), x, torch.as_tensor(self.fill)), y, None


def rank(
    model: nn.Module | None,
    data: Batches,
    fraction: float,
    *,
    attribution: Attribution,
    ranking: Ranking,
    seed: int,
    batch_size: int | None,
) -> Kept:
    """Keep the highest and the lowest share of every image's coordinates.

    Coordinates whose gradients are equal are ordered by chance, from the seed and the image alone. Without a model all
    are equal: a random ranking.

    Raises:
        DataError: a gradient that is not finite, or a fraction that keeps nothing or everything.
    """

    def kept(part: slice) -> tuple[np.ndarray, np.ndarray]:
        indices = torch.arange(part.start, part.stop)
        x, y = (tensor.cpu() for tensor in data.batch(indices))
        heat = torch.zeros_like(x) if model is None else gradients(model, x, y, attribution)
        heat = (heat.square().sum(1) if ranking == "pixels" else heat.abs()).flatten(1)
        top, bottom = ends(heat, fraction, indices, seed)
        return np.packbits(top.numpy(), axis=1), np.packbits(bottom.numpy(), axis=1)

    example = data.batch(torch.arange(1))[0]
    count = example[0, 0].numel() if ranking == "pixels" else example[0].numel()
    if not 1 <= round(fraction * count) < count:
        raise DataError(
            f"a fraction of {fraction} keeps {round(fraction * count)} of {count} {ranking}; choose another"
        )
    many = example.expand(len(data), *example.shape[1:])
    size = batch_size or (256 if model is None else portion_size(model, many, gradients=True))
    parts = in_portions(kept, len(data), size)
    return Kept(*(np.concatenate(side) for side in zip(*parts, strict=True)))


def gradients(model: nn.Module, images: Tensor, labels: Tensor, attribution: Attribution) -> Float[Tensor, "n c h w"]:
    """Gradient of the predicted class's logit, or of the loss with the label, with respect to the input; on the CPU."""
    device = device_of(model)
    with undisturbed(model, gradients=True):
        x = images.detach().clone().to(device).requires_grad_()
        logits = first_tensor(model(x))
        if logits is None or logits.ndim != 2:
            shape = "no tensor" if logits is None else str(tuple(logits.shape))
            raise ModelError(f"the network gives {shape}; logits (n, K) were expected")
        if attribution == "logit":
            score = logits.amax(1).sum()
        else:
            score = torch.nn.functional.cross_entropy(logits, labels.to(device), reduction="sum")
        [found] = torch.autograd.grad(score, x, allow_unused=True)
    found = torch.zeros_like(images) if found is None else found.detach().float().cpu()
    if not bool(found.isfinite().all()):
        raise DataError("the network's gradients are NaN or infinite on some images; check network and images")
    return found


def ends(
    heat: Float[Tensor, "m d"], fraction: float, indices: Int[Tensor, " m"], seed: int
) -> tuple[Bool[Tensor, "m d"], Bool[Tensor, "m d"]]:
    """The share of every row with the highest values, and that with the lowest: two ends of one ranking.

    Equal values are ordered by chance, from the seed and the row's index, so the ends overlap only where the share is
    more than a half.

    Example:
        >>> ends(torch.tensor([[0.1, 0.4, 0.3, 0.2]]), 0.25, torch.tensor([0]), seed=0)
        (tensor([[False,  True, False, False]]), tensor([[ True, False, False, False]]))
    """
    orders = [torch.randperm(heat.shape[1], generator=generator(seed, "ties", int(i))) for i in indices]
    order = torch.stack(orders)
    ranking = order.gather(1, heat.gather(1, order).argsort(dim=1, descending=True, stable=True))
    count = round(fraction * heat.shape[1])

    def among(chosen: Tensor) -> Tensor:
        return torch.zeros(heat.shape, dtype=torch.bool).scatter(1, chosen, torch.ones_like(chosen, dtype=torch.bool))

    return among(ranking[:, :count]), among(ranking[:, -count:])


def fill_value(data: Batches, fill: Any) -> Tensor | float:
    """What replaces a coordinate: a number, or the mean of each channel over the images, `(C, 1, 1)`."""
    if fill == "zero":
        return 0.0
    parts = [data.batch(indices)[0].double().sum((0, 2, 3)).cpu() for indices in torch.arange(len(data)).split(256)]
    pixels = data.batch(torch.arange(1))[0][0, 0].numel() * len(data)
    return (torch.stack(parts).sum(0) / pixels).float()[:, None, None]
