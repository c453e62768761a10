"""What a section of the report is made of: blocks that hold texts and positions ready to be set by a template."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from kdlens.report.axis import Axis


@dataclass(frozen=True, kw_only=True)
class Block:
    """Base of all blocks.

    Attributes:
        title: heading over it; may be empty.
        note: a sentence under it.
        student: place of the student it is about, for the student picker; `None` shows it always.
    """

    template: ClassVar[str] = ""

    title: str = ""
    note: str = ""
    student: int | None = None


@dataclass(frozen=True, kw_only=True)
class Text(Block):
    """Paragraphs."""

    template: ClassVar[str] = "text"
    paragraphs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Failure(Block):
    """Something that could not be computed or drawn, and the error."""

    template: ClassVar[str] = "failure"
    error: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a legend: the colour's class, the marker's shape, and the words."""

    css: str
    shape: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart(Block):
    """A drawing with its legend."""

    template: ClassVar[str] = "chart"
    drawing: Markup = field(default_factory=Markup)
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Mark:
    """A value on a strip, in per cent of the axis: dot, whisker from `low` to `high`, dots of single seeds."""

    at: float | None
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()
    chance: float | None = None
    css: str = "student"
    shape: str = "circle"


@dataclass(frozen=True)
class StripRow:
    """One line of a strip: label, marks, and the numbers as text with a smaller second line."""

    label: str
    marks: tuple[Mark, ...]
    text: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Strip(Block):
    """Values with intervals on one horizontal axis, one line each.

    Attributes:
        rows: the lines.
        axis: what the positions refer to.
        zero: position of zero, where it is worth a line.
        zone: positions between which a difference does not matter.
        legend: what the colours mean, where the labels do not say it.
        heads: headings of the columns, for screen readers.
    """

    template: ClassVar[str] = "strip"
    rows: tuple[StripRow, ...] = ()
    axis: Axis
    zero: float | None = None
    zone: tuple[float, float] | None = None
    legend: tuple[Key, ...] = ()
    heads: tuple[str, str, str] = ("", "Chart", "Value [95 % interval]")


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `why` is the reason for a dash, `detail` a second, smaller line."""

    text: str
    kind: str = "text"
    why: str = ""
    detail: str = ""
    css: str = ""


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """A table; the first cell of every row is its heading, `anchors` are the ids of the rows."""

    template: ClassVar[str] = "table"
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    numeric: tuple[bool, ...] = ()
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Grid(Block):
    """Blocks side by side where there is room."""

    template: ClassVar[str] = "grid"
    blocks: tuple[Block, ...] = ()
    least: str = ""


@dataclass(frozen=True, kw_only=True)
class Picker(Block):
    """Blocks of which a reader may choose those of one student; without style sheets all are shown."""

    template: ClassVar[str] = "picker"
    name: str = ""
    students: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    everyone: bool = True


@dataclass(frozen=True)
class Sentence:
    """A finding ready to be set.

    Attributes:
        text: the sentence, without its badge.
        tone: good, bad or neutral.
        kind: verdict, finding or alert.
        badge: HELPED, NO EFFECT, HURT, INCONCLUSIVE, or empty.
        subject: the network it is about, if its rows name one.
        headline: the number the sentence is about and its interval, for verdicts.
        links: (anchor, label) of every supporting row, at least one.
        question: title of the question it answers.
    """

    text: str
    tone: str
    kind: str
    badge: str = ""
    subject: str = ""
    headline: tuple[str, str] = ("", "")
    links: tuple[tuple[str, str], ...] = ()
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question's part of the report.

    Attributes:
        anchor: its id in the page.
        title: its heading.
        lead: the question as a person would ask it.
        sentences: its findings and alerts.
        blocks: what is shown below them.
        answered: whether there is an answer, with a table and notes.
    """

    anchor: str
    title: str
    lead: str = ""
    sentences: tuple[Sentence, ...] = ()
    blocks: Sequence[Block] = ()
    answered: bool = True
