"""Do the gradients of the loss lie on the object? Numbers beside the loss-gradient maps of Tsipras et al. (ICLR 2019).

The published maps, g = gradient of the cross-entropy with respect to the input, are looked at; no number goes with
them. What is measured here is an EXTENSION OF OURS: the share of the gradient's energy that lies in the object's mask
beside the share of the area that the mask takes, and how often the strongest pixel is one of the object's (the pointing
game of Zhang et al., ECCV 2016).
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdlens.errors import DataError, ModelError, StatisticsError
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.models.given import require_network
from kdlens.models.state import undisturbed
from kdlens.models.taps import first_tensor
from kdlens.stats.resampling import Interval, bootstrap_mean

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GradientAlignment:
    """How much of the loss gradient lies on the object. By chance, energy and pointing equal the area.

    Attributes:
        energy: mean over images of the share of the gradient's length, summed over pixels, that lies in the mask; so
            are the others means over images with bootstrap intervals.
        area: share of the pixels that lie in the mask: chance for energy and pointing alike.
        energy_excess: energy - area, image by image.
        pointing: how often the pixel with the longest gradient is in the mask (ties share).
        pointing_excess: pointing - area, image by image.
        skipped: images left out and why, by reason: `no object`, `no background`, `no gradient`.
    """

    energy: Interval
    area: Interval
    energy_excess: Interval
    pointing: Interval
    pointing_excess: Interval
    skipped: dict[str, int]

    @property
    def n(self) -> int:
        """Images that count."""
        return self.energy.n

    def to_frame(self) -> "pd.DataFrame":
        """A row for every measure: value, low, high, n, and chance where it is not part of the measure."""
        import pandas as pd

        rows = []
        for name in (f.name for f in fields(self) if f.name != "skipped"):
            found = getattr(self, name)
            chance = {"area": float("nan"), "energy_excess": 0.0, "pointing_excess": 0.0}.get(name, self.area.value)
            ends = {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
            rows.append({"measure": name, **ends, "chance": chance})
        return pd.DataFrame(rows)


def gradient_alignment(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    masks: Bool[Tensor, "n h w"],
    *,
    batch_size: int | None = None,
    seed: int = 0,
) -> GradientAlignment:
    """Measure how much of the gradient of the loss with respect to the input lies on the object. An extension of ours.

    The length of a pixel's gradient is its Euclidean norm over channels. Images whose mask is empty or covers
    everything say nothing and are skipped and counted, so are images with a gradient of zero.

    Args:
        model: a classifier; it comes back as it was.
        images: as the network takes them.
        labels: class indices.
        masks: the objects; anything but 0 is object.
        batch_size: images a pass; does not change the result.
        seed: of the bootstrap over images.

    Raises:
        ModelError: no network, or one that gives no logits `(n, K)`.
        DataError: images, labels and masks that do not fit together, or values that are not finite.
        StatisticsError: no image is left.

    Example:
        >>> from kdlens.data.scenes import FashionScenes
        >>> from kdlens.models.load import load_model
        >>> x, y, masks = FashionScenes("test").gather(torch.arange(8))
        >>> found = gradient_alignment(load_model("resnet8"), x, y, masks)
        >>> found.n, 0 <= found.energy.value <= 1, sum(found.skipped.values())
        (8, True, 0)

    Source: the gradients are those of Tsipras et al., Robustness may be at odds with accuracy, ICLR 2019, section 3.
    """
    require_network(model, "network")
    masks = _checked(images, labels, masks)
    strength = gradient_strength(model, images, labels, batch_size=batch_size)
    area = masks.double().mean(1)
    total = strength.sum(1)
    reasons = {"no object": area == 0, "no background": area == 1}
    reasons["no gradient"] = (total == 0) & (area > 0) & (area < 1)
    skipped = {reason: int(images_.sum()) for reason, images_ in reasons.items()}
    used = (area > 0) & (area < 1) & (total > 0)
    if not used.any():
        told = ", ".join(f"{count} with {reason}" for reason, count in skipped.items() if count)
        raise StatisticsError(f"none of {len(used)} images can be used ({told}); masks must cover a part of the image")
    strength, masks, area = strength[used], masks[used], area[used]
    energy = (strength * masks).sum(1) / strength.sum(1)
    strongest = strength == strength.amax(1, keepdim=True)
    pointing = (strongest & masks).sum(1) / strongest.sum(1).double()
    values = (energy, area, energy - area, pointing, pointing - area)
    means = [bootstrap_mean(x, seed=seed) for x in values]
    return GradientAlignment(means[0], means[1], means[2], means[3], means[4], skipped)


def gradient_strength(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], *, batch_size: int | None = None
) -> Float[Tensor, "n hw"]:
    """Length of the loss gradient at every pixel, up to one positive factor an image; float64 on the CPU.

    The cross-entropy is log(1 + exp m) with m = log sum of exp of the other logits - the label's logit, so its gradient
    is that of m times a number. That of m is what is taken: it stays readable where a confident network's loss rounds
    to 0.
    """
    device = device_of(model)

    def strength(part: slice) -> Tensor:
        x = images[part].detach().clone().to(device).requires_grad_()
        logits = first_tensor(model(x))
        y = labels[part].to(device)
        if logits is None or logits.ndim != 2 or logits.shape[1] < 2:
            shape = "no tensor" if logits is None else str(tuple(logits.shape))
            raise ModelError(f"the network gives {shape}; logits (n, K) of at least two classes were expected")
        if int(y.max()) >= logits.shape[1] or int(y.min()) < 0:
            raise DataError(f"labels reach from {int(y.min())} to {int(y.max())}; the network has {logits.shape[1]}")
        own = logits.gather(1, y[:, None])[:, 0]
        others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
        [gradient] = torch.autograd.grad((others - own).sum(), x, allow_unused=True)
        found = torch.zeros_like(x) if gradient is None else gradient
        return found.detach().double().square().sum(1).sqrt().flatten(1).cpu()

    size = batch_size or portion_size(model, images, gradients=True)
    with undisturbed(model, gradients=True):
        found = torch.cat(in_portions(strength, len(images), size))
    if not bool(found.isfinite().all()):
        broken = int((~found.isfinite().all(1)).sum())
        raise DataError(
            f"the gradients of {broken} of {len(found)} images are NaN or infinite; check network and images"
        )
    return found


def _checked(images: Tensor, labels: Tensor, masks: Tensor) -> Bool[Tensor, "n hw"]:
    """Masks, a row an image."""
    if images.ndim != 4 or len(images) == 0:
        raise DataError(f"images have shape {tuple(images.shape)}; expected (n, C, H, W), at least one")
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise DataError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected {len(images)} class indices"
        )
    if masks is None or masks.shape != (len(images), *images.shape[2:]):
        given = "None" if masks is None else str(tuple(masks.shape))
        raise DataError(f"masks have shape {given}; expected {(len(images), *images.shape[2:])}, those of the images")
    for name, x in (("images", images), ("masks", masks)):
        if x.is_floating_point() and not bool(torch.isfinite(x).all()):
            raise DataError(f"the {name} hold NaN or infinite values; leave those images out")
    return (masks != 0).flatten(1).cpu()
