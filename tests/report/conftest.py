"""Answers as a real study gives them, made of plausible numbers, scenes and blobs; nothing is trained here."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import DataCard, Meta, ModelCard, Report

VOID = {"meta", "img", "input", "br", "hr", "link"}
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
LAYERS = ("layer1", "layer2", "layer3", "layer4")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "' onmouseover='alert(1)",
    "فستان سهرة طويل",
    "👩🏽‍🚀🧥",
    "a very long name of a class that goes on and on and would not fit into any column that was ever made " * 2,
    "</style><svg onload=alert(1)>",
    "=HYPERLINK(1)",
    "javascript:alert(1)",
)


def noise(rng, size, cells):
    """Smooth noise in [0, 1], `cells` blobs across."""
    coarse = rng.random((cells + 1, cells + 1))
    at = np.linspace(0, cells - 1e-6, size)
    low, part = at.astype(int), (at % 1)
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def scene(rng, size):
    """A coloured, textured object on a textured ground: picture, mask."""
    y, x = np.mgrid[0:size, 0:size] / size
    cx, cy = rng.uniform(0.35, 0.65, 2)
    angle = np.arctan2(y - cy, x - cx)
    radius = 0.2 + 0.05 * np.cos(rng.integers(2, 6) * angle + rng.uniform(0, 6)) + 0.03 * rng.random()
    mask = np.hypot(x - cx, (y - cy) * 0.9) < radius
    ground, thing = rng.uniform(30, 225, 3), rng.uniform(40, 255, 3)
    stripes = 0.5 + 0.5 * np.sin(rng.uniform(20, 50) * (x * math.cos(a := rng.uniform(0, 3)) + y * math.sin(a)))
    picture = ground * (0.55 + 0.45 * stripes[..., None])
    inner = thing * (0.75 + 0.25 * noise(rng, size, 6)[..., None])
    return np.where(mask[..., None], inner, picture).clip(0, 255).astype(np.uint8), mask


def blob(rng, mask, on_object):
    """A smooth signed map with most of its energy on the object, or off it."""
    size = len(mask)
    wanted = noise(rng, size, 5) ** 2 * (mask if on_object else ~mask)
    for axis in (0, 1):
        wanted = sum(np.roll(wanted, shift, axis) for shift in range(-size // 14, size // 14 + 1))
    wanted = wanted / (wanted.max() + 1e-9) * rng.uniform(0.4, 1.2)
    return (wanted - 0.28 * noise(rng, size, 4)).astype(np.float32)


def arrays(students, *, images=24, size=32, seed=0, masks=True):
    """The arrays of a UniCAM answer."""
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, size) for _ in range(images)]
    found = {
        "index": np.sort(rng.permutation(2000)[:images]).astype(np.int64),
        "label": (np.arange(images) % 10).astype(np.int64),
        "image": np.stack([picture for picture, _ in scenes]),
    }
    if masks:
        found["mask"] = np.stack([mask for _, mask in scenes]).astype(np.uint8)

    def maps(on_object, factor=1.0):
        made = [blob(rng, mask, rng.random() < on_object) * factor for _, mask in scenes]
        return 0.0123 * np.stack(made)

    found["map.teacher"], found["map.baseline"] = maps(0.95), maps(0.15)
    for name in students:
        found[f"map.student.{name}"], found[f"map.distilled.{name}"] = maps(0.8), maps(0.9, 0.8)
        found[f"map.residual.{name}"] = maps(0.1, 0.7)
        found[f"gain.{name}"] = rng.normal(0.12, 0.3, images).clip(-0.95, 0.95).astype(np.float32)
    for name in ("teacher", "baseline", *students):
        found[f"correct.{name}"] = (rng.random(images) < 0.8).astype(np.uint8)
    positive = np.concatenate([m[m > 0] for key, m in found.items() if key.startswith("map.")])
    found["scale"] = np.float32(np.percentile(positive, 99.5))
    return {key: np.asarray(value) for key, value in found.items()}


def per_seed(answer, row, seeds, spread, rng):
    """Add a number for every seed and over them; return the index of the last."""
    values = [row["value"] + (rng.normal(0, spread) if seeds > 1 else 0.0) for _ in range(seeds)]
    half = row.pop("half", None)
    for seed, value in enumerate(values):
        answer.add(Row(**{**row, "value": value, "seed": seed, **_ends(value, half)}))
    value = float(np.mean(values))
    return answer.add(Row(**{**row, "value": value, **_ends(value, half)}))


def _ends(value, half):
    return {} if half is None else {"low": value - half, "high": value + half}


def accuracy(students, *, seeds=1, classes=CLASSES, gains=(6.4, 0.1, -3.2, -0.6)):
    """An accuracy answer: the first student is helped, the second not, the third hurt."""
    rng = np.random.default_rng(1)
    rule = "HELPED if the 95 % interval of the gain lies above 0; HURT if below; NO EFFECT if within 1 point of 0."
    answer = Answer(
        "accuracy",
        Notes(
            "Did distillation help?",
            f"Every network names every image; student and baseline are compared image by image. {rule}",
            "A gain is in points of top-1 accuracy. A small gain can hide many helped and many hurt images.",
            "One seed speaks of two networks, not of the method.",
            ("McNemar, Psychometrika 12 (1947)", "Guo et al., ICML 2017, eq. 3"),
            {"margin": 1.0, "bins": 15},
        ),
    )
    base = 74.2
    top = {"teacher": 91.3, "baseline": base, **{s: base + g for s, g in zip(students, gains, strict=False)}}
    at = {}
    for name, value in top.items():
        n = 1 if name == "teacher" else seeds
        quality = {"model": name, "n": 2000}
        at[name] = per_seed(
            answer, {"metric": "top1", "value": value, "unit": "%", "half": 1.8, **quality}, n, 0.9, rng
        )
        for metric, number, half, unit, chance in (
            ("ece", 0.115 - value / 1000, 0.012, "", 0.021),
            ("nll", 2.9 - value / 40, 0.05, "nats", 2.303),
            ("agreement", value - 4, 1.6, "%", None),
            ("kl_to_teacher", 3.4 - value / 30, 0.06, "nats", None),
        ):
            if name == "teacher" and metric in ("agreement", "kl_to_teacher"):
                continue
            row = {"metric": metric, "value": number, "half": half, "unit": unit, "chance": chance, **quality}
            per_seed(answer, row, n, half / 2, rng)
    for name, gain in zip(students, gains, strict=False):
        pair = {"model": name, "compared_with": "baseline", "n": 2000}
        half = 2.4 if abs(gain + 0.6) < 0.01 else 0.8
        i = per_seed(
            answer,
            {"metric": "top1_gain", "value": gain, "half": half, "unit": "points", "p": 0.0004, **pair},
            seeds,
            0.4,
            rng,
        )
        gain = answer.rows[i].value
        h = answer.add(Row("helped_images", 214.0 + 3 * gain, unit="images", **pair))
        u = answer.add(Row("hurt_images", 190.0 - 12 * gain, unit="images", **pair))
        c = [
            answer.add(Row("class_gain", v, class_name=k, low=v - 4.1, high=v + 4.1, p=min(1.0, 2 ** -abs(v)),
                           unit="points", **{**pair, "n": 200}))
            for k, v in zip(classes, gain + rng.normal(0, 5, len(classes)), strict=True)
        ]  # fmt: skip
        low, high = gain - half, gain + half
        word = "HELPED" if low > 0 else "HURT" if high < 0 else "NO EFFECT" if max(-low, high) < 1 else "INCONCLUSIVE"
        tone = {"HELPED": "good", "HURT": "bad"}.get(word, "neutral")
        answer.say(
            f"{word}: {name} names {base + gain:.1f} % of the images right, baseline {base} %: {gain:+.1f} points "
            f"[{low:.1f}, {high:.1f}] (95 % interval, n = 2,000 images, {seeds} seed{'s' * (seeds > 1)}).",
            rows=[i, at[name], at["baseline"]],
            kind="verdict",
            tone=tone,
        )
        answer.say(f"{name} helps {214 + 3 * gain:.0f} images that baseline gets wrong and hurts "
                   f"{190 - 12 * gain:.0f} that it gets right (exact McNemar p < .001).", rows=[h, u, i])  # fmt: skip
        answer.say(f'{name} gains on "{classes[0]}" (+9.1 points [5.0, 13.2], n = 200 images, p = .004).',
                   rows=c[:8], tone="good" if gain > 0 else "bad")  # fmt: skip
    if seeds == 1:
        answer.say("One seed: the interval covers the choice of images, not the luck of training.", kind="alert")
    return answer


def unicam(students, *, seeds=1, layers=LAYERS, **options):
    """A UniCAM answer with maps and numbers by layer."""
    rng = np.random.default_rng(2)
    answer = Answer(
        "unicam",
        Notes(
            "Where does the student look that the baseline did not?",
            "M(s|b) = P_s − (⟨P_s, P_b⟩ / ⟨P_b, P_b⟩) P_b; R* = ⟨M, P_gt⟩ / (‖M‖ ‖P_gt‖). The map is its gradient.",
            "Brighter is stronger; all maps share one scale.",
            "Evidence that both networks share still lights up.",
            ("Adhane et al., On explaining knowledge distillation, WACV 2025, eqs. 1-5",),
            {"layer": "auto", "gallery": 24, "protocol": "published"},
        ),
        arrays=arrays(students, **options),
    )
    for name in students:
        pair = {"model": name, "compared_with": "baseline", "n": 256}
        for k, layer in enumerate(layers):
            for metric, value, half, chance in (
                ("unique_fraction_distilled", 0.18 + 0.09 * k, 0.05, None),
                ("unique_fraction_residual", 0.15 + 0.05 * k, 0.05, None),
                ("relevance_distilled", 0.06 + 0.11 * k, 0.05, 0.001),
                ("relevance_residual", 0.05 + 0.03 * k, 0.04, 0.001),
            ):
                row = {"metric": metric, "value": value + rng.normal(0, 0.02), "layer": layer, "half": half,
                       "chance": chance, **pair}  # fmt: skip
                per_seed(answer, row, seeds, 0.02, rng)
    share = {"layer": layers[-1], "n": 256, "chance": 0.21, "half": 0.03}
    per_seed(answer, {"metric": "share_on_object_teacher", "value": 0.71, "model": "teacher", **share}, 1, 0.02, rng)
    per_seed(
        answer, {"metric": "share_on_object_baseline", "value": 0.24, "model": "baseline", **share}, seeds, 0.02, rng
    )
    for name in students:
        for half, value in (("student", 0.58), ("distilled", 0.66), ("residual", 0.17)):
            row = {"metric": f"share_on_object_{half}", "value": value + rng.normal(0, 0.05), "model": name, **share}
            i = per_seed(answer, row, seeds, 0.02, rng)
            if half == "distilled":
                answer.say(
                    f"What {name} has and baseline has not lies on the object: 66 % of the map against 21 % by chance "
                    "(n = 256 images).",
                    rows=[i],
                    tone="good",
                )
    return answer


def relevance(students, *, seeds=1, layers=LAYERS, null=True):
    """FSS and RS by layer."""
    rng = np.random.default_rng(3)
    answer = Answer(
        "relevance",
        Notes("Is the student like the teacher, and are its features about the task?", "Distance correlation."),
    )

    def add(metric, values, half, **columns):
        found = []
        for layer, value in zip(layers, values, strict=True):
            row = {
                "metric": metric,
                "value": value,
                "layer": layer,
                "half": half,
                "chance": 0.002,
                "p": 0.002,
                "n": 256,
            }
            n = 1 if columns["model"] == "teacher" else seeds
            found.append(per_seed(answer, {**row, **columns}, n, 0.02, rng))
            if null:
                answer.add(Row(f"{metric}_null", 0.002, low=-0.03, high=0.034, layer=layer, n=256, **columns))
        return found

    ramp = np.arange(len(layers)) / max(1, len(layers) - 1)
    add("rs_layer", 0.08 + 0.62 * ramp, 0.03, model="teacher")
    add("rs_layer", 0.07 + 0.31 * ramp, 0.04, model="baseline")
    add("fss", 0.61 - 0.3 * ramp, 0.05, model="baseline", compared_with="teacher")
    for name in students:
        add("rs_layer", 0.07 + 0.45 * ramp + rng.normal(0, 0.02), 0.04, model=name)
        add("fss", 0.64 - 0.12 * ramp, 0.05, model=name, compared_with="teacher")
        add("fss", 0.82 - 0.25 * ramp, 0.04, model=name, compared_with="baseline")
        i = add("rs_distilled", 0.05 + 0.36 * ramp, 0.05, model=name, compared_with="baseline")
        j = add("rs_residual", 0.05 + 0.06 * ramp, 0.05, model=name, compared_with="baseline")
        answer.say(
            f"Distilled features of {name} are more relevant than the features it dropped: RS .41 [.36, .46] against "
            f".11 [.06, .16] at {layers[-1]} (p = .001, n = 256 images).",
            rows=[i[-1], j[-1]],
            tone="good",
        )
    return answer


def reliance(students, *, seeds=1):
    """Three versions of the images."""
    rng = np.random.default_rng(4)
    answer = Answer("reliance", Notes("Does it look at the object or at the background?", "The background is swapped."))
    told = {"teacher": (91, 89, 14), "baseline": (74, 41, 48), **dict.fromkeys(students, (79, 68, 25))}
    for name, values in told.items():
        n = 1 if name == "teacher" else seeds
        for metric, value in zip(
            ("accuracy_original", "accuracy_background_swapped", "accuracy_object_removed"), values, strict=True
        ):
            row = {
                "metric": metric,
                "value": value + rng.normal(0, 1),
                "model": name,
                "unit": "%",
                "n": 2000,
                "half": 2,
            }
            per_seed(answer, row, n, 1.0, rng)
        row = {"metric": "background_reliance", "value": values[0] - values[1], "model": name, "unit": "points",
               "n": 2000, "half": 2.1}  # fmt: skip
        i = per_seed(answer, row, n, 1.0, rng)
        if name in students:
            answer.say(
                f"{name} loses 11 points when only the background is swapped, baseline 33.", rows=[i], tone="good"
            )
    return answer


def points(students, *, seeds=1, size=32, moments=()):
    """Arrays of the questions about knowledge: examples with kept cells and curves; one image of the student is out."""
    rng = np.random.default_rng(5)
    images, grid = 4, 8
    scenes = [scene(rng, size) for _ in range(images)]
    mask = np.stack([mask for _, mask in scenes])
    foreground = mask[:, size // 16 :: size // 8, size // 16 :: size // 8]
    found = {
        "image": np.stack([picture for picture, _ in scenes]),
        "index": np.arange(images, dtype=np.int64) * 7,
        "label": np.arange(images, dtype=np.int64),
        "mask": mask.astype(np.uint8),
        "foreground": foreground.astype(np.uint8),
    }
    at = np.array(moments) if moments else np.linspace(0.05, 0.6, 12)
    kind = "curve" if moments else "sweep"
    found["epochs" if moments else "sweep.thresholds"] = at
    for name in ("baseline", *students):
        shape = (len(moments), images, grid, grid) if moments else (images, grid, grid)
        likely = np.where(foreground, 0.6 if name in students else 0.4, 0.15)
        found[f"kept.{name}"] = (rng.random(shape) < likely).astype(np.uint8)
        found[f"counted.{name}"] = np.array([1, 1, 1, 0 if name in students else 1], np.uint8)
        for metric, top in (("points_on_object", 9), ("points_off_object", 6), ("points_share", 60)):
            value = top * np.linspace(1.0, 0.1, len(at)) + rng.normal(0, 0.1, len(at))
            found[f"{kind}.{metric}.{name}"] = np.stack([value, value - 0.1 * top, value + 0.1 * top], 1)
        if moments:
            found[f"path.per_step.{name}"] = np.linspace(0, 2, len(at))
    return found


def knowledge(students, *, seeds=1, layers=LAYERS, size=32):
    """Knowledge points by layer."""
    rng = np.random.default_rng(6)
    answer = Answer("knowledge", Notes("How much does it know?", options={"threshold": 0.2}))
    told = (
        ("points_on_object", 9.0, "cells", 1.0),
        ("points_off_object", 5.0, "cells", 0.8),
        ("points_share", 60, "%", 5),
    )
    for place, layer in enumerate(layers):
        for metric, value, unit, half in told:
            for name in ("baseline", *students):
                row = {"metric": metric, "value": value - place, "model": name, "layer": layer, "unit": unit, "n": 50,
                       "half": half, "chance": 35.0 if unit == "%" else None}  # fmt: skip
                per_seed(answer, row, seeds, 0.3, rng)
            for name in students:
                row = {"metric": f"{metric}_gain", "value": 1.2, "model": name, "compared_with": "baseline",
                       "layer": layer, "unit": "points" if unit == "%" else unit, "n": 50, "half": half}  # fmt: skip
                i = per_seed(answer, row, seeds, 0.3, rng)
                if (metric, place) == ("points_share", len(layers) - 1):
                    answer.say(
                        f"Hypothesis 1, more knowledge of the object: supported at {layer}: {name} keeps more.",
                        rows=[i], kind="verdict", tone="good",
                    )  # fmt: skip
    answer.say("Before that, hypothesis 1 is supported at layer1, layer2 and layer3.", rows=[0])
    answer.arrays = points(students, seeds=seeds, size=size)
    return answer


def dynamics(students, *, seeds=1, layers=LAYERS, size=32):
    """When points were learned."""
    rng = np.random.default_rng(7)
    answer = Answer("dynamics", Notes("When did it learn?", options={"path": "per_step"}))
    told = (("d_mean_per_step", 0.8, "", "change"), ("d_std_per_step", 0.2, "", "change"), ("rho", 70.0, "%", "gain"),
            ("epoch_of_most_points", 6.0, "epochs", "change"))  # fmt: skip
    for metric, value, unit, ending in told:
        for name in ("baseline", *students):
            row = {"metric": metric, "value": value, "model": name, "layer": layers[-1], "unit": unit, "n": 50,
                   "half": 0.1 * value}  # fmt: skip
            per_seed(answer, row, seeds, 0.05 * value, rng)
        for name in students:
            row = {"metric": f"{metric}_{ending}", "value": -0.2, "model": name, "compared_with": "baseline",
                   "layer": layers[-1], "unit": "points" if unit == "%" else unit, "n": 50, "half": 0.3}  # fmt: skip
            i = per_seed(answer, row, seeds, 0.1, rng)
            answer.say(f"{name} differs from baseline in {metric} by 0.2, no clear difference.", rows=[i])
    answer.arrays = points(students, seeds=seeds, size=size, moments=(0, 1, 2, 5, 10))
    return answer


def class_similarity(students, *, seeds=1, classes=CLASSES):
    """Which classes are alike: the first student has the teacher's similarity, the others less of it."""
    rng = np.random.default_rng(8)
    k = len(classes)
    categories = {"above": list(classes[: k // 2]), "below": list(classes[k // 2 :])}
    options = {"margin": 0.05, "categories": categories, "groups": "teacher"}
    answer = Answer("class_similarity", Notes("Did the teacher's class similarity arrive?", options=options))
    for place, name in enumerate(("baseline", *students)):
        row = {"model": name, "compared_with": "teacher", "n": 2000, "half": 0.04, "chance": 0.0, "p": 0.001}
        per_seed(
            answer, {"metric": "similarity_correlation", "value": 0.7 + 0.1 * (place == 1), **row}, seeds, 0.02, rng
        )
    for place, name in enumerate(students):
        row = {"model": name, "compared_with": "baseline", "n": 2000, "half": 0.04, "value": 0.1 - 0.1 * place}
        for metric in ("similarity_gain", "similarity_matched_gain", "within_category_entropy_gain"):
            i = per_seed(answer, {"metric": metric, **row}, seeds, 0.02, rng)
        answer.say(f"Class similarity arrived with {name}: a gain of +.10.", rows=[i], kind="verdict", tone="good")
        answer.say(f"{name} leaves more to like classes than baseline (+0.100 nats).", rows=[i])
        pair = f"{classes[6]} → {classes[4]}"
        for story, label in (("transferred", pair), ("undecided", f"{classes[0]} → {classes[6]}")):
            answer.add(Row(f"confusion_{story}", 8.0, model=name, compared_with="baseline", class_name=label, low=4.0,
                           high=12.0, p=0.01, n=200, unit="points"))  # fmt: skip
            for value, model in ((15.0, "teacher"), (12.0, name), (4.0, "baseline")):
                answer.add(Row("confusion_rate", value, model=model, class_name=label, low=value - 3, high=value + 3,
                               n=200, unit="%"))  # fmt: skip
            answer.add(Row("share_of_wrong", 33.0, model="teacher", class_name=label, chance=11.1, unit="%"))
    for place, name in enumerate(("teacher", "baseline", *students)):
        for metric in ("within_category_entropy", "within_category_entropy_matched"):
            row = {"metric": metric, "value": 0.5 + 0.05 * place, "model": name, "n": 1000, "half": 0.02,
                   "chance": 1.609, "unit": "nats"}  # fmt: skip
            per_seed(answer, row, 1 if name == "teacher" else seeds, 0.01, rng)
        shares = rng.random((k, k)) * (1 - np.eye(k))
        answer.arrays[f"similarity.{name}"] = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
        answer.arrays[f"entropy.{name}"] = np.array([[v, v - 0.02, v + 0.02] for v in (0.3, 0.5, 0.9)])
    answer.arrays["temperatures"] = np.array([0.5, 1.0, 2.0])
    answer.arrays["order"] = np.arange(k)[::-1].copy()
    answer.arrays["category"] = (np.arange(k) >= k // 2).astype(np.int64)
    return answer


def conflict(students, *, seeds=1, classes=CLASSES):
    """Which classes pull apart; the first student is a mixture of experts and has virtual attention, too."""
    rng, k = np.random.default_rng(10), len(classes)
    options = {"margin": 5.0, "superclasses": {"above": [], "below": []}}
    answer = Answer("conflict", Notes("How does it settle conflicts between classes?", options=options))
    pair = f"{classes[0]} / {classes[6]}"
    for place, name in enumerate(("teacher", "baseline", *students)):
        row = {"model": name, "layer": "layer3", "n": 512}
        n = 1 if name == "teacher" else seeds
        rate = {"metric": "conflict_rate", "value": 45.0 - 3 * place, "half": 4.0, "chance": 50.0, "unit": "%", **row}
        per_seed(answer, rate, n, 1.0, rng)
        cosine = {"metric": "conflict_cosine", "value": 0.02 * place, "half": 0.05, "chance": 0.01, **row}
        per_seed(answer, cosine, n, 0.01, rng)
        answer.add(Row("pair_cosine", 0.2 * place - 0.3, model=name, class_name=pair, low=-0.5, high=0.5))
        cosines = rng.uniform(-1, 1, (k, k))
        answer.arrays[f"conflict.{name}"] = np.clip((cosines + cosines.T) / 2 + np.eye(k), -1, 1).astype(np.float32)
    for place, name in enumerate(students):
        row = {"model": name, "compared_with": "baseline", "n": 512}
        change = {"metric": "conflict_rate_change", "value": 3.0 * place - 6, "half": 2.0, "unit": "points", **row}
        i = per_seed(answer, change, seeds, 0.5, rng)
        answer.say(f"Fewer classes pull the shared layer apart with {name}: -6 points.", rows=[i], kind="verdict")
        per_seed(answer, {"metric": "conflict_cosine_change", "value": 0.02, "half": 0.01, **row}, seeds, 0.01, rng)
        i = answer.add(Row("pair_stopped", 0.5, class_name=pair, low=0.2, high=0.8, p=0.01, **row))
        answer.say(f"{name}: 1 pair of classes stopped pulling apart.", rows=[i])
    first = students[0]
    for level, shape in enumerate(((4, 4), (k, 4))):
        rows = rng.random(shape) ** 4
        answer.arrays[f"routing.{first}.{level}"] = (rows / rows.sum(1, keepdims=True)).astype(np.float32)
        where = {"model": first, "layer": f"levels.{level}"}
        answer.add(Row("attention_entropy", 0.7, chance=1.386, unit="nats", **where))
        answer.add(Row("dead_experts", 1.0, **where))
    for metric, value, unit in (("top1_trained", 80.0, "%"), ("top1_even", 75.0, "%"), ("parameters", 96.0, "")):
        answer.add(Row(f"vam_{metric}", value, model=first, unit=unit))
    answer.arrays.update(order=np.arange(k)[::-1].copy(), superclass=(np.arange(k) >= k // 2).astype(np.int64))
    return answer


def dissection(students, *, seeds=1, layers=("layer1", "layer2"), size=16):
    """Counts of detectors at two thresholds, concepts gained, kept and lost, and three units with pictures."""
    rng, last = np.random.default_rng(9), layers[-1]
    options = {"threshold": 0.04, "also": 0.05}
    answer = Answer("dissection", Notes("Which concepts do its units detect?", options=options))
    for at, name in enumerate(("teacher", "baseline", *students)):
        copies = 1 if name == "teacher" else seeds
        for place, layer in enumerate(layers):
            base = {
                "model": name,
                "layer": layer,
                "n": 500,
                "value": 4.0 + at + 2 * place,
                "half": 2.0,
                "unit": "units",
            }
            per_seed(answer, {**base, "metric": "detectors", "chance": 1.5, "p": 0.2}, copies, 0.5, rng)
            per_seed(answer, {**base, "metric": "detectors_share", "chance": 2.0, "unit": "%"}, copies, 0.5, rng)
            for category in ("object", "color"):
                row = {**base, "metric": "detectors_in_category", "class_name": category, "chance": 1.0}
                per_seed(answer, row, copies, 0.5, rng)
            for threshold in ("0.03", "0.04", "0.1"):
                row = {"class_name": f"IoU {threshold}", "low": 0.0, "high": 9.0, "chance": 0.5, "unit": "units"}
                answer.add(Row("detectors_sweep", 0.1 / float(threshold), model=name, layer=layer, n=500, **row))
    for name in students:
        pair = {"model": name, "compared_with": "baseline", "layer": last, "unit": "units"}
        for metric in ("detectors_gain", "detectors_also_gain", "detectors_held_out_gain", "unique_detectors_gain"):
            i = per_seed(answer, {"metric": metric, "value": 1.0, "half": 2.0, "n": 500, **pair}, seeds, 0.5, rng)
        text = f"No clear difference in concept detectors between {name} and baseline at {last}."
        answer.say(text, rows=[i], kind="verdict")
        told = (("gained", "red (color)", 2.0), ("kept", "cat (object)", 4.0), ("lost", "dog (object)", 0.0))
        for (story, concept, units), change in zip(told, (2.0, 1.0, -1.0), strict=True):
            answer.add(Row(f"concept_{story}_change", change, class_name=concept, **pair))
            answer.add(Row("concept_units", units, model=name, layer=last, class_name=concept, unit="units"))
        answer.say(f"Concepts that units of {name} detect at {last}: gained, 1: red (color) with 2 units.", rows=[i])
    shown = (("gained", 0.213, students[0], "unit 12: red (color)"), ("kept", 0.1, students[0], "unit 3: cat (object)"),
             ("lost", 0.06, "baseline", "unit 7: dog (object)"))  # fmt: skip
    rows = [
        answer.add(
            Row(f"unit_{story}", iou, model, "" if model != "baseline" else students[0], 0, last, unit, unit="IoU")
        )
        for story, iou, model, unit in shown
    ]
    answer.arrays = {
        "unit.row": np.array(rows),
        "unit.image": rng.integers(60, 255, (4, size, size, 3), dtype=np.uint8),
        "unit.images": np.array([[0, 1], [2, 3], [1, -1]]),
        "unit.active": np.tile((np.arange(size) < size // 2).astype(np.uint8), (3, 2, size, 1)),
    }
    return answer


def meta(students, *, seeds=1, classes=CLASSES, layers=LAYERS, size=32, **changes):
    """What surrounds the answers."""
    cards = [ModelCard("teacher", "teacher", 0, "zoo:resnet56", 853018, layers, "teacher.safetensors", "9f2c41aa07d3")]
    for name, role in (("baseline", "baseline"), *((s, "student") for s in students)):
        cards += [
            ModelCard(
                name, role, seed, "zoo:resnet8", 78042, layers, f"{role}-{seed}.safetensors", f"{seed}b7710c9e4{seed}"
            )
            for seed in range(seeds)
        ]
    told = {
        "title": "Does a student inherit its teacher's eyes?",
        "command": "kdlens explain study.yaml -o out/",
        "environment": {"kdlens": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "device": "cpu", "threads": "2"},
        "study": "seed: 0\ndata: {name: fashion-scenes, split: test}\nquestions: [accuracy, unicam]\n",
        "models": cards,
        "data": DataCard("fashion-scenes", 2000, classes, (3, size, size)),
        "created": "2026-01-31T09:30:00+00:00",
    }
    return Meta(**{**told, **changes})


def build_report(
    students: Sequence[str] = ("kd",),
    *,
    seeds: int = 1,
    classes: Sequence[str] = CLASSES,
    images=24,
    size=32,
    **changes,
) -> Report:
    """A whole report."""
    found = [
        accuracy(students, seeds=seeds, classes=classes),
        unicam(students, seeds=seeds, images=images, size=size),
        relevance(students, seeds=seeds),
        reliance(students, seeds=seeds),
        knowledge(students, seeds=seeds, size=size),
        dynamics(students, seeds=seeds, size=size),
        dissection(students, seeds=seeds),
        class_similarity(students, seeds=seeds, classes=classes),
        conflict(students, seeds=seeds, classes=classes),
    ]
    told = meta(students, seeds=seeds, classes=tuple(classes), size=size, **changes)
    return Report({answer.question: answer for answer in found}, told)


class Page(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self._open = [], {}, []
        self.unclosed = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"attribute given twice: {attrs}"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


@pytest.fixture(scope="session")
def parse() -> type[Page]:
    """Reads a page with an ordinary parser; see `Page`."""
    return Page


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """Builds a report of the size asked for; see `build_report`."""
    return build_report


@pytest.fixture(scope="session")
def one_student() -> Report:
    """One student, one seed, 24 images of 32 pixels."""
    return build_report()


@pytest.fixture(scope="session")
def three_students() -> Report:
    """Three students of three seeds each."""
    return build_report(("kd", "fitnet", "attention-transfer"), seeds=3)


@pytest.fixture(scope="session")
def hostile() -> Report:
    """Every name a user can choose is an attack."""
    found = build_report(
        (HOSTILE[0], HOSTILE[1]),
        classes=HOSTILE,
        title=HOSTILE[1],
        command="kdlens explain '</script><script>alert(1)</script>'",
        environment={HOSTILE[0]: HOSTILE[1]},
        study="a: </pre><script>alert(1)</script>",
        alerts=list(HOSTILE),
        failed={HOSTILE[0]: HOSTILE[1]},
    )
    odd = Answer(HOSTILE[1], Notes(HOSTILE[0], *HOSTILE[:3], sources=HOSTILE, options={HOSTILE[0]: HOSTILE[1]}))
    i = odd.add(Row(HOSTILE[0], 1.0, model=HOSTILE[1], layer=HOSTILE[2], class_name=HOSTILE[3], unit=HOSTILE[0]))
    odd.say(HOSTILE[0], rows=[i])
    found.answers[HOSTILE[1]] = odd
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium, or a skip where there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        found = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        yield found
        found.close()
