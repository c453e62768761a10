"""The networks of a study before anything is computed: who they are, whether they fit the images, their layers.

What is wrong with a network is said here, by the name it has in the study, before hours of work.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.errors import ConfigError, HistoryError, KdlensError, ModelError, did_you_mean
from kdlens.memory import ran_out
from kdlens.models.asked import Layers, Role
from kdlens.models.given import require_network
from kdlens.models.history import History, as_history
from kdlens.models.layers import auto_layers, resolve
from kdlens.models.taps import record
from kdlens.questions.context import Subject


@dataclass(frozen=True)
class Network:
    """One network of a study before its layers are chosen; `history` holds checkpoints of its training, if named."""

    name: str
    role: Role
    module: nn.Module
    seed: int = 0
    arch: str = ""
    weights: str = ""
    history: History | None = None

    @property
    def label(self) -> str:
        """The name for people; the seed is told where it is not the first."""
        return self.name if self.seed == 0 else f"{self.name} (seed {self.seed})"


def with_training(networks: Sequence[Network], training: Mapping[str, Any]) -> list[Network]:
    """Give networks the histories of their trainings.

    Args:
        networks: the networks.
        training: by name what `as_history` takes; where there are several networks of a name, a list with one for each.

    Raises:
        ConfigError: a name that no network has, or another number of trainings than networks.
        HistoryError: a training that cannot be used; the text names the network.
    """
    names = list(dict.fromkeys(network.name for network in networks))
    for name in training:
        if name not in names:
            known = ", ".join(names)
            raise ConfigError(f'training is given for "{name}"{did_you_mean(str(name), names) or f", not for {known}"}')
    found = {name: iter(_one_each(given, name, networks)) for name, given in training.items()}
    return [with_history(n, next(found[n.name])) if n.name in found else n for n in networks]


def with_history(network: Network, given: Any) -> Network:
    """Give a network the history of its training; errors name the network."""
    try:
        return replace(network, history=as_history(given).of(network.module))
    except HistoryError as error:
        raise HistoryError(f"{network.label}: {error}") from error


def _one_each(given: Any, name: str, networks: Sequence[Network]) -> Sequence[Any]:
    count = sum(network.name == name for network in networks)
    listed = isinstance(given, (list, tuple))
    if count == 1:
        alone = listed and len(given) == 1 and isinstance(given[0], (str, os.PathLike, History))
        return given if alone else [given]
    if not listed or len(given) != count:
        found = len(given) if listed else 1
        raise ConfigError(
            f'there are {count} networks "{name}" and {found} training{"s" * (found != 1)} of it; give a list with one '
            "for each network, in the same order"
        )
    return list(given)


def other_trainings(networks: Sequence[Network]) -> list[str]:
    """Say of which networks the last checkpoint has other weights than the network, as when folders were mixed up."""
    return [
        f"The last checkpoint of the training of {network.label} has other weights than the network that is explained. "
        "Is it the folder of this network, and of this seed?"
        for network in networks
        if network.history is not None and not network.history.checkpoints[-1].equals(network.module)
    ]


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
    return Subject(network.name, network.role, network.module, names, network.seed, network.history)


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
