"""Distillation methods by name. A new method is one file with a `Loss` and one line here."""

from kdlens.registry import Registry
from kdlens.training.losses.base import Inputs, Layers, Loss

LOSSES: Registry[type[Loss]] = Registry(
    "method",
    {
        "at": "kdlens.training.losses.attention:AttentionTransfer",
        "fitnet": "kdlens.training.losses.fitnet:FitNet",
        "kd": "kdlens.training.losses.kd:KD",
        "label-smoothing": "kdlens.training.losses.labels:LabelSmoothing",
        "labels": "kdlens.training.losses.labels:Labels",
        "self-distillation": "kdlens.training.losses.self_distillation:SelfDistillation",
    },
    group="kdlens.methods",
)

__all__ = ["LOSSES", "Inputs", "Layers", "Loss"]
