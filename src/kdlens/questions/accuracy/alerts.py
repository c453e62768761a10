"""What a reader must know before trusting an accuracy: of the images, of the networks, of the comparison."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.answer import Answer
from kdlens.questions.accuracy.judged import Judged, Pair
from kdlens.questions.accuracy.rows import find_row
from kdlens.questions.named import named
from kdlens.questions.phrases import counted, listed, number, points, quoted

FEW_IMAGES = 200
CEILING = 99.5


def say_alerts(
    answer: Answer,
    judged: Mapping[str, Judged],
    pairs: Sequence[Pair],
    labels: Int[Tensor, " n"],
    classes: Sequence[str],
) -> None:
    """Add one alert for every reason, which names all the networks it holds for."""
    _names(answer, classes)
    _classes(answer, labels, classes)
    if len(labels) < FEW_IMAGES:
        text = (
            f"Only {counted(len(labels), 'image')}: the intervals are wide. Several hundred images or more are better."
        )
        answer.say(text, kind="alert", tone="bad")
    networks = list(judged.values())
    _broken(answer, networks)
    if len(labels.unique()) > 1:
        _one_answer(answer, networks)
    _room(answer, networks)
    _one_seed(answer, pairs)
    _few_baselines(answer, pairs)
    _disagreement(answer, pairs)
    _same_logits(answer, pairs)
    _teacher_itself(answer, networks)


def _names(answer: Answer, classes: Sequence[str]) -> None:
    """Names that do not tell classes apart: the numbers are right, but who reads them cannot know of which class."""
    twice = [quoted(name) for name, count in Counter(classes).items() if count > 1 and name.strip()]
    if twice:
        text = f"{counted(len(twice), 'class name')} {'stands' if len(twice) == 1 else 'stand'} for several classes: "
        answer.say(f"{text}{listed(twice)}.", kind="alert", tone="bad")
    empty = [str(index) for index, name in enumerate(classes) if not name.strip()]
    if empty:
        text = f"{counted(len(empty), 'class', 'classes')} of {len(classes)} {'has' if len(empty) == 1 else 'have'} "
        answer.say(f"{text}an empty name: {listed(empty)}, counted from 0.", kind="alert", tone="bad")


def _classes(answer: Answer, labels: Tensor, classes: Sequence[str]) -> None:
    counts = torch.bincount(labels, minlength=len(classes))
    empty = [quoted(name) for name, count in zip(classes, counts.tolist(), strict=True) if count == 0]
    if len(classes) - len(empty) == 1:
        every = "The only image is" if len(labels) == 1 else f"All {len(labels):,} images are"
        only = classes[int(counts.argmax())]
        text = f"{every} of one class, {quoted(only)}: accuracy says nothing about telling classes apart."
        answer.say(text, kind="alert", tone="bad")
    elif empty:
        text = (
            f"{counted(len(empty), 'class', 'classes')} of {len(classes)} {'has' if len(empty) == 1 else 'have'} no "
            f"images and cannot be judged: {listed(empty)}."
        )
        answer.say(text, kind="alert", tone="bad")


def _broken(answer: Answer, networks: Sequence[Judged]) -> None:
    found = {
        _label(network, seed): int((~finite).sum())
        for network in networks
        for seed, finite in zip(network.seeds, torch.isfinite(network.logits).all(-1), strict=True)
    }
    wrong = {name: count for name, count in found.items() if count}
    if not wrong:
        return
    names = list(wrong)
    give = "gives NaN or infinite logits" if len(wrong) == 1 else "give NaN or infinite logits"
    images = listed([f"{count:,}" for count in wrong.values()])
    text = (
        f"{listed(names)} {give} for {images} of {counted(networks[0].logits.shape[1], 'image')}; they count as wrong, "
        "and are left out of log-loss, calibration and KL."
    )
    answer.say(text, kind="alert", tone="bad")


def _one_answer(answer: Answer, networks: Sequence[Judged]) -> None:
    """A network that has not learned, or whose input is wrong, often gives one class always."""
    same = [
        _label(network, seed)
        for network in networks
        for seed, logits in zip(network.seeds, network.logits, strict=True)
        if len(named(logits).unique()) == 1
    ]
    if same:
        text = (
            f"{listed(same)} {'gives' if len(same) == 1 else 'each give'} a single answer for all images, so what such "
            "a network gets right is the share of one class. Check its training, its weights and its input."
        )
        answer.say(text, kind="alert", tone="bad")


def _room(answer: Answer, networks: Sequence[Judged]) -> None:
    """Whether there is anything to gain, and anything to learn from the teacher."""
    for network in networks:
        if network.role == "baseline":
            i, top1 = find_row(answer, "top1", model=network.name, seed=None)
            if top1.value >= CEILING:
                text = f"{network.name} names {number(top1.value)} % of the images right: there is no room to gain."
                answer.say(text, rows=[i], kind="alert")
    for row in answer.select(metric="teacher_advantage"):
        if (row.low or 0) <= 0:
            text = (
                f"{row.model} is not clearly better than {row.compared_with}: {points(row.value, row.low, row.high)} "
                f"of top-1 accuracy (n = {counted(row.n or 0, 'image')}). There may be little to distil."
            )
            answer.say(text, rows=[answer.rows.index(row)], kind="alert", tone="bad")


def _one_seed(answer: Answer, pairs: Sequence[Pair]) -> None:
    students = [pair.student.name for pair in pairs if len(pair.student.seeds) == 1]
    if not students:
        return
    several = len(students) > 1
    gains = "the intervals of the gains of" if several else "the interval of the gain of"
    text = (
        f"One seed: {gains} {listed(students)} {'cover' if several else 'covers'} the choice of images, not the luck "
        f"of training. {'They speak' if several else 'It speaks'} of these networks; three seeds or more speak of the "
        "method."
    )
    answer.say(text, rows=[_gain(answer, student) for student in students], kind="alert")


def _few_baselines(answer: Answer, pairs: Sequence[Pair]) -> None:
    groups: dict[tuple[int, int], list[str]] = {}
    for pair in pairs:
        if pair.baseline_count < len(pair.student.seeds):
            groups.setdefault((len(pair.student.seeds), pair.baseline_count), []).append(pair.student.name)
    for (seeds, baselines), students in groups.items():
        several = len(students) > 1
        text = (
            f"{listed(students)} {'have' if several else 'has'} {counted(seeds, 'seed')}{' each' if several else ''} "
            f"but {'are' if several else 'is'} compared with {counted(baselines, 'baseline')}: how the baseline varies "
            "from training to training is not fully in the interval."
        )
        answer.say(text, rows=[_gain(answer, student) for student in students], kind="alert", tone="bad")


def _disagreement(answer: Answer, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        gains = [find_row(answer, "top1_gain", model=pair.student.name, seed=seed) for seed in pair.student.seeds]
        if min(row.value for _, row in gains) < 0 < max(row.value for _, row in gains):
            values = listed([number(row.value, signed=True) for _, row in gains])
            text = f"The seeds of {pair.student.name} disagree about the sign of the gain: {values} points."
            answer.say(text, rows=[index for index, _ in gains], kind="alert", tone="bad")


def _same_logits(answer: Answer, pairs: Sequence[Pair]) -> None:
    same = [
        (pair, seed)
        for pair in pairs
        for seed, mine, other in zip(pair.student.seeds, pair.student.logits, pair.baseline.logits, strict=True)
        if torch.equal(mine, other)
    ]
    if same:
        students = [_label(pair.student, seed) for pair, seed in same]
        text = (
            f"{listed(students)} {'gives' if len(students) == 1 else 'give'} exactly the same logits for every image "
            f"as {same[0][0].baseline.name}: the same weights may have been loaded twice."
        )
        rows = dict.fromkeys(_gain(answer, pair.student.name) for pair, _ in same)
        answer.say(text, rows=rows, kind="alert", tone="bad")


def _teacher_itself(answer: Answer, networks: Sequence[Judged]) -> None:
    """Equal logits are equal weights; a network as good as its teacher would still give others."""
    teacher = next((network for network in networks if network.role == "teacher"), None)
    if teacher is None:
        return
    same = [
        _label(network, seed)
        for network in networks
        for seed, logits in zip(network.seeds, network.logits, strict=True)
        if network is not teacher and torch.equal(logits, teacher.logits[0])
    ]
    if same:
        text = (
            f"{listed(same)} {'gives' if len(same) == 1 else 'give'} exactly the same logits for every image as "
            f"{teacher.name}: the teacher's own weights may have been loaded."
        )
        answer.say(text, kind="alert", tone="bad")


def _gain(answer: Answer, student: str) -> int:
    return find_row(answer, "top1_gain", model=student, seed=None)[0]


def _label(network: Judged, seed: int) -> str:
    return network.name if len(network.seeds) == 1 else f"{network.name} (seed {seed})"
