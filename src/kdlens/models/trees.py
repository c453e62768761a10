"""The tree a mixture of experts chose: whether it was chosen at all, and a fresh network that has it."""

import warnings

import torch
from torch import nn

from kdlens.errors import ConfigError
from kdlens.models.fresh import draw_anew
from kdlens.models.wrappers import unwrap
from kdlens.models.zoo.common import initialise
from kdlens.nn import HME, TaskAttention, VAMConv2d, VAMLinear


def mixtures(network: nn.Module) -> list[HME]:
    """Return the mixtures of experts in a network, mostly the network itself.

    Raises:
        ConfigError: there is none; for virtual attention the text says why it has no tree.
    """
    found = [module for module in network.modules() if isinstance(module, HME)]
    if found:
        return found
    if any(isinstance(module, VAMConv2d | VAMLinear) for module in network.modules()):
        raise ConfigError(
            "virtual attention has no tree to train again: its blocks stay parts of one layer and all are read, so "
            "fold it after training instead (kdlens.nn.VAM(network).fold()), and leave stages at 1"
        )
    raise ConfigError(
        f"only a mixture of experts has a tree to train again, and the student ({type(unwrap(network)).__name__}) is "
        "none; take a kdlens.nn.HME (zoo:hme_resnet20), or leave stages at 1"
    )


def warn_if_untrained(network: nn.Module, who: str = "the mixture of experts") -> bool:
    """Warn where attention is still as it was made: its tree was drawn, not learned.

    This is so before the first update that reaches the attention: with a learning rate of 0, while it waits, or in hard
    attention. A checkpoint that was chosen for its accuracy alone can be from then.

    Args:
        network: a network with a `kdlens.nn.HME` in it.
        who: what to call it.

    Returns:
        Whether it is.

    Example:
        >>> from kdlens.models.load import load_model
        >>> with warnings.catch_warnings(action="ignore"):
        ...     warn_if_untrained(load_model("hme_resnet8"))
        True
    """
    still = [
        f"{name} ({attention.logits.shape[0]} x {attention.logits.shape[1]})"
        for name, attention in network.named_modules()
        if isinstance(attention, TaskAttention) and attention.logits.shape[1] > 1 and attention.moved() == 0
    ]
    if still:
        text = (
            f"the attention of {who} never moved: {', '.join(still)}. The tree read from it is the random one it "
            "started with; train the attention (its lr above 0, from_epoch before the end, a temperature above 0), or "
            "choose a later checkpoint"
        )
        warnings.warn(text, UserWarning, stacklevel=2)
    return bool(still)


def plant_tree(network: nn.Module, seed: int) -> None:
    """Keep of a mixture of experts only the tree it learned, in place: a fresh network, ready to be trained again.

    Every receiver now reads the one sender it looked at most (temperature 0), the attention is frozen, and all other
    weights are drawn anew, convolutions as in the zoo. Experts that nobody reads are frozen too. What was frozen before
    stays as it is. The network lies on the CPU afterwards.

    Args:
        network: a network with a trained `kdlens.nn.HME` in it; it is changed.
        seed: decides the new weights.

    Raises:
        ConfigError: there is no mixture of experts in it.
        ModelError: a layer without `reset_parameters`.

    Warns:
        UserWarning: its attention was never trained.

    Source: the second stage of the code released with Xue et al., KDExplainer (IJCAI 2021).

    Example:
        >>> from kdlens.models.load import load_model
        >>> network = load_model("hme_resnet8", classes=3)
        >>> with warnings.catch_warnings(action="ignore"):
        ...     plant_tree(network, seed=0)
        >>> network.temperature, network.attentions[0].logits.requires_grad
        (0.0, False)
    """
    found = mixtures(network)
    warn_if_untrained(network)
    network.cpu()
    draw_anew(network, seed, keep=_kept, then=initialise)
    for hme in found:
        hme.temperature = 0
        for attention in hme.task_attentions():
            attention.logits.requires_grad_(False)
        for level, read in enumerate(hme.experts_read()):
            for number, expert in enumerate(hme.levels[level].children()):
                if number not in read:
                    expert.requires_grad_(False)


def copy_attention(source: nn.Module, target: nn.Module) -> None:
    """Give a network the attention of another of its architecture, and how it started."""
    pairs = zip(unwrap(source).modules(), unwrap(target).modules(), strict=True)
    with torch.no_grad():
        for theirs, mine in pairs:
            if isinstance(theirs, TaskAttention) and isinstance(mine, TaskAttention):
                mine.load_state_dict(theirs.state_dict())


def _kept(module: nn.Module) -> bool:
    """Attention, and layers that somebody froze: a trunk that is pretrained, say."""
    own = list(module.parameters(recurse=False))
    return isinstance(module, TaskAttention) or (bool(own) and not any(p.requires_grad for p in own))
