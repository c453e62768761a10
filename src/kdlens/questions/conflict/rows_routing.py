"""Rows of attention: per level of a mixture of experts or per layer with virtual attention, and groups of classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.errors import StatisticsError
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME, attention_modules
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.conflict.routing import AttentionReport, LevelReport, attention_report
from kdlens.questions.conflict.rows import within
from kdlens.questions.conflict.seen import Key, Study
from kdlens.questions.conflict.tasks import Grouping, clustered, compare_groups, task_distances
from kdlens.questions.conflict.tree import NeuralTree, tree_of
from kdlens.questions.rows import with_interval
from kdlens.stats.resampling import seed_interval

Reports = Mapping[Key, AttentionReport]

_OF_LEVEL = ("attention_entropy", "attention_information", "attention_spread", "attention_temperature", "dead_experts")


def reports_of(study: Study) -> dict[Key, AttentionReport]:
    """The attention of every network that has some."""
    found = {}
    for key, subject in study.subjects.items():
        if any(True for _ in attention_modules(unwrap(subject.network))):
            names = study.classes if isinstance(unwrap(subject.network), HME) else None
            found[key] = attention_report(subject.network, names)
    return found


def tree(report: AttentionReport) -> NeuralTree:
    """The tree of a mixture of experts."""
    return tree_of([level.weights for level in report.levels], report.classes)


def add_attention(answer: Answer, study: Study, reports: Reports) -> None:
    """Add what describes every attention, and the change of entropy and information from baseline to student."""
    for name in study.roles:
        keys = [key for key in study.keys(name) if key in reports]
        if not keys:
            continue
        for place, level in enumerate(reports[keys[0]].levels):
            for metric in _OF_LEVEL:
                each = {key: _value(metric, reports[key].levels[place]) for key in keys}
                unit, chance = _unit(metric), math.log(level.senders) if metric == "attention_entropy" else None
                base = Row(metric, 0.0, model=name, layer=_place(level), unit=unit, chance=chance)
                _add_over_seeds(answer, base, each, _range(metric, level))
    for student in study.students:
        keys = study.keys(student)
        if all(key in reports and _alike(reports, key, study.partners[key]) for key in keys):
            _add_changes(answer, study, student, reports)


def _add_changes(answer: Answer, study: Study, student: str, reports: Reports) -> None:
    keys = study.keys(student)
    for place, level in enumerate(reports[keys[0]].levels):
        for metric in ("attention_entropy", "attention_information"):
            each = {
                key: _value(metric, reports[key].levels[place])
                - _value(metric, reports[study.partners[key]].levels[place])
                for key in keys
            }
            base = Row(f"{metric}_change", 0.0, model=student, compared_with=study.baseline(student), chance=0.0)
            reach = math.log(level.senders)
            _add_over_seeds(answer, replace(base, layer=_place(level), unit=_unit(metric)), each, (-reach, reach))


def add_groups(
    answer: Answer, study: Study, reports: Reports, known: Categories | None, *, draws: int, seed: int
) -> None:
    """Add how the classes' experts, and clusters of their rows, fit the superclasses; for mixtures of experts."""
    if known is None:
        return
    number = known.number(len(study.classes))
    for name in study.roles:
        keys = [key for key in study.keys(name) if key in reports and reports[key].effective]
        found: dict[str, dict[Key, Grouping]] = {"tree": {}, "routing": {}}
        for key in keys:
            for how, groups in _groups(reports[key], len(known.members)).items():
                try:
                    found[how][key] = compare_groups(groups, number, seed=seed, draws=draws)
                except StatisticsError:  # superclasses of fewer than three classes
                    return
        for how, of_seeds in found.items():
            if of_seeds:
                _add_grouping(answer, Row("", 0.0, model=name), how, of_seeds)


def _add_grouping(answer: Answer, base: Row, how: str, found: Mapping[Key, Grouping]) -> None:
    for what in ("ari", "purity"):
        rows = [
            replace(
                base,
                metric=f"{how}_{what}",
                value=getattr(one, what),
                seed=key[1],
                chance=getattr(one, f"{what}_chance"),
                p=getattr(one, f"{what}_p"),
                unit="",
            )
            for key, one in found.items()
        ]
        for row in rows:
            answer.add(row)
        chances = [row.chance for row in rows if row.chance is not None]
        whole = replace(rows[0], seed=None, chance=math.fsum(chances) / len(chances))
        whole = with_interval(whole, seed_interval([row.value for row in rows]))
        whole = within(replace(whole, n=None), (0.0 if what == "purity" else -1.0, 1.0))
        answer.add(replace(whole, p=rows[0].p if len(rows) == 1 else None))


def _groups(report: AttentionReport, count: int) -> dict[str, Sequence[int]]:
    """The last expert of every class in the tree, and clusters of the classes' attention over those experts."""
    rows: Tensor = report.levels[-1].weights
    count = min(count, len(rows))
    return {"tree": tree(report).groups(), "routing": clustered(task_distances(rows), count).tolist()}


def _add_over_seeds(answer: Answer, base: Row, each: Mapping[Key, float], limits: tuple[float, float]) -> None:
    """A row for every seed, and their mean with Student's t interval over seeds; attention has no other spread."""
    for key, value in each.items():
        answer.add(replace(base, value=value, seed=key[1]))
    found = with_interval(base, seed_interval(list(each.values())))
    answer.add(within(replace(found, n=None), limits))


def _range(metric: str, level: LevelReport) -> tuple[float, float]:
    """What a value can be; few seeds would give ends beyond."""
    return (0.0, math.log(level.senders) if _unit(metric) else math.inf)


def _alike(reports: Reports, first: Key, second: Key) -> bool:
    if second not in reports:
        return False
    shapes = [[tuple(level.weights.shape) for level in reports[key].levels] for key in (first, second)]
    return shapes[0] == shapes[1]


def _place(level: LevelReport) -> str:
    """What a row is about: a level of experts, or a layer with virtual attention."""
    return level.reads if level.reads.startswith("levels.") else level.name


def _value(metric: str, level: LevelReport) -> float:
    return {
        "attention_entropy": level.mean_entropy,
        "attention_information": level.mutual_information,
        "attention_spread": level.logit_spread,
        "attention_temperature": level.temperature,
        "dead_experts": float(len(level.dead)),
    }[metric]


def _unit(metric: str) -> str:
    return "nats" if metric in ("attention_entropy", "attention_information") else ""
