import errno
import json
import os

import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.errors import RunFolderError
from kdlens.runs import RunFolder, fingerprint_of


def an_answer(value=1.0):
    answer = Answer("accuracy", Notes("?"))
    answer.add(Row("top1", value))
    return answer


def test_an_answer_is_found_again_only_for_the_same_fingerprint(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_answer(an_answer(), "abc")
    assert run.load_answer("accuracy", "abc").value("top1") == 1.0
    assert run.load_answer("accuracy", "xyz") is None
    assert run.load_answer("unicam", "abc") is None
    assert RunFolder(tmp_path / "run").saved_questions() == ["accuracy"]


def test_others_may_read_what_the_umask_allows(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_answer(an_answer(), "abc")
    mask = os.umask(0)
    os.umask(mask)
    assert (run.path / "run.json").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (run.path / "answers/accuracy").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(RunFolderError, match="not empty and is not a kdlens run"):
        RunFolder(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex")


def test_a_damaged_answer_is_computed_again(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_answer(an_answer(), "abc")
    (run.path / "answers/accuracy/arrays.safetensors").write_bytes(b"\x00")
    assert run.load_answer("accuracy", "abc") is None


def test_a_swap_killed_half_way_is_finished(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_answer(an_answer(), "abc")
    place = run.path / "answers"
    os.rename(place / "accuracy", place / ".old-accuracy")  # the moment between the two renames
    assert run.load_answer("accuracy", "abc").value("top1") == 1.0


def test_half_swapped_answers_are_listed_under_their_names_and_unfinished_ones_are_not(tmp_path):
    run = RunFolder(tmp_path / "run")
    place = run.path / "answers"
    run.save_answer(an_answer(), "abc")
    os.rename(place / "accuracy", place / ".new-accuracy-1")  # killed before the first rename
    run.save_answer(an_answer(), "abc")
    os.rename(place / "accuracy", place / ".old-accuracy")  # killed between the two
    assert run.saved_questions() == ["accuracy"]
    assert run.load_answer("accuracy", "abc").value("top1") == 1.0


def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    run.save_answer(an_answer(1.0), "abc")
    run.write_text("study.yaml", "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="disk is full"):
        run.write_text("study.yaml", "new")
    monkeypatch.setattr(Answer, "save", full)
    with pytest.raises(RunFolderError, match="disk is full"):
        run.save_answer(an_answer(2.0), "abc")
    assert (run.path / "study.yaml").read_text() == "old"
    assert run.load_answer("accuracy", "abc").value("top1") == 1.0
    assert [p.name for p in (run.path / "answers").iterdir()] == ["accuracy"]


def test_fingerprints_depend_on_content_and_code_not_on_order(monkeypatch):
    before = fingerprint_of({"a": 1, "b": [2]})
    assert before == fingerprint_of({"b": [2], "a": 1})
    assert before != fingerprint_of({"a": 1, "b": [3]})
    monkeypatch.setattr("kdlens.runs.__version__", "99")
    assert before != fingerprint_of({"a": 1, "b": [2]})


def test_names_no_file_can_hold_are_written_out(tmp_path):
    """Class names and command lines may hold halves of characters."""
    run = RunFolder(tmp_path / "run")
    run.write_json("meta.json", {"classes": ["a\udcff"]})
    run.write_text("study.yaml", "root: a\udcff")
    assert (tmp_path / "run/study.yaml").read_text() == "root: a\\udcff"
    assert json.loads((tmp_path / "run/meta.json").read_text()) == {"classes": ["a\udcff"]}
