"""The doctor: looks for the usual mistakes before you trust a number."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from kdlens.checks.diagnosis import Check as Check
from kdlens.checks.diagnosis import Diagnosis as Diagnosis
from kdlens.checks.given import Networks, Students, named_networks
from kdlens.checks.patient import Loss, Patient
from kdlens.checks.stored import Stored, read_stored
from kdlens.checks.table import CHECKS as CHECKS
from kdlens.checks.table import examine
from kdlens.data.images import as_given
from kdlens.errors import ConfigError
from kdlens.models.asked import Layers, check_layers


def doctor(
    teacher: nn.Module | None,
    student: Students | None,
    baseline: Networks | None = None,
    data: Any = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    cached_logits: Stored | None = None,
    temperature: float = 4.0,
    alpha: float = 0.5,
    loss: Loss | None = None,
    layers: Layers = "auto",
    images: int = 512,
    seed: int = 0,
) -> Diagnosis:
    """Look for the usual mistakes of a distillation; networks come back as they were.

    Args:
        teacher: the teacher, as you use it (its training mode is one of the checks), or None.
        student: the distilled student, trained or not, or None; or students by name (`{"kd": ..., "fitnet": ...}`). Of
            a list of seeds the first is looked at.
        baseline: the student's architecture trained on labels alone; of a list the first.
        data: a DataLoader or map-style dataset of `(image, label)`, as for `kdlens.explain`.
        mean: per-channel mean, as for `kdlens.explain`: pictures are normalised with it, tensors have been already.
        std: per-channel standard deviation, likewise.
        cached_logits: stored outputs of the teacher for all images in data order, `(n, classes)`: tensor, array, or a
            file of them (`.npy`, or `.safetensors` with one tensor).
        temperature: of distillation, for the ratio of gradients.
        alpha: weight of the teacher's term, with 1 - alpha on the cross-entropy.
        loss: your own distillation term, `loss(student_logits, teacher_logits)` -> scalar, with its weight.
        layers: layers you want to explain: `"auto"`, names, or names per role (`{"teacher": [...]}`).
        images: how many images to look at.
        seed: of the sample and all draws.

    Raises:
        ConfigError: no network, no data, or an option that makes no sense.
        ModelError: something given for a network is none.
        DataError: data that cannot be used.

    Example:
        >>> from kdlens.data import load_dataset
        >>> from kdlens.models.load import load_model
        >>> nets = [load_model("resnet8", classes=10) for _ in range(3)]
        >>> diagnosis = doctor(*nets, load_dataset("fashion-scenes", count=64))
        >>> diagnosis.ok, diagnosis["accuracy"].status  # nothing is trained yet
        (False, 'fail')
    """
    networks = named_networks(teacher, student, baseline)
    if data is None:
        raise ConfigError("the doctor needs at least one network, and data")
    _check_options(images, temperature, alpha, layers)
    patient = Patient(
        networks,
        as_given(data, mean=mean, std=std),
        sample=images,
        cached_logits=None if cached_logits is None else read_stored(cached_logits),
        temperature=temperature,
        alpha=alpha,
        loss=loss,
        layers=layers,
        seed=seed,
    )
    patient.load()
    return Diagnosis(examine(patient))


def _check_options(images: int, temperature: float, alpha: float, layers: Layers) -> None:
    if images < 1:
        raise ConfigError(f"the doctor must look at one image or more, not images={images}")
    if not (temperature > 0 and 0 <= alpha <= 1):
        raise ConfigError(
            f"temperature must be positive and alpha from 0 to 1, got temperature={temperature} and alpha={alpha}"
        )
    check_layers(layers)
