"""What a notebook shows: one small static card, its styles held inside by a random id; no script, nothing fetched."""

import secrets
from collections.abc import Mapping, Sequence

from kdlens.answer import Answer
from kdlens.report.blocks import Sentence, Table
from kdlens.report.gallery import KINDS, scale_of, students_in
from kdlens.report.images import baked_uri, picture_uri
from kdlens.report.meta import Meta
from kdlens.report.names import anchors, title_of
from kdlens.report.sentences import key_findings, not_answered, sentences, told
from kdlens.report.setting import Setting
from kdlens.report.tables import models_table, summary_table

LIMIT = 300_000
"""Most bytes of a card."""

_THUMBNAILS = 6
_ROWS = 12
_LONGEST = 300


def answer_card(answer: Answer) -> str:
    """One answer as a card: verdict, findings, up to six pictures, its first numbers.

    Example:
        >>> from kdlens.answer import Notes, Row
        >>> answer = Answer("accuracy", Notes("Did it help?"), [Row("top1", 91.5, model="<kd>", unit="%")])
        >>> card = answer_card(answer)
        >>> "&lt;kd&gt;" in card, "<script" in card
        (True, False)
    """
    table = _shortened(summary_table(answer, most=_ROWS))
    return _card(answer.notes.question or title_of(answer.question), [answer], [table], Meta())


def report_card(answers: Mapping[str, Answer], meta: Meta) -> str:
    """A report as a card: verdicts, alerts, key findings, up to six pictures, the networks at a glance."""
    networks = _shortened(models_table(meta, answers.get("accuracy")))
    return _card(meta.title, list(answers.values()), [networks] if networks.rows else [], meta)


def _card(title: str, answers: Sequence[Answer], tables: Sequence[Table], meta: Meta) -> str:
    from kdlens.report.page import templates

    names = anchors(answer.question for answer in answers)
    verdicts = [s for answer in answers for s in sentences(answer, names[answer.question], "verdict")]
    said = [told(sentences(answer, names[answer.question], "verdict", "finding")) for answer in answers]
    setting = Setting(meta, {answer.question: answer for answer in answers}, names)
    alerts = [s for answer in answers for s in sentences(answer, names[answer.question], "alert")]
    failed = [Sentence(not_answered(question, error), "bad", "alert") for question, error in meta.failed.items()]
    first = [Sentence(text, "bad", "alert") for text in meta.alerts]
    card = templates().get_template("card.html")
    for side in (112, 72, 0):  # smaller pictures, then none, until the card is small enough
        html = card.render(
            scope=f"kdlens-{secrets.token_hex(6)}",
            title=title[:_LONGEST],
            verdicts=[v for v in verdicts if v.badge][:6],
            findings=key_findings(said, most=6)[:8],
            alerts=[*failed, *first, *alerts][:6],
            thumbnails=_thumbnails(answers, setting, side) if side else [],
            tables=tables,
        )
        if len(html.encode("utf-8")) <= LIMIT:
            break
    return html


def _thumbnails(answers: Sequence[Answer], setting: Setting, side: int) -> list[tuple[str, str, str]]:
    """(words for a screen reader, caption, picture): one image, then its maps in the order of the gallery."""
    for answer in answers:
        arrays = answer.arrays
        if "image" not in arrays or not len(arrays["image"]):
            continue
        students = students_in(arrays, setting)
        wanted = [
            (k, f"map.{k}" if k in ("teacher", "baseline") else f"map.{k}.{s}") for k in KINDS for s in students[:1]
        ]
        found = [(kind, name) for kind, name in wanted if name in arrays][: _THUMBNAILS - 1]
        if not found:
            continue
        image, scale = arrays["image"][0], scale_of(arrays, [name for _, name in found])
        shown = [("Image", "image", picture_uri(image, side=side))]
        return shown + [
            (
                f"{words[0].upper()}{words[1:]} map on the image",
                words,
                baked_uri(image, arrays[name][0], scale, side=side),
            )
            for kind, name in found
            for words in (kind if len(students) < 2 or name == f"map.{kind}" else f"{kind} ({students[0]})",)
        ]
    return []


def _shortened(table: Table) -> Table:
    return Table(
        title=table.title, note=table.note, columns=table.columns, rows=table.rows[:_ROWS], numeric=table.numeric
    )
