"""Distillation methods by name. A new method is one file with a `Loss` and one line here."""

from kdlens.distill.losses.base import Inputs, Layers, Loss
from kdlens.registry import Registry

LOSSES: Registry[type[Loss]] = Registry(
    "method",
    {
        "at": "kdlens.distill.losses.attention:AttentionTransfer",
        "fitnet": "kdlens.distill.losses.fitnet:FitNet",
        "kd": "kdlens.distill.losses.kd:KD",
        "label-smoothing": "kdlens.distill.losses.labels:LabelSmoothing",
        "labels": "kdlens.distill.losses.labels:Labels",
        "self-distillation": "kdlens.distill.losses.self_distillation:SelfDistillation",
    },
    group="kdlens.methods",
)

__all__ = ["LOSSES", "Inputs", "Layers", "Loss"]
