"""Can the layers be explained: are they maps, and do they tell images apart?"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from kdlens.checks.diagnosis import Check, together
from kdlens.checks.given import role_of
from kdlens.checks.patient import Patient
from kdlens.errors import LayerNotFoundError, LayerShapeError
from kdlens.models.device import device_of
from kdlens.models.layers import auto_layers, last_spatial_layer
from kdlens.models.taps import record
from kdlens.models.tokens import to_feature_map
from kdlens.questions.phrases import counted, listed, number

IMAGES = 16
MOSTLY_DEAD = 0.9


def spatial_layers(patient: Patient) -> Check:
    """Layers that are not there, or have no rows and columns."""
    name = "layers"
    used, found = [], []
    for role, network in patient.running.items():
        try:
            chosen = _chosen(patient, role)
            maps = _maps(patient, network, chosen)
        except (LayerNotFoundError, LayerShapeError) as error:
            found.append(Check(name, "fail", f"{role}: {error}.", _advice(patient, network, role)))
            continue
        small = [layer for layer, map_ in maps.items() if map_.shape[-1] * map_.shape[-2] == 1]
        if small:
            message = f"{role}: {listed(small)} {'gives' if len(small) == 1 else 'give'} maps of a single pixel."
            advice = "Such a layer says what, not where; choose an earlier one for maps."
            found.append(Check(name, "warn", message, advice))
        used.append(f"{role} {listed(chosen)}")
    if found:
        told = together(found)
        return replace(told, advice=f"{told.advice} `kdlens layers MODEL` lists all layers.")
    return Check(name, "ok", f"All layers give maps: {'; '.join(used)}.")


def lively_layers(patient: Patient) -> Check:
    """Layers that give the same for every image, or nothing at all."""
    name = "activations"
    few, found = 0.0, []
    for role, network in patient.running.items():
        try:
            _, seen = record(network, patient.x[:IMAGES].to(device_of(network)), _chosen(patient, role))
        except (LayerNotFoundError, LayerShapeError):
            continue  # told by the check of the layers
        for layer, activation in seen.items():
            check = _judge(name, f'layer "{layer}" of the {role}', activation.flatten(1).float().cpu())
            if check is not None:
                found.append(check)
                break  # the layers behind a dead one are dead, too
            few = max(few, _dead(activation))
    if found:
        return together(found)
    message = (
        f"Every layer tells the images apart; at most {number(100 * few)} % of the units of a layer are always zero."
    )
    return Check(name, "ok", message, value=few)


def _judge(name: str, where: str, features: Tensor) -> Check | None:
    if not bool(torch.isfinite(features).all()):
        return Check(
            name, "fail", f"The activations of {where} are not finite.", "Check the weights and the input scale."
        )
    if len(features) > 1 and bool((features == features[:1]).all()):
        n = counted(len(features), "image")
        advice = "Check that the weights were loaded; a layer whose units are all off looks the same."
        return Check(name, "fail", f"The activations of {where} are the same for all {n}.", advice)
    dead = _dead(features)
    if dead > MOSTLY_DEAD:
        message = f"{number(100 * dead)} % of the units of {where} are zero for all {counted(len(features), 'image')}."
        return Check(name, "warn", message, "Maps of this layer rest on few units.", dead)
    return None


def _dead(activation: Tensor) -> float:
    return (activation.flatten(1) == 0).all(0).double().mean().item()


def _chosen(patient: Patient, role: str) -> tuple[str, ...]:
    layers = patient.layers.get(role_of(role), "auto") if isinstance(patient.layers, Mapping) else patient.layers
    if layers == "auto":
        network = patient.networks[role]
        return auto_layers(network, patient.x[:1].to(device_of(network)))
    return tuple(layers)


def _maps(patient: Patient, network: nn.Module, layers: tuple[str, ...]) -> dict[str, Tensor]:
    x = patient.x[:2]
    _, found = record(network, x.to(device_of(network)), layers)
    size = (x.shape[2], x.shape[3])
    return {
        layer: to_feature_map(activation, batch=len(x), input_size=size, model=network, layer=layer)
        for layer, activation in found.items()
    }


def _advice(patient: Patient, network: nn.Module, role: str) -> str:
    try:
        last = last_spatial_layer(network, patient.x[:1].to(device_of(network)))
    except LayerShapeError:
        return f"No layer of the {role} gives a map for these images; larger images may help."
    return f'The last layer of the {role} that gives a map is "{last}".'
