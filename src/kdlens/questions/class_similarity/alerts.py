"""What a reader must know before trusting a class-similarity number."""

import math

import torch

from kdlens.answer import Answer
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.class_similarity.prepared import Key, Prepared
from kdlens.questions.phrases import correlation, counted, listed, quoted

FEW = 20
"""Images of a class below which its row is mostly noise."""

STEADY = 0.7
"""Split-half correlation below which the teacher's own matrix is not steady."""


def say_alerts(answer: Answer, found: Prepared, categories: Categories, problem: str) -> None:
    """Add one alert for every reason."""
    if found.teacher is None:
        text = "The study has no teacher, so only entropies are told: whose similarity could have arrived is unknown."
        answer.say(text, kind="alert", tone="bad")
    _images(answer, found)
    _sizes(answer, found)
    _one_seed(answer, found)
    _steady(answer)
    _undefined(answer)
    if problem:
        answer.say(f"No entropy within categories: {problem}.", kind="alert", tone="bad")
    _categories(answer, found, categories)
    if len(found.present) < 5:
        least = 1 / math.factorial(len(found.present))
        classes = counted(len(found.present), "class", "classes")
        answer.say(f"With {classes} no p of the Mantel test can be below {least:.2g}.", kind="alert")


def _images(answer: Answer, found: Prepared) -> None:
    if not found.broken:
        return
    names = [_label(found, key) for key in found.broken]
    give = "gives" if len(names) == 1 else "give"
    images = f"{found.drawn - len(found.labels):,} of {counted(found.drawn, 'image')}"
    text = f"{listed(names)} {give} NaN or infinite logits; {images} are left out for all networks."
    answer.say(text, kind="alert", tone="bad")


def _sizes(answer: Answer, found: Prepared) -> None:
    counts = torch.bincount(found.labels, minlength=len(found.classes)).tolist()
    empty = [quoted(name) for name, n in zip(found.classes, counts, strict=True) if n == 0]
    if empty:
        have = "has" if len(empty) == 1 else "have"
        text = f"{counted(len(empty), 'class', 'classes')} of {len(counts)} {have} no images and {have} no row"
        answer.say(f"{text}: {listed(empty)}.", kind="alert", tone="bad")
    single = [quoted(name) for name, n in zip(found.classes, counts, strict=True) if n == 1]
    if single:
        has = "has one image" if len(single) == 1 else "have one image each"
        text = f"{listed(single)} {has}: how such a row would vary is unknown, so intervals are too narrow there."
        answer.say(text, kind="alert", tone="bad")
    few = sum(1 < n < FEW for n in counts)
    if few:
        text = f"{counted(few, 'class', 'classes')} of {len(counts)} with fewer than {FEW} images: the order of such a "
        answer.say(f"{text}row is mostly noise, which lowers all correlations.", kind="alert")


def _one_seed(answer: Answer, found: Prepared) -> None:
    students = [name for name in found.students if len(found.keys(name)) == 1]
    if students:
        text = (
            f"One seed of {listed(students)}: intervals cover the choice of images, not the luck of training. They "
            "speak of these networks; three seeds or more speak of the method."
        )
        answer.say(text, kind="alert")


def _steady(answer: Answer) -> None:
    for row in answer.select(metric="similarity_split_half"):
        if row.value < STEADY:
            text = (
                f"The class similarity of {row.model} itself is not steady: on one half of the images its rank "
                f"correlation with that on the other half is {correlation(row.value)}. More images would show more."
            )
            answer.say(text, rows=[answer.rows.index(row)], kind="alert", tone="bad")


def _undefined(answer: Answer) -> None:
    rows = [
        (i, row)
        for i, row in enumerate(answer.rows)
        if row.metric.startswith("similarity_") and math.isnan(row.value) and "temperature" not in row.metric
    ]
    if rows:
        names = dict.fromkeys(row.model for _, row in rows)
        text = f"No class similarity for {listed(list(names))}: a network prefers no wrong class to another, or halves"
        answer.say(f"{text} of the images have too few classes.", rows=[i for i, _ in rows], kind="alert", tone="bad")
    cold = [i for i, row in enumerate(answer.rows) if "temperature_matched" in row.metric and math.isnan(row.value)]
    if cold:
        names = dict.fromkeys(answer.rows[i].model for i in cold)
        text = f"No temperature makes {listed(list(names))} as confident as the teacher, so nothing is compared there."
        answer.say(text, rows=cold, kind="alert", tone="bad")


def _categories(answer: Answer, found: Prepared, categories: Categories) -> None:
    if categories.source == "all" and found.teacher is not None and answer.notes.options.get("groups") != "all":
        text = "No class has two images, so none are left to find the teacher's categories on"
        answer.say(f"{text}: entropies are within all classes.", kind="alert", tone="bad")
    single = [found.classes[m[0]] for m in categories.members if len(m) == 1]
    inside = {k for m in categories.members for k in m}
    none = [name for k, name in enumerate(found.classes) if k not in inside]
    if single or none:
        one = len(single) + len(none) == 1
        names = listed([quoted(name) for name in (*single, *none)])
        stand = "stands" if one else "stand"
        text = f"{names} {stand} in no category with another class, and {'is' if one else 'are'} "
        answer.say(f"{text}left out of the entropies.", kind="alert")


def _label(found: Prepared, key: Key) -> str:
    return key[0] if len(found.keys(key[0])) == 1 else f"{key[0]} (seed {key[1]})"
