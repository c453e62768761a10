"""Do classes pull a shared layer in opposite directions? Cosines between the gradients of their losses."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError, DataError
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME
from kdlens.questions.conflict.cotangents import Kind, Task
from kdlens.questions.conflict.dealing import dealt
from kdlens.questions.conflict.gram import Losses, gram_matrix, portion_of
from kdlens.questions.conflict.result import GradientConflict, cosines_of
from kdlens.questions.conflict.shared import default_layer, flat_size, shared_parameters


def gradient_conflict(
    network: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    layer: str | None = None,
    task: Task = "binary",
    kind: Literal["auto", "softmax", "sigmoid"] = "auto",
    batch_size: int = 128,
    classes: Sequence[str] | None = None,
    portion: int | None = None,
    shuffle: int | None = None,
) -> GradientConflict:
    """Measure how the gradients of the classes' losses agree in a layer that they share.

    With g_c the gradient of the mean loss of class c over a batch, with respect to all parameters of the layer, C_cd is
    the cosine of g_c and g_d: below 0, a step that helps one class hurts the other. The conflict rate is the share of
    pairs with C_cd < 0. The network is in eval mode meanwhile and comes back untouched; parameters that are frozen
    count like others. A batch passes once, whatever the number of classes.

    Args:
        network: any network that gives one logit a class.
        images: `(n, C, H, W)`, or whatever it takes.
        labels: `(n,)` class indices.
        layer: dotted name of a convolution, block or stage; all its parameters are taken. By default the last stage, or
            the trunk of a mixture of experts.
        task: `"binary"`: class c is the question "is it c?" on all images. `"images"`: class c is its images.
        kind: whether logits belong to one softmax or to a sigmoid each; `"auto"`: a sigmoid for a `kdlens.nn.HME` in
            binary mode, else a softmax.
        batch_size: images over which a gradient is averaged. Images are dealt to batches class by class, so that
            batches are alike; the last ones, where they do not fill a batch, are left out.
        classes: names.
        portion: images in memory at once; changes nothing but memory.
        shuffle: deal the labels anew among the images of every batch with this seed: the conflict that chance gives.

    Returns:
        Cosines, norms and the conflict rate with its interval over batches.

    Raises:
        ConfigError: a task, kind or batch size that cannot be.
        DataError: images and labels that do not fit each other or the network, or a network of fewer than two classes.
        ModelError: logits that are not finite; a layer without parameters.
        LayerNotFoundError: no such layer.

    Source: that distillation settles conflicts between classes, read as one task each, is argued by Xue et al.,
    KDExplainer (IJCAI 2021), from attention; the cosine of gradients is the measure of Yu et al., Gradient surgery
    (NeurIPS 2020), and ours for this purpose.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 4, bias=False))
        >>> with torch.no_grad():
        ...     _ = network[0].weight.copy_(torch.eye(2))
        ...     _ = network[1].weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
        >>> found = gradient_conflict(network, x, y, layer="0", kind="sigmoid")
        >>> found.cosines[0].round(decimals=4)
        tensor([ 1.0000,  1.0000,  0.0000, -0.7071], dtype=torch.float64)
        >>> round(found.rate.value, 4)
        0.3333
    """
    _check(images, labels, batch_size, task, kind)
    device = device_of(network)
    labels = labels.cpu().long()
    outputs = _outputs(network, images[:1].to(device), labels)
    layer = default_layer(network, images[:1].to(device)) if layer is None else layer
    parameters = shared_parameters(network, layer)
    logits_of = kind_of(network) if kind == "auto" else kind
    losses = Losses(task, logits_of, portion or portion_of(network, images[:batch_size]))
    grams: list[Tensor] = []
    sizes: list[Tensor] = []
    for batch in dealt(labels, batch_size):
        theirs = labels[batch]
        theirs = theirs if shuffle is None else shuffled(theirs, shuffle + len(grams))
        taken = images[batch.to(images.device)].to(device)
        grams.append(gram_matrix(network, taken, theirs, parameters, losses, classes=outputs))
        sizes.append(torch.bincount(theirs, minlength=outputs))
    cosines, norms = cosines_of(torch.stack(grams))
    return GradientConflict(
        by_batch=cosines,
        norms=norms.mean(0),
        counts=torch.stack(sizes),
        classes=_names(classes, outputs),
        layer=layer,
        parameters=flat_size(parameters),
        task=task,
        kind=logits_of,
    )


def kind_of(network: nn.Module) -> Kind:
    """What a network's logits are of: a sigmoid each in a mixture of experts in binary mode, else one softmax."""
    inner = unwrap(network)
    return "sigmoid" if isinstance(inner, HME) and inner.task_mode == "binary" else "softmax"


def shuffled(labels: Int[Tensor, " n"], seed: int) -> Int[Tensor, " n"]:
    """The labels in a random order, so that they say nothing of the images."""
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def _check(images: Tensor, labels: Tensor, batch_size: int, task: str, kind: str) -> None:
    if task not in ("binary", "images"):
        raise ConfigError(f'task must be "binary" or "images", not "{task}"')
    if kind not in ("auto", "softmax", "sigmoid"):
        raise ConfigError(f'kind must be "auto", "softmax" or "sigmoid", not "{kind}"')
    if batch_size < 1:
        raise ConfigError(f"batch_size must be 1 or more, got {batch_size}")
    if labels.ndim != 1 or len(labels) != len(images) or len(labels) == 0:
        shapes = f"{tuple(images.shape)} and {tuple(labels.shape)}"
        raise DataError(f"images (n, ...) and labels (n,) of at least one image are needed, got {shapes}")
    if labels.is_floating_point() or labels.is_complex():
        raise DataError(f"labels must be class indices, got {labels.dtype}")


def _outputs(network: nn.Module, image: Tensor, labels: Tensor) -> int:
    """How many classes the network tells apart."""
    output = record(network, image, ())[0]
    name = type(unwrap(network)).__name__
    if output.ndim != 2 or output.shape[1] < 2:
        raise DataError(
            f"{name} gives an output of shape {tuple(output.shape)} for one image; logits (n, K) of at least two "
            "classes are needed: one class has nothing to be in conflict with"
        )
    classes = output.shape[1]
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise DataError(f"label {wrong} is outside the {classes} classes 0..{classes - 1} of {name}")
    return int(classes)


def _names(classes: Sequence[str] | None, outputs: int) -> tuple[str, ...]:
    if classes is None:
        return tuple(str(k) for k in range(outputs))
    if len(classes) != outputs:
        raise DataError(f"{len(classes)} class names are given, and the network has {outputs} outputs")
    return tuple(classes)
