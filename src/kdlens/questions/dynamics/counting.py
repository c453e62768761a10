"""When an image's knowledge points were most, how far the weights had travelled by then, and how many points stayed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.errors import DataError, StatisticsError
from kdlens.models.history import Unit
from kdlens.questions.knowledge.points import Background, knowledge_points

Kept = Bool[Tensor, "m n gh gw"]


@dataclass(frozen=True, eq=False)
class LearningDynamics:
    """Knowledge points over the m checkpoints of a training.

    An image counts if it counts at every checkpoint; what is said of the others is NaN (-1 for `peak`).

    Attributes:
        epochs: of the checkpoints; their places from 1 where `unit` says so.
        path: W at every checkpoint: length of the weights' path by then over their first length; NaN if not known.
        kept: cells that are knowledge points.
        foreground: cells of the object.
        counted: images that are counted.
        on_object: points on the object.
        off_object: points off it.
        share: their share on the object, lambda.
        peak: m-hat, the first checkpoint with most points on the object.
        path_to_peak: W at that checkpoint.
        stability: rho of every image: of the cells that were points on the object at any checkpoint, the share that are
            at the last one; 0 if none ever was.
        unit: `"epoch"`, or `"checkpoint"` where epochs are not known.
    """

    epochs: Int[Tensor, " m"]
    path: Float[Tensor, " m"]
    kept: Kept
    foreground: Bool[Tensor, "n gh gw"]
    counted: Bool[Tensor, " n"]
    on_object: Float[Tensor, "m n"]
    off_object: Float[Tensor, "m n"]
    share: Float[Tensor, "m n"]
    peak: Int[Tensor, " n"]
    path_to_peak: Float[Tensor, " n"]
    stability: Float[Tensor, " n"]
    unit: Unit = "epoch"

    @property
    def d_mean(self) -> float:
        """Mean path to the peak: how early points are learned."""
        return self.path_to_peak[self.counted].mean().item()

    @property
    def d_var(self) -> float:
        """Population variance of the path to the peak over images; what the published tables call D_std."""
        return spread(self.path_to_peak[self.counted]).square().item()

    @property
    def d_std(self) -> float:
        """Its root: how simultaneously the points of different images are learned."""
        return spread(self.path_to_peak[self.counted]).item()

    @property
    def rho(self) -> float:
        """Mean stability: the fewer points were learned and given up again, the nearer to 1."""
        return self.stability[self.counted].mean().item()


def count_dynamics(
    entropy: Float[Tensor, "m n gh gw"],
    foreground: Bool[Tensor, "n gh gw"],
    path: Float[Tensor, " m"] | None = None,
    *,
    epochs: Sequence[int] | None = None,
    threshold: float = 0.2,
    background: Background = "dataset",
) -> LearningDynamics:
    """Count the knowledge points of every checkpoint, each against the background's level of its own.

    Args:
        entropy: H of every cell at every checkpoint, nats; NaN for an image that is rejected there.
        foreground: True on the cells of the object.
        path: W at every checkpoint; None leaves what rests on it NaN.
        epochs: of the checkpoints; without them these are counted 1, 2, 3, ...
        threshold: b, nats.
        background: what the level is taken from; see `knowledge_points`.

    Raises:
        StatisticsError: fewer than two checkpoints.
        DataError: shapes that do not fit.

    Example:
        >>> entropy = torch.zeros(3, 1, 1, 4)
        >>> entropy[1, 0, 0, :2], entropy[2, 0, 0, 0] = -1.0, -1.0
        >>> found = count_dynamics(entropy, torch.tensor([[[True, True, False, False]]]), torch.tensor([0.0, 0.4, 0.5]))
        >>> found.on_object.flatten().tolist(), found.peak.tolist(), round(found.d_mean, 3), found.rho
        ([0.0, 2.0, 1.0], [1], 0.4, 0.5)

    Source: Cheng et al., CVPR 2020, sections 3.2 and 3.3.
    """
    if entropy.ndim != 4 or entropy.shape[1:] != foreground.shape:
        raise DataError(
            f"entropy must be (m, n, gh, gw) and foreground (n, gh, gw), got {tuple(entropy.shape)} and "
            f"{tuple(foreground.shape)}"
        )
    checkpoints = len(entropy)
    if checkpoints < 2:
        raise StatisticsError(f"what changed can only be seen with two checkpoints or more, got {checkpoints}")
    path = torch.full((checkpoints,), torch.nan, dtype=torch.float64) if path is None else path.double()
    if len(path) != checkpoints or (epochs is not None and len(epochs) != checkpoints):
        raise DataError(f"{checkpoints} checkpoints need as many path lengths and epochs, got {len(path)}")
    foreground = foreground.cpu()
    known = entropy.detach().cpu().flatten(2).isfinite().all(2).all(0)
    clean = entropy.detach().cpu().masked_fill(~known[:, None, None], torch.nan)
    found = [knowledge_points(one, foreground, threshold, background) for one in clean]
    on, off, share = (torch.stack([getattr(f, name) for f in found]) for name in ("on_object", "off_object", "share"))
    kept, counted = torch.stack([f.kept for f in found]), found[0].counted
    peak = first_peak(on).masked_fill(~counted, -1)
    unknown = torch.where(counted, 0.0, torch.nan).double()
    return LearningDynamics(
        epochs=torch.tensor(list(range(1, checkpoints + 1) if epochs is None else epochs)),
        path=path,
        kept=kept,
        foreground=foreground,
        counted=counted,
        on_object=on,
        off_object=off,
        share=share,
        peak=peak,
        path_to_peak=path[peak.clamp_min(0)] + unknown,
        stability=stability(kept & foreground) + unknown,
        unit="checkpoint" if epochs is None else "epoch",
    )


def first_peak(counts: Float[Tensor, "m n"]) -> Int[Tensor, " n"]:
    """The first checkpoint at which each image's count is largest.

    Example:
        >>> first_peak(torch.tensor([[1.0, 0.0], [3.0, 0.0], [3.0, 0.0]])).tolist()
        [1, 0]
    """
    most = counts.nan_to_num(0.0)
    # argmax may return any of several maxima; the first True is certain
    return (most == most.amax(0)).to(torch.uint8).cummax(0).values.logical_not().sum(0)


def spread(values: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Population standard deviation along the last axis.

    Example:
        >>> spread(torch.tensor([0.0, 2.0])).item()
        1.0
    """
    return values.double().var(-1, correction=0).sqrt()


def stability(kept: Kept) -> Float[Tensor, " n"]:
    """Of the cells kept at any checkpoint, the share kept at the last; 0 where none ever was.

    Example:
        >>> kept = torch.tensor([[[[True, False, True]]], [[[True, True, False]]]])
        >>> round(stability(kept).item(), 3)
        0.667
    """
    last, ever = (cells.flatten(1).sum(1).double() for cells in (kept[-1], kept.any(0)))
    return last / ever.clamp_min(1)
