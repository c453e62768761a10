"""Rows of virtual attention: the answers with attention as trained, and with even attention."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.answer import Answer, Row
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.questions.conflict.seen import Study
from kdlens.questions.conflict.virtual import even_attention, extra_parameters, virtual_layers
from kdlens.questions.context import Context, Subject
from kdlens.questions.rows import percent, with_interval
from kdlens.stats.paired import crossed_difference, crossed_mean, crossed_p


def add_virtual(answer: Answer, context: Context, study: Study) -> None:
    """Add top-1 and log-loss as trained and with even attention, their differences, and the parameters attention takes.

    Differences are paired image by image; the intervals are over images, and over seeds where there are several.
    """
    for name in study.roles:
        keys = [key for key in study.keys(name) if virtual_layers(study.subjects[key].network)]
        if not keys:
            continue
        trained = torch.stack([context.logits(study.subjects[key]) for key in keys])
        even = torch.stack([_even_logits(context, study.subjects[key]) for key in keys])
        keep = torch.isfinite(trained).all(2).all(0) & torch.isfinite(even).all(2).all(0)
        if not bool(keep.any()):
            continue
        trained, even, labels = trained[:, keep], even[:, keep], study.labels[keep]
        _add_answers(answer, name, trained, even, labels, seed=context.seed)
        extra = extra_parameters(study.subjects[keys[0]].network)
        whole = sum(p.numel() for p in study.subjects[keys[0]].network.parameters())
        answer.add(Row("vam_parameters", float(extra), model=name))
        answer.add(Row("vam_parameters_share", 100 * extra / whole, model=name, unit="%"))


def _even_logits(context: Context, subject: Subject) -> Tensor:
    """Logits on all images with even attention; the network is as it was after every portion."""

    def measure(network: nn.Module, part: Tensor, _positions: Tensor) -> dict[str, Tensor]:
        images = context.batch(part.cpu()).images.to(device_of(network))
        with even_attention(network):
            return {"logits": record(network, images, ())[0].float()}

    context.progress(f"{subject.label}: predicting with even attention")
    return context.through(subject, torch.arange(len(context.labels)), measure)["logits"]


def _add_answers(answer: Answer, name: str, trained: Tensor, even: Tensor, labels: Tensor, *, seed: int) -> None:
    right = {how: (logits.argmax(2) == labels).double() for how, logits in (("trained", trained), ("even", even))}
    loss = {how: _loss(logits, labels) for how, logits in (("trained", trained), ("even", even))}
    for how in ("trained", "even"):
        base = Row(f"vam_top1_{how}", 0.0, model=name, unit="%")
        answer.add(with_interval(base, percent(crossed_mean(right[how], seed=seed))))
        base = Row(f"vam_nll_{how}", 0.0, model=name, unit="nats")
        answer.add(with_interval(base, crossed_mean(loss[how], seed=seed)))
    difference = right["trained"] - right["even"]
    base = Row("vam_top1_change", 0.0, model=name, unit="points", chance=0.0)
    row = with_interval(base, percent(crossed_difference(difference, seed=seed)))
    answer.add(replace(row, p=crossed_p(difference, seed=seed)))
    base = Row("vam_nll_change", 0.0, model=name, unit="nats", chance=0.0)
    answer.add(with_interval(base, crossed_mean(loss["trained"] - loss["even"], seed=seed)))


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([F.cross_entropy(one.double(), labels, reduction="none") for one in logits])
