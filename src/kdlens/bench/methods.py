"""The methods of the benchmark that come with the package."""

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.bench.cases import Case
from kdlens.models.layers import auto_layers
from kdlens.models.taps import Recorder
from kdlens.models.tokens import to_feature_map
from kdlens.questions.unicam.cam import upsample
from kdlens.questions.unicam.joint.forms import Attribution
from kdlens.questions.unicam.unicam import unicam


def gradcam(case: Case) -> Float[Tensor, "n H W"]:
    """Grad-CAM of the model alone, which knows nothing of the network given.

    At the last spatial layer that has a gradient: the last block of a transformer whose head reads the class token
    alone has none at the places of the image.

    Source: Selvaraju et al., ICCV 2017.
    """
    layers = auto_layers(case.model, case.images[:1])
    size = (case.images.shape[2], case.images.shape[3])
    with torch.enable_grad(), Recorder(case.model, layers, gradients=True) as taps:
        score = case.model(case.images)[torch.arange(len(case.labels)), case.labels].sum()
    gradients = torch.autograd.grad(score, [taps[layer] for layer in layers])

    def in_space(x: Tensor, layer: str) -> Tensor:
        return to_feature_map(x.detach(), batch=len(case.images), input_size=size, model=case.model, layer=layer)

    for layer, found in zip(reversed(layers), reversed(gradients), strict=True):
        gradient = in_space(found, layer)
        if gradient.any():
            weights = gradient.mean((2, 3), keepdim=True)
            return upsample((weights * in_space(taps[layer], layer)).sum(1).clamp(min=0), size)
    return torch.zeros(len(case.images), *size)


def published(case: Case) -> Float[Tensor, "n H W"]:
    """UniCAM as published; each map is scaled to its own range."""
    result = unicam(
        case.model, case.given, case.images, case.labels, reference=case.reference, protocol="published", seed=case.seed
    )
    return result.maps


def joint(case: Case) -> Float[Tensor, "n H W"]:
    """UniCAM's joint protocol as it comes: gradients, beyond the null band of networks of other seeds."""
    return _joint(case, "gradients")


def joint_occlusion(case: Case) -> Float[Tensor, "n H W"]:
    """The same by occlusion, slow and trusted."""
    return _joint(case, "occlusion")


def _joint(case: Case, attribution: Attribution) -> Float[Tensor, "n H W"]:
    result = unicam(
        *(case.model, case.given, case.images, case.labels),
        reference=case.reference,
        attribution=attribution,
        null=[(other, case.given) for other in case.others],
        seed=case.seed,
    )
    return result.maps
