"""What the rows of attention say, in sentences: routing and tree of a mixture of experts, virtual attention."""

import math

from kdlens.answer import Answer, Row
from kdlens.questions.class_similarity.categories import Categories
from kdlens.questions.conflict.findings import find
from kdlens.questions.conflict.rows_routing import Reports, tree
from kdlens.questions.conflict.seen import Study
from kdlens.questions.phrases import counted, listed, number, p_value, points, quoted, span

_UNSURE = 0.1
"""Margin of the largest weight over the second below which a class's place in the tree is close to a toss."""


def say_routing(answer: Answer, study: Study, reports: Reports, known: Categories | None) -> None:
    """Add entropy, grouping and tree of every student that is a mixture of experts, and what virtual attention does."""
    for student in study.students:
        keys = [key for key in study.keys(student) if key in reports]
        if keys and reports[keys[0]].effective:
            _entropy(answer, study, student)
            _grouping(answer, student, known)
            _tree(answer, study, student, reports)
        elif keys:
            _virtual(answer, student)


def _entropy(answer: Answer, study: Study, student: str) -> None:
    """Entropy as observed: the objective is one of many things it depends on, so no direction is claimed."""
    rows = [(i, row) for i, row in _over_seeds(answer, "attention_entropy", student)]
    if not rows:
        return
    told = [f"{row.layer} {_with(row)} of at most {number(row.chance or 0.0, 2)}" for _, row in rows]
    changes = _over_seeds(answer, "attention_entropy_change", student)
    against = ""
    if changes:
        each = [f"{row.layer} {_with(row, signed=True)}" for _, row in changes]
        against = f" Against {changes[0][1].compared_with}: {listed(each)}."
    temperature = next((row for _, row in _over_seeds(answer, "attention_temperature", student)), None)
    at = f" at T = {temperature.value:g}" if temperature else ""
    text = (
        f"Attention of {student} over its experts{at} has an entropy, as observed, of {listed(told)} nats "
        f"({counted(len(study.keys(student)), 'seed')}).{against} Entropy also depends on T, the length of the "
        "training and the scale of its loss, so a difference alone does not say what distillation did."
    )
    answer.say(text, rows=[i for i, _ in (*rows, *changes)])


def _grouping(answer: Answer, student: str, known: Categories | None) -> None:
    if known is None:
        return
    pure = find(answer, "tree_purity", model=student, seed=None)
    ari = find(answer, "routing_ari", model=student, seed=None)
    if pure is None or ari is None:
        return
    seeds = [row for row in answer.select(metric="tree_purity", model=student) if row.seed is not None]
    p = f", {p_value(pure[1].p)}" if pure[1].p is not None else ""
    each = f" (seed by seed: {listed([p_value(row.p) for row in seeds])})" if len(seeds) > 1 else ""
    text = (
        f"Classes that share an expert in {student}: {number(100 * pure[1].value, 0)} % belong to the commonest of "
        f"{counted(len(known.members), 'superclass', 'superclasses')} in their group, "
        f"{number(100 * (pure[1].chance or 0), 0)} % by chance{p}{each}. As many clusters of their attention "
        f"agree with the superclasses by an adjusted Rand index of {_with(ari[1])} "
        "(0 by chance, 1 the same)."
    )
    answer.say(text, rows=[pure[0], ari[0]])


def _tree(answer: Answer, study: Study, student: str, reports: Reports) -> None:
    """The tree of the first seed: which classes end up with one expert, and whether that is decided."""
    key = study.keys(student)[0]
    found = tree(reports[key])
    groups: dict[int, list[str]] = {}
    for name, expert in zip(found.classes, found.groups(), strict=True):
        groups.setdefault(expert, []).append(quoted(name, most=30))
    told = "; ".join(f"expert {expert}: {listed(names, most=6)}" for expert, names in sorted(groups.items()))
    tossed = sum(margin < _UNSURE for margin in found.margins[-1])
    unsure = (
        f" For {counted(tossed, 'class', 'classes')} of {len(found.classes)} the first expert is less than {_UNSURE:g} "
        "above the second, so that place is not settled."
        if tossed
        else ""
    )
    row = _over_seeds(answer, "attention_information", student)
    text = f"In the tree of {study.label(key)}, classes of one expert of the last level are, {told}.{unsure}"
    answer.say(text, rows=[i for i, _ in row])


def _virtual(answer: Answer, student: str) -> None:
    found = {m: find(answer, f"vam_{m}", model=student) for m in ("top1_trained", "top1_even", "top1_change")}
    loss = find(answer, "vam_nll_change", model=student)
    extra = find(answer, "vam_parameters", model=student)
    if any(one is None for one in found.values()) or loss is None or extra is None:
        return
    trained, even, change = (one[1] for one in found.values() if one is not None)
    text = (
        f"Virtual attention of {student} as trained: top-1 {number(trained.value)} %, with even attention "
        f"{number(even.value)} %, a difference of {points(change.value, change.low, change.high)} "
        f"({p_value(change.p)}); log-loss {number(loss[1].value, 3, signed=True)}{span(loss[1].low, loss[1].high, 3)} "
        f"nats. That is what the trained network loses without it, not what training with it gained. It takes "
        f"{counted(extra[1].value, 'parameter')}, none once it is folded."
    )
    answer.say(text, rows=[one[0] for one in (*found.values(), loss, extra) if one is not None])


def _over_seeds(answer: Answer, metric: str, model: str) -> list[tuple[int, Row]]:
    rows = answer.select(metric=metric, model=model, seed=None)
    return [(answer.rows.index(row), row) for row in rows if not math.isnan(row.value)]


def _with(row: Row, *, signed: bool = False) -> str:
    return f"{number(row.value, 2, signed=signed)}{span(row.low, row.high, 2)}"
