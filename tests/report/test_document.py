"""Report: what it answers, how it is saved, what it prints."""

import errno
import json
import os
import stat

import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.errors import RunFolderError, UnknownNameError
from kdlens.report import DataCard, Meta, ModelCard, Report


def small():
    answer = Answer("accuracy", Notes("Did it help?"))
    i = answer.add(Row("top1_gain", 2.1, model="kd", low=1.4, high=float("nan"), unit="points"))
    answer.say("HELPED: kd gains 2.1 points.", rows=[i], kind="verdict", tone="good")
    return Report({"accuracy": answer}, Meta("What did kd learn?"))


def test_answers_are_found_by_question(one_student):
    assert one_student["unicam"] is one_student.answers["unicam"]
    assert list(one_student) == [
        "accuracy", "unicam", "relevance", "reliance", "knowledge", "dynamics", "dissection", "class_similarity",
        "conflict",
    ]  # fmt: skip
    assert "unicam" in one_student
    assert len(one_student) == 9


def test_a_question_that_was_not_asked():
    with pytest.raises(UnknownNameError, match=r'no answer to "acuracy"; did you mean "accuracy"\? It has: accuracy'):
        small()["acuracy"]


def test_a_question_that_failed_says_why():
    report = Report({}, Meta(failed={"unicam": "DataError: no images"}))
    with pytest.raises(UnknownNameError, match='"unicam" could not be answered: DataError: no images'):
        report["unicam"]


def test_saved_is_what_html_gives(tmp_path):
    report = small()
    path = report.save(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report.html()
    assert os.listdir(path.parent) == ["report.html"]


def test_saved_may_be_read_by_whoever_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        path = small().save(tmp_path / "report.html")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_no_file_is_replaced_unasked(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(RunFolderError, match="exists; choose another name, or replace it with overwrite=True"):
        small().save(path)
    assert path.read_text() == "mine"
    small().save(path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RunFolderError, match="is a folder; give the name of a file in it"):
        small().save(tmp_path, overwrite=True)


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch, where):
    path = small().save(tmp_path / "report.html")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(
        RunFolderError, match=r"the disk is full while writing .*report.html; .* make room and run again"
    ):
        small().save(path, overwrite=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["report.html"]


def test_folders_are_not_made_by_the_way(tmp_path):
    with pytest.raises(RunFolderError, match=r"there is no folder .*/nope/x; make it, or choose another"):
        small().save(tmp_path / "nope" / "x" / "report.html")
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot write .*: .*file is a file; choose another folder"):
        small().save(tmp_path / "file" / "report.html")


def test_as_plain_values_it_survives_json(one_student):
    content = one_student.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    answer = small().to_dict()["answers"]["accuracy"]
    row = dict(zip(answer["columns"], answer["rows"][0], strict=True))
    assert (row["value"], row["low"], row["high"]) == (2.1, 1.4, None)
    assert answer["findings"][0]["rows"] == [0]


def test_arrays_stay_out_of_plain_values_but_are_named(one_student):
    shapes = one_student.to_dict()["answers"]["unicam"]["arrays"]
    assert shapes["image"] == [24, 32, 32, 3]


def test_the_text_wraps_its_sentences_and_cuts_none(three_students):
    text = str(three_students)
    lines = text.splitlines()
    assert len(lines) < 45  # five a question
    assert lines[0] == "Does a student inherit its teacher's eyes?"
    assert lines[1] == "fashion-scenes: 2,000 images, 10 classes"
    assert lines[2].startswith("HELPED: kd names")
    named = "accuracy, unicam, relevance, reliance, knowledge, dynamics, dissection, class_similarity, conflict"
    assert lines[-1] == f"9 answers: {named}"
    assert all(len(line) <= 118 for line in lines)
    assert "…" not in text
    whole = text.replace("\n  ", " ")
    found = [f for answer in three_students.answers.values() for f in answer.findings]
    assert all(f.text in whole for f in found if f.kind in ("verdict", "alert"))
    for answer in three_students.answers.values():
        assert next(f.text for f in answer.findings if f.kind == "finding") in whole
    assert repr(three_students) == str(three_students)


def test_the_text_names_alerts_and_failures():
    text = str(Report({}, Meta(alerts=["one", "two"], failed={"unicam": "x"})))
    assert "2 alerts: read them before you trust a number\n- one\n- two\n" in text
    assert "unicam failed: x" in text


def test_the_text_of_many_alerts_says_how_many_there_are_more():
    text = str(Report({}, Meta(alerts=[f"alert {i}" for i in range(9)])))
    assert "- alert 5\n- and 3 more in the report" in text


def test_meta_survives_json():
    meta = Meta(
        "t", "c", {"python": "3.11"}, "a: 1", [ModelCard("kd", "student", 1, layers=["a", "b"])],
        DataCard("d", 3, ["x"], [3, 8, 8]), ["careful"], {"unicam": "no"},
    )  # fmt: skip
    assert Meta.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta


def test_an_answer_shows_itself(one_student):
    assert "<table" in one_student["accuracy"]._repr_html_()
    assert one_student["accuracy"].figure().axes
