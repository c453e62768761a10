"""Report: the answers of a study and how they were made, as one page."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdlens.answer import Answer
from kdlens.errors import RunFolderError, UnknownNameError, did_you_mean
from kdlens.files import explained, require_folder, write_atomically
from kdlens.report.meta import Meta


@dataclass(repr=False)
class Report:
    """The answers of a study; in a notebook it shows itself, `save` writes one HTML file.

    Attributes:
        answers: question to answer, in the order asked.
        meta: networks, data, command, environment, alerts and failures.

    Example:
        >>> from kdlens.answer import Answer, Notes, Row
        >>> answer = Answer("accuracy", Notes("Did distillation help?"))
        >>> i = answer.add(Row("top1_gain", 2.1, model="kd", unit="points"))
        >>> answer.say("HELPED: kd gains 2.1 points.", rows=[i], kind="verdict", tone="good")
        >>> report = Report({"accuracy": answer}, Meta("What did kd learn?"))
        >>> report["accuracy"].value("top1_gain")
        2.1
        >>> report.html().startswith("<!DOCTYPE html>")
        True
    """

    answers: dict[str, Answer]
    meta: Meta = field(default_factory=Meta)

    def __getitem__(self, question: str) -> Answer:
        """The answer to a question.

        Raises:
            UnknownNameError: it was not asked, or could not be answered.
        """
        if question in self.answers:
            return self.answers[question]
        if question in self.meta.failed:
            raise UnknownNameError(f'question "{question}" could not be answered: {self.meta.failed[question]}')
        hint = did_you_mean(question, self.answers) or "."
        raise UnknownNameError(
            f'this report has no answer to "{question}"{hint} It has: {", ".join(self.answers) or "none"}'
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __contains__(self, question: object) -> bool:
        return question in self.answers

    def html(self) -> str:
        """The whole report as one HTML page of at most 5 MB that needs nothing else."""
        from kdlens.report.page import render  # templates and pictures, only needed here

        return render(self.answers, self.meta)

    def save(self, path: str | os.PathLike[str] = "report.html", *, overwrite: bool = False) -> Path:
        """Write the page; whole, or not at all.

        Args:
            path: the file, in a folder that exists.
            overwrite: whether a file that exists may be replaced.

        Raises:
            RunFolderError: there is a file already, no such folder, or it cannot be written. A file that was there is
                left as it was.
        """
        path = Path(path)
        if path.is_dir():
            raise RunFolderError(f'{path} is a folder; give the name of a file in it, e.g. "{path / "report.html"}"')
        if path.exists() and not overwrite:
            raise RunFolderError(f"{path} exists; choose another name, or replace it with overwrite=True")
        if in_the_way := next((place for place in path.parents if place.is_file()), None):
            raise RunFolderError(f"cannot write {path}: {in_the_way} is a file; choose another folder")
        require_folder(path)
        content = self.html().encode("utf-8")
        with explained(path):
            write_atomically(path, content)
        return path

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays as plain values that JSON can hold; undefined numbers are None."""
        from kdlens.report.payload import report_dict

        return report_dict(self.answers, self.meta)

    def __str__(self) -> str:
        from kdlens.report.summary import text_summary

        return text_summary(self.answers, self.meta)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from kdlens.report.notebook import report_card

        return report_card(self.answers, self.meta)
