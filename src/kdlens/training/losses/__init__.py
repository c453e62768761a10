"""Distillation methods by name. A new method is one file with a `Loss` and one line here."""

from kdlens.registry import Registry
from kdlens.training.losses.base import Inputs, Layers, Loss, Phase

LOSSES: Registry[type[Loss]] = Registry(
    "method",
    {
        "at": "kdlens.training.losses.attention:AttentionTransfer",
        "binary-kd": "kdlens.training.losses.binary:BinaryKD",
        "binary-label-smoothing": "kdlens.training.losses.binary:BinaryLabelSmoothing",
        "binary-labels": "kdlens.training.losses.binary:BinaryLabels",
        "fitnet": "kdlens.training.losses.fitnet:FitNet",
        "kd": "kdlens.training.losses.kd:KD",
        "label-smoothing": "kdlens.training.losses.labels:LabelSmoothing",
        "labels": "kdlens.training.losses.labels:Labels",
        "layer-mse": "kdlens.training.losses.layer_mse:LayerMSE",
        "self-distillation": "kdlens.training.losses.self_distillation:SelfDistillation",
    },
    group="kdlens.methods",
)

__all__ = ["LOSSES", "Inputs", "Layers", "Loss", "Phase"]
