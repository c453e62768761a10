import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.errors import RunFolderError
from kdlens.runs import RunFolder, fingerprint_of, write_atomically


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


def test_killed_while_writing_leaves_the_old_or_the_new_file(tmp_path):
    target = tmp_path / "file"
    write_atomically(target, b"a" * 1000)
    script = textwrap.dedent(f"""
        from pathlib import Path
        from kdlens.runs import write_atomically
        import itertools
        for i in itertools.cycle("bc"):
            write_atomically(Path({str(target)!r}), i.encode() * 5_000_000)
            print(flush=True)
    """)
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    content = target.read_bytes()
    assert len(content) == 5_000_000
    assert len(set(content)) == 1


def test_fingerprints_depend_on_content_and_code_not_on_order(monkeypatch):
    before = fingerprint_of({"a": 1, "b": [2]})
    assert before == fingerprint_of({"b": [2], "a": 1})
    assert before != fingerprint_of({"a": 1, "b": [3]})
    monkeypatch.setattr("kdlens.runs.__version__", "99")
    assert before != fingerprint_of({"a": 1, "b": [2]})
