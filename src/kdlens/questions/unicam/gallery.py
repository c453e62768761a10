"""The pictures of the UniCAM answer: images where students gained or lost most, with all maps on one scale."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kdlens.questions.context import Subject, Trio
from kdlens.questions.named import named
from kdlens.questions.unicam.cam import common_scale
from kdlens.questions.unicam.study_maps import StudyMaps
from kdlens.questions.unicam.view import View


def gallery(view: View, maps: StudyMaps, trios: Sequence[Trio], count: int) -> dict[str, np.ndarray]:
    """Images, masks, signed maps on one scale, gains and who was right, for one trio of each student.

    Args:
        view: the study.
        maps: draws them.
        trios: one for each student, all of the first seed.
        count: number of images.

    Returns:
        Arrays by name; no array where there is nothing to show.
    """
    gains = {trio.student.name: gain(view, trio) for trio in trios}
    chosen = choose(gains, count, avoid=view.reference)
    if len(chosen) == 0:
        return {}
    batch = view.context.batch(chosen)
    arrays = {
        "index": chosen.numpy(),
        "label": batch.labels.numpy(),
        "image": view.context.display(batch.images).cpu().numpy(),
    }
    if batch.masks is not None:
        arrays["mask"] = batch.masks.to(torch.uint8).numpy()
    found = gallery_maps(maps, trios, chosen)
    arrays |= {name: signed.float().numpy() for name, signed in found.items()}
    arrays["scale"] = np.array(common_scale(found.values()), dtype=np.float32)
    for name, values in gains.items():
        arrays[f"gain.{name}"] = values[chosen].numpy()
    for name, subject in _columns(trios).items():
        right = named(view.context.logits(subject)[chosen]) == batch.labels
        arrays[f"correct.{name}"] = right.to(torch.uint8).numpy()
    return arrays


def gallery_maps(maps: StudyMaps, trios: Sequence[Trio], chosen: Tensor) -> dict[str, Tensor]:
    """Signed maps of the chosen images: every network alone, and both directions."""
    found = {}
    for name, subject in _columns(trios).items():
        key = f"map.student.{name}" if subject.role == "student" else f"map.{name}"
        found[key] = maps.of_images(subject, None, chosen).signed
    for trio in trios:
        found[f"map.distilled.{trio.student.name}"] = maps.of_images(trio.student, trio.baseline, chosen).signed
        found[f"map.residual.{trio.student.name}"] = maps.of_images(trio.baseline, trio.student, chosen).signed
    return found


def gain(view: View, trio: Trio) -> Tensor:
    """Student's less baseline's probability of the true label, `(n,)` float32; NaN logits count as no gain."""
    labels = view.context.labels[:, None]
    student, baseline = (
        view.context.logits(s).softmax(1).gather(1, labels)[:, 0] for s in (trio.student, trio.baseline)
    )
    return (student - baseline).nan_to_num(0.0)


def choose(gains: Mapping[str, Tensor], count: int, *, avoid: Tensor) -> Tensor:
    """Images where a student gained most and lost most, two fifths each, and where least changed; best gain first.

    Students take turns. Images of the comparison set are left out where enough others remain.

    Example:
        >>> choose({"kd": torch.tensor([0.9, -0.8, 0.0, 0.5, -0.1, 0.7])}, 5, avoid=torch.tensor([5]))
        tensor([0, 3, 2, 4, 1])
    """
    first = next(iter(gains.values()))
    allowed = torch.ones(len(first), dtype=torch.bool)
    allowed[avoid] = False
    if int(allowed.sum()) < count:
        allowed[:] = True
    count = min(count, int(allowed.sum()))
    side = 2 * count // 5
    taken: list[int] = []
    _take(taken, [gain.argsort(descending=True, stable=True) for gain in gains.values()], side, allowed)
    _take(taken, [gain.argsort(stable=True) for gain in gains.values()], 2 * side, allowed)
    _take(taken, [gain.abs().argsort(stable=True) for gain in gains.values()], count, allowed)
    mean = torch.stack(list(gains.values())).mean(0)
    chosen = torch.tensor(taken, dtype=torch.int64)
    return chosen[mean[chosen].argsort(descending=True, stable=True)]


def _take(taken: list[int], orders: Sequence[Tensor], until: int, allowed: Tensor) -> None:
    """Fill `taken` up to `until` from the heads of the orders, in turn."""
    for candidates in zip(*(order.tolist() for order in orders), strict=True):
        for index in candidates:
            if len(taken) >= until:
                return
            if allowed[index] and index not in taken:
                taken.append(index)


def _columns(trios: Sequence[Trio]) -> dict[str, Subject]:
    """The networks shown, by the names of their columns."""
    columns: dict[str, Subject] = {}
    if trios and trios[0].teacher is not None:
        columns["teacher"] = trios[0].teacher
    for trio in trios[:1]:
        columns["baseline"] = trio.baseline
    return columns | {trio.student.name: trio.student for trio in trios}
