"""What a reader must know before trusting a number about conflicts."""

import math

from kdlens.answer import Answer
from kdlens.questions.conflict.pairs import LEAST
from kdlens.questions.conflict.rows_routing import Reports
from kdlens.questions.conflict.seen import Study
from kdlens.questions.phrases import counted, listed, number, quoted

FEW = 4
"""Images of a class in a batch below which its gradient is that of single images."""


def say_alerts(answer: Answer, study: Study, reports: Reports) -> None:
    """Add one alert for every reason."""
    _images(answer, study)
    _gradients(answer, study)
    _seeds(answer, study)
    _layers(answer, study)
    _attention(answer, study, reports)


def _images(answer: Answer, study: Study) -> None:
    if study.broken:
        n = counted(study.broken, "image")
        text = (
            f"{n} for which some network gives NaN or infinite logits {'is' if study.broken == 1 else 'are'} left out."
        )
        answer.say(text, kind="alert", tone="bad")
    counts = study.counts
    empty = [name for name, n in zip(study.classes, counts.sum(0).tolist(), strict=True) if n == 0]
    if empty:
        have = "has" if len(empty) == 1 else "have"
        what = counted(len(empty), "class", "classes")
        answer.say(
            f"{what} of {len(study.classes)} {have} no images, so nothing calls for them and all call against them: "
            f"{listed([quoted(name) for name in empty])}.",
            kind="alert",
            tone="bad",
        )
    mean = counts.sum().item() / counts.numel()
    if mean < FEW:
        text = (
            f"A batch of {counted(study.batches.shape[1], 'image')} holds {number(mean)} of a class on average: the "
            "gradients are those of single images, and their cosines nearer to 0 than with more (batch_size)."
        )
        answer.say(text, kind="alert")
    if len(study.batches) < LEAST:
        batches = counted(len(study.batches), "batch", "batches")
        text = f"There are images for {batches} only: intervals are unknown or wide, and no pair of classes is tested."
        answer.say(text, kind="alert", tone="bad")


def _gradients(answer: Answer, study: Study) -> None:
    for key, sight in study.sights.items():
        gone = sight.cosines.diagonal(dim1=1, dim2=2).isnan().all(0).tolist()
        names = [quoted(name) for name, zero in zip(study.classes, gone, strict=True) if zero]
        if not names:
            continue
        rows = [i for i, row in enumerate(answer.rows) if row.model == key[0] and math.isnan(row.value)]
        who = "no class" if len(names) == len(study.classes) else None
        what = f"gradient of {who}" if who else f"no gradient of {counted(len(names), 'class', 'classes')}"
        left = "" if who else f", which {'is' if len(names) == 1 else 'are'} left out of its pairs: {listed(names)}"
        answer.say(f"In {study.label(key)}, {what} reaches {sight.layer}{left}.", rows=rows, kind="alert", tone="bad")


def _seeds(answer: Answer, study: Study) -> None:
    single = [name for name in study.students if len(study.keys(name)) == 1]
    if single:
        text = (
            f"One seed of {listed(single)}: intervals cover the choice of images, not the luck of training. They speak "
            "of these networks; three seeds or more speak of the method."
        )
        answer.say(text, kind="alert")


def _layers(answer: Answer, study: Study) -> None:
    for student in study.students:
        key = study.keys(student)[0]
        mine, other = study.sights[key], study.sights[study.partners[key]]
        if (mine.layer, mine.kind, mine.parameters) == (other.layer, other.kind, other.parameters):
            continue
        base = study.baseline(student)
        text = (
            f"{student} is measured at {mine.layer} ({counted(mine.parameters, 'parameter')}, {mine.kind}) and {base} "
            f"at {other.layer} ({counted(other.parameters, 'parameter')}, {other.kind}): a difference between them is "
            "one of layers as well. Give a baseline of the student's architecture."
        )
        if mine.layer == other.layer and mine.kind == other.kind and "vam_parameters" in _metrics(answer, student):
            continue  # the attention's own few logits
        answer.say(text, kind="alert", tone="bad")


def _metrics(answer: Answer, model: str) -> set[str]:
    return {row.metric for row in answer.rows if row.model == model}


def _attention(answer: Answer, study: Study, reports: Reports) -> None:
    for key, report in reports.items():
        still = [level.name for level in report.levels if level.moved == 0]
        if still:
            text = f"Attention of {study.label(key)} was never trained ({listed(still)}): what is said of it is chance."
            answer.say(text, kind="alert", tone="bad")
        dead = [
            f"{level.reads or level.name}: {', '.join(map(str, level.dead))}" for level in report.levels if level.dead
        ]
        if dead and report.effective:
            answer.say(f"{study.label(key)} has experts that are hardly read ({'; '.join(dead)}).", kind="alert")
    temperatures = {report.temperatures for report in reports.values() if report.effective}
    if len(temperatures) > 1:
        told = listed([", ".join(f"{t:g}" for t in one) for one in sorted(temperatures)])
        text = f"The temperatures of attention differ between networks ({told}): their entropies cannot be compared."
        answer.say(text, kind="alert", tone="bad")
