"""information_discarding: how much of every cell of an image a layer throws away (Cheng et al., CVPR 2020)."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError, DataError
from kdlens.models.given import require_network
from kdlens.questions.discarding.acceptance import Acceptance, accept
from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.cells import Grid
from kdlens.questions.discarding.lens import Lens, lens
from kdlens.questions.discarding.linear import Solved, solve_linear
from kdlens.questions.discarding.monte_carlo import Crowd, solve_all
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.recipe import Protocol, Recipe
from kdlens.questions.discarding.sigma import entropy

Backend = Literal["auto", "linear", "monte-carlo"]

TRIED = 10
"""Images on which `auto` decides."""


@dataclass(frozen=True, eq=False)
class Discarded:
    """What a layer discards of some images; all tensors on the CPU.

    Attributes:
        entropy: H of every cell in nats, `(n, gh, gw)`; small where the layer keeps a cell; NaN for a rejected image.
        sigma: standard deviation of the noise of every cell, in units of the network's input.
        loss_ratio: R, by how much the noise moves the feature, in units of what even noise of 0.01 does.
        rejected: images that no noise moves the feature of (or not by a finite amount).
        backend: `"linear"` or `"monte-carlo"`, whichever made the numbers.
        reason: why that one.
    """

    entropy: Float[Tensor, "n ..."]
    sigma: Float[Tensor, "n ..."]
    loss_ratio: Float[Tensor, " n"]
    rejected: Bool[Tensor, " n"]
    backend: str
    reason: str

    @property
    def mean_entropy(self) -> Float[Tensor, " n"]:
        """Mean over the cells, nats."""
        return self.entropy.flatten(1).mean(1)

    @property
    def bits(self) -> Float[Tensor, "n ..."]:
        """The entropy in bits."""
        return self.entropy / math.log(2)

    def __len__(self) -> int:
        return len(self.rejected)

    def __repr__(self) -> str:
        cells = " x ".join(map(str, self.entropy.shape[1:]))
        return f"Discarded({len(self)} images of {cells} cells, {int(self.rejected.sum())} rejected, {self.backend})"


def information_discarding(
    model: nn.Module,
    images: Float[Tensor, "n ..."],
    *,
    layer: str,
    grid: Grid = 16,
    protocol: Protocol = "published",
    backend: Backend = "auto",
    loss_weight: float = 7.0,
    alpha: float = 1.5,
    probes: int = 128,
    memory: float = 1.0,
    seed: int = 0,
    positions: Int[Tensor, " n"] | None = None,
) -> Discarded:
    """Measure how much of every cell of the input a layer discards.

    Gaussian noise of a standard deviation of its own is added to every cell, as much as the layer's feature bears:
    H_i = log sigma_i + 1/2 log(2 pi e), large where the layer does not care. The feature is the positive part of the
    layer's output, as in the published code.

    Args:
        model: any network; it comes back as it was.
        images: as the network takes them: `(n, C, H, W)`, `(n, C, L)`, `(n, tokens, d)` or `(n, d)`.
        layer: dotted name.
        grid: cells a side; two numbers for rows and columns; `"tokens"` for one cell a token.
        protocol: `"published"`, the descent of the authors' code, stopped at a mean entropy of -2.8 nats: networks are
            compared by *where* they discard. `"converged"`, the optimum the paper describes, at which R is lambda / 2.
            `"alpha"`, the largest entropy with R = alpha (Ma et al., ICML 2022).
        backend: `"linear"`, slopes by a few backward passes and a closed form; `"monte-carlo"`, the published loop;
            `"auto"`, the first where it passes its checks on 10 of the images, else the second.
        loss_weight: lambda of the protocols `published` and `converged`; use one for all networks you compare.
        alpha: R of the protocol `alpha`.
        probes: backward passes an image of the linear backend; 128 are about as accurate as the published loop.
        memory: GiB for an image's probes. Features too large for it (at 128 probes and 1 GiB: 600,000 units) are probed
            at random alone, which is less accurate; images a pass are chosen by free memory and change nothing.
        seed: seed of all noise.
        positions: names of the images, `0 ... n-1` unless given. Noise belongs to the name, so the same image gets the
            same noise in any batch, network and checkpoint, and errors cancel between them.

    Returns:
        Entropy maps with the feature loss, the backend and the reason for it.

    Raises:
        DataError: no images, images that are not finite floats, a grid that does not fit, or too few positions.
        ConfigError: an unknown protocol or backend, or a number that must be positive.
        LayerNotFoundError: no such layer; LayerShapeError: it is not called or gives no tensor.

    Source:
        Cheng, Rao, Chen and Zhang, "Explaining knowledge distillation by quantifying the knowledge", CVPR 2020,
        equations 1 to 3, and the authors' code; the closed forms are kdlens's.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Softplus()).eval()
        >>> found = information_discarding(net, torch.rand(2, 1, 8, 8), layer="1", grid=4)
        >>> found
        Discarded(2 images of 4 x 4 cells, 0 rejected, linear)
        >>> bool((found.mean_entropy + 2.8).abs().max() < 0.01)
        True
    """
    require_network(model, "the model")
    recipe, budget = Recipe(protocol=protocol, loss_weight=loss_weight, alpha=alpha), Budget(probes, memory * 2**30)
    images, positions = _checked(images, positions)
    if backend not in get_args(Backend):
        raise ConfigError(f'backend must be one of {", ".join(get_args(Backend))}; got "{backend}"')
    with lens(model, layer, images, grid) as at_layer:
        noises = [Noise(seed, position) for position in positions.tolist()]
        if backend == "auto":
            chosen = accept(at_layer, images[:TRIED], noises[:TRIED], recipe, budget)
        else:
            chosen = Acceptance(backend, "asked for")
        if chosen.backend == "linear":
            solved = solve_linear(at_layer, images, noises, recipe, budget)
        else:
            solved = _monte_carlo(at_layer, images, noises, recipe)
        return _collected(solved, at_layer.cells.shape, chosen)


def accept_linear(
    model: nn.Module,
    images: Float[Tensor, "n ..."],
    *,
    layer: str,
    grid: Grid = 16,
    protocol: Protocol = "published",
    loss_weight: float = 7.0,
    alpha: float = 1.5,
    probes: int = 128,
    seed: int = 0,
    positions: Int[Tensor, " n"] | None = None,
) -> Acceptance:
    """Decide once for a network and layer which backend to use, as `backend="auto"` does; the first 10 images count.

    Args:
        model: any network; it comes back as it was.
        images: as for `information_discarding`; the first 10 are used.
        layer: likewise, and so are the others.
        grid: cells.
        protocol: which noise is asked for.
        loss_weight: lambda.
        alpha: R of the protocol `alpha`.
        probes: backward passes an image.
        seed: seed of all noise.
        positions: names of the images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Softplus()).eval()
        >>> accept_linear(net, torch.rand(3, 1, 8, 8), layer="1", grid=4).backend
        'linear'
    """
    require_network(model, "the model")
    recipe = Recipe(protocol=protocol, loss_weight=loss_weight, alpha=alpha)
    images, positions = _checked(images, positions)
    with lens(model, layer, images, grid) as at_layer:
        noises = [Noise(seed, position) for position in positions[:TRIED].tolist()]
        return accept(at_layer, images[:TRIED], noises, recipe, Budget(probes))


def _monte_carlo(lens: Lens, images: Tensor, noises: list[Noise], recipe: Recipe) -> list[Solved]:
    solved: list[Solved] = []
    together = max(1, lens.rows // recipe.draws)  # images that share a pass
    for part in torch.arange(len(images)).split(together):
        crowd = Crowd(lens, images[part].to(lens.device), [noises[i].again() for i in part.tolist()], recipe)
        solved += solve_all(crowd, lens.cells.count, recipe)
    return solved


def _collected(solved: list[Solved], shape: tuple[int, ...], chosen: Acceptance) -> Discarded:
    none = torch.full((math.prod(shape),), torch.nan, dtype=torch.float64)
    sigma = torch.stack([none if one.sigma is None else one.sigma for one in solved])
    sigma = sigma.reshape(len(solved), *shape).float()
    return Discarded(
        entropy=entropy(sigma),
        sigma=sigma,
        loss_ratio=torch.tensor([one.ratio for one in solved]),
        rejected=torch.tensor([one.sigma is None for one in solved]),
        backend=chosen.backend,
        reason=chosen.reason,
    )


def _checked(images: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.dim() < 2:
        raise DataError(f"images must be a float tensor (n, ...) as the network takes it, got {_kind(images)}")
    if not len(images):
        raise DataError("information_discarding needs at least one image")
    if not torch.isfinite(images).all():
        raise DataError("images hold NaN or infinite values; clean them first")
    if positions is None:
        return images, torch.arange(len(images))
    if len(positions) != len(images):
        raise DataError(f"{len(positions)} positions for {len(images)} images; give one each")
    return images, torch.as_tensor(positions).long()


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__
