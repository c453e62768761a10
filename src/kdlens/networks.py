"""The networks of a study before anything is computed: who they are, whether they fit the images, their layers.

What is wrong with a network is said here, by the name it has in the study, before hours of work.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdlens.errors import ConfigError, KdlensError, ModelError
from kdlens.memory import ran_out
from kdlens.models.asked import Layers, Role
from kdlens.models.given import require_network
from kdlens.models.layers import auto_layers, resolve
from kdlens.models.taps import record
from kdlens.questions.context import Subject


@dataclass(frozen=True)
class Network:
    """One network of a study before its layers are chosen."""

    name: str
    role: Role
    module: nn.Module
    seed: int = 0
    arch: str = ""
    weights: str = ""

    @property
    def label(self) -> str:
        """The name for people; the seed is told where it is not the first."""
        return self.name if self.seed == 0 else f"{self.name} (seed {self.seed})"


def check_roles(networks: Sequence[Network]) -> None:
    """Refuse networks that make no study.

    Raises:
        ConfigError: no student or no baseline, a student named as a role, or two networks of one name and seed.
        ModelError: something that is no network.
    """
    for role in ("baseline", "student"):
        if not any(network.role == role for network in networks):
            raise ConfigError(f"a study needs at least one {role}")
    for network in networks:
        require_network(network.module, network.label)
        if not isinstance(network.name, str) or not network.name.strip():
            raise ConfigError(f"a student needs a name, got {network.name!r:.80}")
        if network.role == "student" and network.name in ("teacher", "baseline"):
            raise ConfigError(f'a student cannot be called "{network.name}"; that name is the {network.name}\'s')
    (name, seed), count = Counter((network.name, network.seed) for network in networks).most_common(1)[0]
    if count > 1:
        raise ConfigError(f'{count} networks are called "{name}" with seed {seed}; give each another name or seed')


def check_fit(network: Network, image: Tensor, classes: int) -> None:
    """Send one image through a network and look at what comes out.

    Args:
        network: the network, on the image's device.
        image: `(1, C, H, W)`.
        classes: how many logits are expected.

    Raises:
        ModelError: it cannot take the image, or does not give one finite logit a class.
        KdlensError: there is no memory even for one image.
    """
    output = _output(network, image)
    if output.ndim != 2 or output.shape[1] != classes:
        raise ModelError(
            f"{network.label} gives an output of shape {tuple(output.shape)} for one image, but the data has "
            f"{classes} classes, so (1, {classes}) was expected; load the network with the class count of its "
            "training, and name as many classes (`class_names=`, or `classes` of kdlens.Images)"
        )
    if not torch.isfinite(output).all():
        raise ModelError(f"{network.label} gives NaN or infinite logits for the first image; check its weights")


def outputs_of(networks: Sequence[Network], image: Tensor) -> int | None:
    """How many outputs all the networks have; None where they differ or are no logits.

    Raises:
        ModelError: one cannot take the image.
    """
    outputs = [_output(network, image) for network in networks]
    counts = {output.shape[1] if output.ndim == 2 else None for output in outputs}
    return counts.pop() if len(counts) == 1 else None


def subject_of(network: Network, image: Tensor, layers: Layers) -> Subject:
    """A network with the layers to look at.

    Args:
        network: the network, on the image's device.
        image: `(1, C, H, W)`, which `"auto"` reads the stages off.
        layers: `"auto"`, dotted names, or names by role.

    Raises:
        LayerNotFoundError: no such layer; LayerShapeError: no layer gives a map.
    """
    asked = layers.get(network.role, "auto") if isinstance(layers, Mapping) else layers
    if asked == "auto":
        names = auto_layers(network.module, image)
    else:
        names = tuple(asked)
        for name in names:
            resolve(network.module, name)
    return Subject(network.name, network.role, network.module, names, network.seed)


def _output(network: Network, image: Tensor) -> Tensor:
    try:
        return record(network.module, image, ())[0]
    except KdlensError as error:
        raise ModelError(f"{network.label}: {error}") from error
    except Exception as error:
        if ran_out(error):
            raise KdlensError(
                f"out of memory with one image in {network.label}; use smaller images or another device"
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{network.label} cannot take an image batch of shape {tuple(image.shape)}: {reason}. Give images of the "
            "size and channels it was trained with (`size` of the data resizes them)"
        ) from error
