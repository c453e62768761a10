"""How the answer to each question is shown: one renderer a question, and one for questions nobody knew of.

A renderer takes an answer and the setting of the report and returns blocks. Third parties add theirs with
`SECTIONS.register("my-question")` or through the entry-point group `kdlens.sections`.
"""

from collections.abc import Callable, Sequence

from kdlens.answer import Answer
from kdlens.errors import log_failure
from kdlens.registry import Registry
from kdlens.report.blocks import Block, Failure, Section
from kdlens.report.names import title_of
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.sentences import sentences
from kdlens.report.setting import Setting

Renderer = Callable[[Answer, Setting], Sequence[Block]]

SECTIONS: Registry[Renderer] = Registry(
    "section",
    {
        "accuracy": "kdlens.report.sections.accuracy:accuracy_blocks",
        "unicam": "kdlens.report.sections.unicam:unicam_blocks",
        "relevance": "kdlens.report.sections.relevance:relevance_blocks",
        "reliance": "kdlens.report.sections.reliance:reliance_blocks",
        "knowledge": "kdlens.report.sections.knowledge:knowledge_blocks",
        "dynamics": "kdlens.report.sections.dynamics:dynamics_blocks",
        "dissection": "kdlens.report.sections.dissection:dissection_blocks",
        "conflict": "kdlens.report.sections.conflict:conflict_blocks",
        "class_similarity": "kdlens.report.sections.class_similarity:class_similarity_blocks",
    },
    group="kdlens.sections",
)

ORDER = (
    "unicam",
    "relevance",
    "accuracy",
    "reliance",
    "knowledge",
    "dynamics",
    "dissection",
    "class_similarity",
    "conflict",
)
"""Sections that come first, in this order; others follow in the order they were asked."""


def section_of(answer: Answer, setting: Setting) -> Section:
    """The section of one answer; a renderer that fails costs its drawings, not the report."""
    known = answer.question in SECTIONS  # a registry has no .get: a name it lacks is an error
    renderer = SECTIONS[answer.question] if known else generic_blocks
    try:
        blocks = tuple(renderer(answer, setting))
    except Exception as error:  # noqa: BLE001 - whatever it is, the numbers can be shown
        log_failure(f"section {answer.question} could not be drawn", error)
        text = f"{type(error).__name__}: {error}"
        blocks = (Failure(title="This section could not be drawn", error=text), *generic_blocks(answer, setting))
    anchor = setting.anchors[answer.question]
    return Section(
        anchor=anchor,
        title=title_of(answer.question),
        lead=answer.notes.question,
        sentences=sentences(answer, anchor, "verdict", "finding", "alert"),
        blocks=blocks,
    )


def failed_section(question: str, error: str, anchor: str) -> Section:
    """The section of a question that gave no answer."""
    failure = Failure(title="This question could not be answered", error=error)
    return Section(anchor=anchor, title=title_of(question), blocks=(failure,), answered=False)


def in_order(setting: Setting) -> list[str]:
    """All questions, answered or failed, in the order of the page."""
    names = [*setting.answers, *(q for q in setting.meta.failed if q not in setting.answers)]
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def all_sections(setting: Setting) -> list[Section]:
    """Every section, in the order of the page."""
    return [
        section_of(setting.answers[name], setting)
        if name in setting.answers
        else failed_section(name, setting.meta.failed[name], setting.anchors[name])
        for name in in_order(setting)
    ]
