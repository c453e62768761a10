"""Inner products of the classes' gradients for one batch: one forward pass, one short backward pass a class.

A plain loop runs, for every class, the whole network forwards and backwards. Here the batch passes once; a class's
backward pass starts at the logits (`cotangents.py`) and ends at the shared layer, below which nothing is recorded, and
computes the gradients of that layer's parameters alone.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.memory import estimate_batch_size
from kdlens.models.device import device_of
from kdlens.models.nested import first_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap
from kdlens.questions.conflict.cotangents import Cotangents, Kind, Task
from kdlens.questions.conflict.shared import in_groups, zero_rows

MOST_BYTES = 1 << 30
"""Gradients held at once; a larger layer is taken in parts, with a forward pass for each."""

_COLUMNS = 1 << 22

_SMALL = 8 * 3 * 256 * 256
"""Numbers in a batch that needs no estimate of memory."""


def portion_of(network: nn.Module, images: Tensor) -> int:
    """How many images of a batch to pass at once: all, where they are few and small, else by an estimate of memory."""
    if images.numel() <= _SMALL:
        return max(1, len(images))
    return max(1, estimate_batch_size(network, images[:1].to(device_of(network))) // 2)


class Losses:
    """What is differentiated: tasks, and what the logits are of.

    Args:
        task: `"binary"` or `"images"`.
        kind: `"softmax"` or `"sigmoid"`.
        portion: images a forward pass; their gradients are summed.
    """

    def __init__(self, task: Task, kind: Kind, portion: int) -> None:
        self.task: Task = task
        self.kind: Kind = kind
        self.portion = portion

    def parts(self, labels: Int[Tensor, " n"], classes: int) -> Iterator[tuple[Tensor, Sequence[int]]]:
        """Positions of images that pass together, and the tasks whose loss they enter."""
        if self.task == "binary":
            for part in torch.arange(len(labels)).split(self.portion):
                yield part, range(classes)
            return
        for task in range(classes):
            for part in (labels == task).nonzero().flatten().split(self.portion):
                if len(part):
                    yield part, [task]


def gram_matrix(
    network: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    parameters: list[nn.Parameter],
    losses: Losses,
    *,
    classes: int,
    most_bytes: int = MOST_BYTES,
) -> Float[Tensor, "k k"]:
    """Inner products, float64 on the CPU, of the gradients of every task's mean loss; the network comes back untouched.

    Args:
        network: any network.
        images: one batch, on the network's device.
        labels: their classes, on the CPU.
        parameters: of the shared layer.
        losses: see `Losses`.
        classes: K.
        most_bytes: gradients held at once.

    Raises:
        ModelError: logits that are not `(n, K)`, or not finite.
    """
    total = torch.zeros(classes, classes, dtype=torch.float64, device=images.device)
    with undisturbed(network, gradients=True):
        for group in in_groups(parameters, classes, most_bytes):
            for parameter in group:
                parameter.requires_grad_(True)
            total += _inner_products(_gradients(network, images, labels, group, losses, classes))
            for parameter in group:
                parameter.requires_grad_(False)
    count = torch.bincount(labels, minlength=classes).double() if losses.task == "images" else len(labels)
    scale = torch.as_tensor(count, dtype=torch.float64).clamp_min(1).expand(classes)
    return total.cpu() / (scale[:, None] * scale[None])


def _gradients(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    parameters: list[nn.Parameter],
    losses: Losses,
    classes: int,
) -> Float[Tensor, "k p"]:
    """One row a task: the gradient of its loss, summed over its images."""
    rows = zero_rows(classes, parameters)
    for part, tasks in losses.parts(labels, classes):
        with torch.enable_grad():
            logits = checked_logits(network, images[part.to(images.device)], classes)
        if not logits.requires_grad:  # nobody reads the layer: hard attention may do that
            continue
        cotangents = Cotangents(logits.detach(), labels[part].to(images.device), losses.task, losses.kind)
        for task in tasks:
            last = task == tasks[-1]
            found = torch.autograd.grad(
                logits,
                parameters,
                cotangents.of(task),
                retain_graph=not last,
                allow_unused=True,
                materialize_grads=True,
            )
            rows[task] += torch.cat([one.reshape(-1).to(rows.dtype) for one in found])
    return rows


def checked_logits(network: nn.Module, images: Tensor, classes: int) -> Float[Tensor, "n k"]:
    """The network's logits for a batch.

    Raises:
        ModelError: they are not one finite number a class.
    """
    logits = first_tensor(unwrap(network)(images))
    name = type(unwrap(network)).__name__
    if logits is None or logits.ndim != 2 or logits.shape != (len(images), classes):
        shape = "no tensor" if logits is None else f"an output of shape {tuple(logits.shape)}"
        raise ModelError(f"{name} gives {shape} for {len(images)} images; ({len(images)}, {classes}) was expected")
    if not bool(torch.isfinite(logits).all()):
        wrong = int((~torch.isfinite(logits).all(1)).sum())
        raise ModelError(
            f"{name} gives NaN or infinite logits for {wrong} of {len(images)} images; check its weights and the "
            "images, or leave those out"
        )
    return logits


def _inner_products(rows: Float[Tensor, "k p"]) -> Float[Tensor, "k k"]:
    """All inner products in float64, without a float64 copy of everything."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for part in rows.split(max(1, _COLUMNS // len(rows)), dim=1):
        part = part.double()
        total.addmm_(part, part.T)
    return total
