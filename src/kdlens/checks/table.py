"""All checks by name. A new check is one function and one line here."""

import logging
from collections.abc import Callable

from kdlens.checks.diagnosis import Check
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.registry import Registry

log = logging.getLogger("kdlens")

CheckFunction = Callable[[Patient], Check]

CHECKS: Registry[CheckFunction] = Registry(
    "check",
    {
        "accuracy": "kdlens.checks.performance:better_than_guessing",
        "activations": "kdlens.checks.layers:lively_layers",
        "cached logits": "kdlens.checks.cached_logits:cached_logits",
        "class counts": "kdlens.checks.networks:class_counts",
        "different networks": "kdlens.checks.networks:identical_networks",
        "distillation gradient": "kdlens.checks.losses:gradient_ratio",
        "finite outputs": "kdlens.checks.networks:finite_outputs",
        "forward pass": "kdlens.checks.networks:forward_pass",
        "gradient into the teacher": "kdlens.checks.losses:loss_and_teacher",
        "images": "kdlens.checks.performance:enough_images",
        "label order": "kdlens.checks.label_order:label_order",
        "layers": "kdlens.checks.layers:spatial_layers",
        "logits": "kdlens.checks.networks:probabilities",
        "loss direction": "kdlens.checks.losses:loss_direction",
        "loss minimum": "kdlens.checks.losses:loss_minimum",
        "loss reduction": "kdlens.checks.losses:loss_reduction",
        "loss temperature": "kdlens.checks.losses:loss_temperature",
        "normalisation": "kdlens.checks.normalisation:normalisation",
        "teacher against baseline": "kdlens.checks.performance:teacher_is_better",
        "train mode": "kdlens.checks.networks:train_mode",
    },
    group="kdlens.checks",
)


def examine(patient: Patient) -> list[Check]:
    """Make every check; one that breaks is reported as failed and does not cost the others."""
    return [_make(name, check, patient) for name, check in CHECKS.items()]


def _make(name: str, check: CheckFunction, patient: Patient) -> Check:
    try:
        return check(patient)
    except NotApplicableError as reason:
        return Check(name, "skipped", f"Skipped: {reason}.")
    except Exception as error:
        log.debug("check %s broke", name, exc_info=True)
        message = f"The check could not be finished: {type(error).__name__}: {error}".rstrip(".") + "."
        return Check(name, "fail", message, "Mend this first; it would stop an explanation, too.")
