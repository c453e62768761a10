"""Distillation of one layer by its mean squared error, then the layers after it on the labels.

The procedure of Cheng et al., Explaining knowledge distillation by quantifying the knowledge (CVPR 2020). Phase 1: the
student's layer learns to give what the teacher's gives, before the ReLU, without labels and without a regressor. Phase
2: everything up to and including that layer is frozen and the rest learns the labels. The authors train 150 epochs of
phase 1 and 100 of phase 2, with learning rates chosen for each network and layer.

Ours: the share of the phases and the layer are options, the learning-rate schedule runs through once in each phase
(theirs falls when phase 2 no longer gets better), and the running statistics of frozen BatchNorm layers stay as they
are. Where nothing is left to train after the layer, as after the logits, there is no phase 2.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.errors import ConfigError, LayerShapeError
from kdlens.models.layers import auto_layers, resolve
from kdlens.models.upstream import Upstream, upstream
from kdlens.models.wrappers import unwrap
from kdlens.training.losses.base import Inputs, Layers, Loss, Phase, check_option, in_full_precision
from kdlens.training.losses.features import check_pairs
from kdlens.training.losses.labels import label_term

MATCH_SHARE = 0.6
"""Share of phase 1 in a training: the published 150 of 250 epochs."""

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish)


@dataclass(eq=False, repr=False)
class LayerMSE(Loss):
    """Mean squared error of one layer before its ReLU, then cross-entropy with everything up to that layer frozen.

    Student and teacher must give the same shape there; `fitnet` is for other widths.

    Attributes:
        layer: the student's layer, as it stands before a ReLU (a convolution, a linear or a norm layer); `"auto"` takes
            the last one with a map.
        teacher_layer: the teacher's; None: the one of the same name.
        match_epochs: epochs of phase 1; None: 60 % of all, as published.
        fine_tune_lr: learning rate of phase 2; None: the optimiser's, as in phase 1.
        after_relu: compare a layer's output although it lies behind a ReLU.

    Example:
        >>> LayerMSE(layer="layer3.2", match_epochs=6).options["match_epochs"]
        6
    """

    name: ClassVar[str] = "layer-mse"
    layer: str = "auto"
    teacher_layer: str | None = None
    match_epochs: int | None = None
    fine_tune_lr: float | None = None
    after_relu: bool = False

    def check(self) -> None:
        """Refuse lengths and learning rates that make no sense."""
        check_option(
            self.match_epochs is None or self.match_epochs >= 1, "match_epochs", "must be at least 1", self.match_epochs
        )
        check_option(
            self.fine_tune_lr is None or self.fine_tune_lr > 0, "fine_tune_lr", "must be positive", self.fine_tune_lr
        )
        check_option(isinstance(self.layer, str), "layer", "is one dotted name", self.layer)
        self._matching: int | None = self.match_epochs
        self._frozen = Upstream()
        self._last = False
        self._names = ("", "")

    @property
    def unused_parameters(self) -> bool:
        """In the first phase nothing above the layer has a gradient, in the second nothing up to it."""
        return True

    @property
    def options(self) -> dict[str, object]:
        """Options, the length of phase 1 as it was settled."""
        return {**super().options, "match_epochs": self._matching}

    def plan(self, epochs: int) -> None:
        """Settle the length of phase 1."""
        if self.match_epochs is None and epochs < 2:
            raise ConfigError(
                '"layer-mse" has two phases: train for 2 epochs or more, or match alone with match_epochs=1'
            )
        self._matching = self.match_epochs or max(1, min(epochs - 1, round(MATCH_SHARE * epochs)))
        if self._matching > epochs:
            raise ConfigError(f"match_epochs={self._matching} is more than the {epochs} epochs of the training")

    def layers(self, student: nn.Module, teacher: nn.Module, example: Tensor) -> Layers:
        """Return the pair, and look up what lies before it in the student."""
        mine = _before_activation(student, example) if self.layer == "auto" else self.layer
        theirs = self.teacher_layer or mine
        for role, network, name in (("student", student, mine), ("teacher", teacher, theirs)):
            end = _last_part(resolve(network, name))
            if isinstance(end, _ACTIVATIONS) and not self.after_relu:
                raise _behind(role, name, f"ends in {type(end).__name__}")
        self._frozen = upstream(student, mine, example)
        if not self._frozen.parameters:
            raise ConfigError(f'nothing up to layer "{mine}" of the student can be trained; name a later layer')
        trained = [name for name, p in unwrap(student).named_parameters() if p.requires_grad]
        self._last = self._frozen.parameters.issuperset(trained)
        self._names = (mine, theirs)
        return Layers((mine,), (theirs,))

    def build(self, inputs: Inputs) -> None:
        """Refuse layers of different shape, and outputs that lie behind a ReLU."""
        check_pairs(inputs.student_features, inputs.teacher_features)
        for mine, theirs in zip(inputs.student_features, inputs.teacher_features, strict=True):
            if mine.shape != theirs.shape:
                raise LayerShapeError(
                    f"layer-mse compares layers of one shape, but the student's gives {tuple(mine.shape)} and the "
                    f"teacher's {tuple(theirs.shape)} (first axis: images); name others with layer and teacher_layer, "
                    'or use method="fitnet", which learns a regressor from one width to the other'
                )
            for role, feature, name in zip(("student", "teacher"), (mine, theirs), self._names, strict=True):
                if not self.after_relu and bool((feature >= 0).all()) and bool((feature == 0).any()):
                    raise _behind(role, name, "gives zeros and no negative number")

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """Return matching and fine-tuning, or matching alone."""
        matching = epochs if self._last or self._matching is None else self._matching
        if matching == epochs:
            return (Phase(epochs),)
        return (Phase(matching), Phase(epochs - matching, lr=self.fine_tune_lr, frozen=self._frozen))

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the term `match` in phase 1 and `labels` in phase 2."""
        if not self._last and self._matching is not None and inputs.epoch >= self._matching:
            return {"labels": label_term(inputs)}
        pairs = zip(inputs.student_features, inputs.teacher_features, strict=True)
        return {"match": torch.stack([layer_distance(mine, theirs) for mine, theirs in pairs]).mean()}


def layer_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over images and units of (student - teacher)^2; no gradient is sent to the teacher.

    Example:
        >>> layer_distance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]])).item()
        4.5
    """
    return F.mse_loss(in_full_precision(student), in_full_precision(teacher.detach()))


def _behind(role: str, layer: str, why: str) -> LayerShapeError:
    return LayerShapeError(
        f'layer "{layer}" of the {role} {why}: it lies behind a ReLU, and layer-mse compares what comes before one; '
        "name the convolution, linear or norm layer before it (kdlens layers MODEL lists them), or set after_relu=True "
        "to compare what the ReLU leaves"
    )


def _last_part(module: nn.Module) -> nn.Module:
    """The part of a module that gives its output, as far as `nn.Sequential` tells."""
    while isinstance(module, nn.Sequential) and len(module) > 0:
        module = module[-1]
    return module


def _before_activation(network: nn.Module, example: Tensor) -> str:
    """The last layer that gives a map, without the activations at its end."""
    name = auto_layers(network, example)[-1]
    module = resolve(network, name)
    while isinstance(module, nn.Sequential) and len(module) > 0:
        parts = [(part, child) for part, child in module.named_children() if not isinstance(child, _ACTIVATIONS)]
        if not parts:
            return name
        part, module = parts[-1]
        name = f"{name}.{part}"
    if isinstance(module, _ACTIVATIONS):
        before = [other for other, m in network.named_modules() if _has_weight(m) or m is module]
        at = before.index(name.partition("#")[0])
        return before[at - 1] if at else name
    return name


def _has_weight(module: nn.Module) -> bool:
    return isinstance(getattr(module, "weight", None), nn.Parameter) and not any(module.children())
