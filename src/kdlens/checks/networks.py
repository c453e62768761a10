"""Checks of the networks by themselves: mode, outputs, weights."""

import copy
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdlens.checks.diagnosis import Check, together
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.models.device import device_of
from kdlens.models.weights import weights_fingerprint
from kdlens.models.wrappers import unwrap
from kdlens.questions.phrases import counted, listed, number

_SUMS_TO_ONE = 1e-3


def forward_pass(patient: Patient) -> Check:
    """Networks that cannot be run on the images: other channels, another size, other types of numbers."""
    name, shape = "forward pass", " x ".join(map(str, patient.x.shape[1:]))
    if not patient.refusals:
        return Check(name, "ok", f"Every network can be run on the images ({shape}).")
    return together(
        [
            Check(name, "fail", f"The {role} cannot be run on the images ({shape}): {why.reason}.", why.advice)
            for role, why in patient.refusals.items()
        ]
    )


def train_mode(patient: Patient) -> Check:
    """A network in training mode: its batch norm and dropout make its outputs depend on the batch and on chance."""
    name = "train mode"
    found = {role: _unsettled(patient.networks[role], names) for role, names in patient.training.items()}
    found = {role: names for role, names in found.items() if names}
    if not found:
        return Check(
            name, "ok", f"{listed(list(patient.networks))}: in eval mode, or without layers to which it matters."
        )
    worst = "teacher" if "teacher" in found else next(iter(found))
    changed = None if worst in patient.refusals else _changed_predictions(patient, worst)
    effect = "" if changed is None else f" That changes {number(100 * changed)} % of the {worst}'s predictions."
    message = (
        f"{listed(list(found))}: in training mode as given ({counted(len(found[worst]), 'layer')} of the {worst} with "
        f'batch norm or dropout, e.g. "{found[worst][0]}").{effect}'
    )
    all_of_them = listed([f"the {role}" for role in found])
    advice = f"Call .eval() on {all_of_them} before you read outputs, also while the student trains."
    return Check(name, "fail" if "teacher" in found else "warn", message, advice, changed)


def finite_outputs(patient: Patient) -> Check:
    """NaN or infinite outputs."""
    bad: dict[str, Tensor] = {}
    for role in patient.running:
        wrong = ~torch.isfinite(patient.outputs(role)).reshape(len(patient.y), -1).all(1)
        if bool(wrong.any()):
            bad[role] = wrong
    name = "finite outputs"
    if not bad:
        return Check(name, "ok", f"All outputs are finite on {counted(len(patient.y), 'image')}.")
    advice = "Check that its weights are finite, that the whole checkpoint was loaded, and the scale of the input."
    found = []
    for role, wrong in bad.items():
        first = int(patient.indices[wrong.nonzero()[0, 0]])
        share = f"{int(wrong.sum())} of {counted(len(wrong), 'image')} (first: image {first})"
        message = f"The {role} gives NaN or infinite outputs for {share}."
        found.append(Check(name, "fail", message, advice, wrong.float().mean().item()))
    return together(found)


def class_counts(patient: Patient) -> Check:
    """Outputs that do not have one number a class."""
    name, want = "class counts", patient.classes
    wrong = {role: tuple(patient.outputs(role).shape[1:]) for role in patient.running}
    wrong = {role: shape for role, shape in wrong.items() if shape != (want,)}
    if not wrong:
        return Check(name, "ok", f"Every network gives {counted(want, 'output')}, one for each class.")
    told = listed([f"the {role} gives {_shape(shape)}" for role, shape in wrong.items()])
    advice = (
        "Load every network with the class count of the data, or give the class names the networks were trained on."
    )
    return Check(name, "fail", f"The data has {counted(want, 'class', 'classes')}, but {told}.", advice)


def probabilities(patient: Patient) -> Check:
    """Outputs that have passed a softmax already; a loss would apply it a second time."""
    name = "logits"
    soft = []
    for role in patient.usable():
        logits = patient.logits(role)
        sums = logits.sum(1)
        if bool((logits >= 0).all()) and bool(((sums - 1).abs() < _SUMS_TO_ONE).all()):
            soft.append(role)
    if not soft:
        return Check(name, "ok", "Outputs are logits, not probabilities.")
    advice = "Return logits from the network: losses and temperatures apply the softmax themselves."
    message = f"{listed(soft)}: outputs are positive and sum to 1, so a softmax has been applied already."
    return Check(name, "fail", message, advice)


def identical_networks(patient: Patient) -> Check:
    """The same network given twice."""
    name = "different networks"
    names = [*patient.students, *(role for role in ("baseline", "teacher") if role in patient.networks)]
    if len(names) < 2:
        raise NotApplicableError("there is one network only")
    found = []
    for first, second in combinations(names, 2):
        same = _same(patient, first, second)
        if same:
            advice = f"Check the paths of the two files: the {first}'s weights may have been loaded for the {second}."
            found.append(Check(name, "fail", f"The {first} and the {second} have the same {same}.", advice, 0.0))
    return (
        together(found)
        if found
        else Check(name, "ok", "The networks have different weights and give different outputs.")
    )


def _same(patient: Patient, first: str, second: str) -> str:
    one, other = patient.networks[first], patient.networks[second]
    if one is other or (_kind(one) == _kind(other) and weights_fingerprint(one) == weights_fingerprint(other)):
        return "weights"
    if first in patient.refusals or second in patient.refusals:
        return ""
    a, b = patient.outputs(first), patient.outputs(second)
    return "outputs for every image" if a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6) else ""


def _kind(network: nn.Module) -> str:
    return str(unwrap(network))


def _unsettled(network: nn.Module, training: list[str]) -> list[str]:
    """Layers in training mode whose output depends on it."""
    modules = dict(network.named_modules())
    depends = (_BatchNorm, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return [name for name in training if isinstance(modules[name], depends)]


def _changed_predictions(patient: Patient, role: str) -> float | None:
    """Share of predictions that change when the network runs in the mode it was given in; on a copy."""
    network = copy.deepcopy(patient.networks[role])
    modules = dict(network.named_modules())
    for name, module in modules.items():
        module.training = name in patient.training[role]
    x = patient.x[:128]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(patient.seed)
        given = network(x.to(device_of(network)))
    settled = patient.outputs(role)[: len(x)]
    if not isinstance(given, Tensor) or given.shape != settled.shape:
        return None
    return (given.cpu().argmax(1) != settled.argmax(1)).float().mean().item()


def _shape(shape: tuple[int, ...]) -> str:
    if not shape:
        return "a single number an image"
    return counted(shape[0], "output") if len(shape) == 1 else f"outputs of shape {shape} an image"
