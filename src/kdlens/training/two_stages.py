"""Train a mixture of experts twice: softly, to find its tree, and then the tree alone, from fresh weights.

Source: the code released with Xue et al., KDExplainer (IJCAI 2021), where the tree of the first training is trained
again with hard attention. Whether it belongs to the paper's procedure is not known.
"""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from kdlens.models.trees import copy_attention, mixtures, plant_tree
from kdlens.training.attention import DEFAULTS
from kdlens.training.losses import Loss
from kdlens.training.randomness import derive
from kdlens.training.result import TrainResult

if TYPE_CHECKING:
    from kdlens.training.launch import Launch

SOFT = "soft"
"""Where the first training is kept, in `earlier`."""


def train_two_stages(launch: "Launch", teacher: nn.Module | None, student: nn.Module, loss: Loss) -> TrainResult:
    """Train a copy of `student` softly, read its tree, and train `student` with that tree from fresh weights.

    Both trainings have the same settings, but the second no entropy and no temperature: its attention is settled.

    Args:
        launch: the training; the first one goes to `earlier/soft` in its folder, with a seed of its own.
        teacher: for both.
        student: a network with a `kdlens.nn.HME` in it; trained in place.
        loss: the method; what it learns itself, it learns anew in the second training.

    Returns:
        The second training, with the first in `earlier`.

    Raises:
        ConfigError: a student without experts.

    Warns:
        UserWarning: the attention never moved in the first training.
    """
    mixtures(student)
    settings, soft = launch.settings, copy.deepcopy(student)
    attention = {**(settings.attention or DEFAULTS), "stages": 1}
    first = launch.earlier(SOFT, seed=derive(settings.seed, SOFT))
    first = replace(first, settings=replace(first.settings, attention=attention))
    earlier = first.train(teacher, soft, copy.deepcopy(loss))
    trained = {parameter: parameter.requires_grad for parameter in student.parameters()}
    try:
        copy_attention(soft, student)
        plant_tree(student, derive(settings.seed, "tree"))
        settled = {**DEFAULTS, "stages": 2, "temperature": 0.0}
        second = replace(launch, settings=replace(settings, attention=settled))
        result = second.train_once(teacher, student, loss)
    finally:
        for parameter, before in trained.items():
            parameter.requires_grad_(before)
    return replace(result, earlier=(earlier, *result.earlier))
