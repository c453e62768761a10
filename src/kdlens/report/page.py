"""The page: sections, styles, script and numbers put into one file that asks nobody for anything."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from kdlens.answer import Answer
from kdlens.report.blocks import Block, Grid, Picker, Section, Sentence
from kdlens.report.cells import Cells
from kdlens.report.gallery import Gallery
from kdlens.report.layers import shape_path
from kdlens.report.meta import Meta
from kdlens.report.names import anchors, title_of
from kdlens.report.numbers import short_name
from kdlens.report.payload import embedded_json, report_dict
from kdlens.report.sections import all_sections, in_order
from kdlens.report.sections.accuracy import gain_strip, top1_strip
from kdlens.report.sentences import key_findings, not_answered, sentences, told
from kdlens.report.setting import LEVELS, Detail, Setting
from kdlens.report.tables import answer_table, models_table, weights_table
from kdlens.visible import visible

LIMIT = 5_000_000
"""Most bytes of a page."""

_PICKED = Markup('.picker:has(>.pick input[value="{0}"]:checked) .of:not(.of-{0}){{display:none}}\n')

_HERE = Path(__file__).parent


def render(answers: Mapping[str, Answer], meta: Meta) -> str:
    """The page with as much detail as fits into `LIMIT` bytes."""
    page = ""
    for detail in LEVELS:
        page = render_at(answers, meta, detail)
        if len(page.encode("utf-8")) <= LIMIT:
            break
    return page


def render_at(answers: Mapping[str, Answer], meta: Meta, detail: Detail) -> str:
    """The page at one level of detail."""
    names = anchors([*answers, *(question for question in meta.failed if question not in answers)])
    setting = Setting(meta, answers, names, detail)
    sections = all_sections(setting)
    ordered = {question: answers[question] for question in in_order(setting) if question in answers}
    css = _style(sections)
    script = _asset("report.js")
    return (
        templates()
        .get_template("page.html")
        .render(
            meta=meta,
            sections=sections,
            **_front(setting, sections),
            models=models_table(meta, answers.get("accuracy")),
            weights=weights_table(meta),
            tables=[
                (q, names[q], title_of(q), answer_table(a, names[q], most=detail.rows)) for q, a in ordered.items()
            ],
            methods=[(names[q], title_of(q), answer.notes) for q, answer in ordered.items()],
            css=css,
            script=script,
            policy=_policy(css, script),
            payload=embedded_json(report_dict(answers, meta)),
        )
    )


@cache
def templates() -> Environment:
    """The templates: everything escaped, hidden characters written out, and a name that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["lines"] = _lines
    environment.filters["short_name"] = short_name
    environment.globals["told"] = told
    environment.globals["marker"] = lambda shape, radius=5.0: shape_path(shape, 0.0, 0.0, radius)
    return environment


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """A text of several lines, whose ends stay."""
    return Markup("\n").join(escape(visible(line.rstrip("\r").expandtabs(4))) for line in text.split("\n"))


def _front(setting: Setting, sections: Sequence[Section]) -> dict[str, Any]:
    """What stands before the sections: verdicts, key findings, alerts."""
    verdicts = [s for section in sections for s in section.sentences if s.kind == "verdict" and s.badge]
    accuracy = setting.answers.get("accuracy")
    strips = (gain_strip(accuracy, setting), top1_strip(accuracy, setting)) if accuracy else ()
    blocks = tuple(block for block in strips if block)
    return {
        "verdicts": verdicts,
        "rule": setting.anchors.get("accuracy") if verdicts else None,
        "overview": Grid(blocks=blocks, least="wide"),
        "key": key_findings(told(section.sentences) for section in sections),
        "alerts": _alerts(setting),
    }


def _alerts(setting: Setting) -> list[Sentence]:
    """What the reader must know first: what failed, what the doctor said, what the answers warn of."""
    failed = [
        Sentence(not_answered(question, error), "bad", "alert", links=((anchor, ""),))
        for question, error in setting.meta.failed.items()
        for anchor in (setting.anchors[question],)
    ]
    first = [Sentence(text, "bad", "alert", links=(("models", ""),)) for text in setting.meta.alerts]
    said = [s for q, answer in setting.answers.items() for s in sentences(answer, setting.anchors[q], "alert")]
    return [*failed, *first, *said]


def _style(sections: Sequence[Section]) -> Markup:
    """The style sheet with the pictures under the maps, and one rule for each student a reader may pick."""
    blocks = [block for section in sections for block in _walk(section.blocks)]
    most = max((len(block.students) for block in blocks if isinstance(block, Picker)), default=0)
    pictures = [block.style for block in blocks if isinstance(block, Gallery | Cells)]
    colours = _asset("colours.css").replace("/* dark */", _asset("dark.css"))
    sheets = [colours, *(_asset(f"{name}.css") for name in ("report", "charts", "gallery", "cells", "units"))]
    return Markup("").join([*sheets, *(_PICKED.format(place) for place in range(most)), *pictures])


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Grid | Picker):
            yield from _walk(block.blocks)


def _policy(css: str, script: str) -> str:
    """What the page may do: its own style, its own script, pictures inside it; nothing from outside."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _asset(name: str) -> Markup:
    return Markup((_HERE / "assets" / name).read_text(encoding="utf-8"))  # noqa: S704 - a file of this package
