"""`kdlens.learning_dynamics`: the knowledge points of one network over its training."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import DataError
from kdlens.models.history import as_history, at_checkpoint
from kdlens.questions.discarding.discarding import Backend, accept_linear, information_discarding
from kdlens.questions.discarding.recipe import Protocol
from kdlens.questions.dynamics.counting import LearningDynamics, count_dynamics
from kdlens.questions.knowledge.masks import as_foreground
from kdlens.questions.knowledge.points import Background


def learning_dynamics(
    network: nn.Module,
    history: Any,
    images: Float[Tensor, "n c h w"],
    foreground: Tensor,
    *,
    layer: str,
    path: Literal["per_step", "per_epoch"] | None = "per_step",
    grid: int = 16,
    protocol: Protocol = "published",
    backend: Backend = "auto",
    threshold: float = 0.2,
    background: Background = "dataset",
    probes: int = 128,
    seed: int = 0,
) -> LearningDynamics:
    """When were the points of an image learned, how far had the weights travelled by then, and which were given up?

    The probes are the same for an image at all checkpoints, and for every network that is given the same images and
    seed, so that what they get wrong is alike and differences are not. Call it for student and baseline with the same
    images, foreground and options, and compare what is at the same epochs. Checkpoints of a list are counted 1, 2, 3,
    ..., since nobody says after which epochs they are.

    Args:
        network: a network of the architecture that was trained; it comes back as it was.
        history: the folder of a training (`kdlens.distill(..., out=, record_epochs="log")`), or a list of
            `(checkpoint, path length)`: weights file, state dict or network, and W by then, divided by ||w_0|| already.
        images: as the network takes them.
        foreground: `(n, H, W)` masks of pixels, or `(n, gh, gw)` of cells; above 0 on the object.
        layer: dotted name.
        path: distances of the weights summed over single updates, as in the published code, or over epochs, as in the
            paper's formula. A list given by hand serves both. `None` needs no path lengths; D is NaN then.
        grid: cells a side.
        protocol: see `kdlens.information_discarding`.
        backend: likewise; `"auto"` decides at the last checkpoint, once for all.
        threshold: b, nats.
        background: what the level is taken from; see `kdlens.knowledge_points`.
        probes: backward passes an image, of the fast way; see `kdlens.information_discarding`.
        seed: of the probes.

    Returns:
        `d_mean`, `d_std` (its square `d_var`), `rho`, and what they are made of for every image and checkpoint.

    Raises:
        HistoryError: fewer than two checkpoints, checkpoints of another network, or no path lengths of this layer.
        DataError: as many masks as images are needed, of their size or the grid's.
        ConfigError: an unknown name, or a number out of range.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
        >>> earlier = {name: 0.5 * weights for name, weights in net.state_dict().items()}
        >>> masks = torch.zeros(2, 8, 8)
        >>> masks[:, 2:6, 2:6] = 1
        >>> found = learning_dynamics(
        ...     net, [(earlier, 0.0), (net, 1.0)], torch.rand(2, 3, 8, 8), masks, layer="1", grid=4
        ... )
        >>> found.kept.shape, found.path.tolist(), 0 <= found.rho <= 1
        (torch.Size([2, 2, 4, 4]), [0.0, 1.0], True)

    Source: Cheng, Rao, Chen and Zhang, Explaining knowledge distillation by quantifying the knowledge, CVPR 2020.
    """
    if images.ndim != 4 or len(foreground) != len(images) or len(images) == 0:
        raise DataError(
            f"images must be (n, C, H, W) with one mask each, got {tuple(images.shape)} and {tuple(foreground.shape)}"
        )
    cells = as_foreground(foreground, (int(images.shape[2]), int(images.shape[3])), (grid, grid))
    known = as_history(history).of(network)
    lengths = None if path is None else known.path(layer, path)
    options: dict[str, Any] = {"layer": layer, "grid": grid, "protocol": protocol, "probes": probes, "seed": seed}
    if backend == "auto":
        backend = accept_linear(at_checkpoint(network, known.checkpoints[-1]), images, **options).backend
    entropy = [
        information_discarding(at_checkpoint(network, checkpoint), images, backend=backend, **options).entropy
        for checkpoint in known.checkpoints
    ]
    epochs = [checkpoint.epoch for checkpoint in known.checkpoints] if known.unit == "epoch" else None
    return count_dynamics(
        torch.stack(entropy), cells, lengths, epochs=epochs, threshold=threshold, background=background
    )
