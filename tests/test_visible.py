"""Names shown to a person hide nothing."""

import io

import pytest
from rich.console import Console

from kdlens.progress import stages
from kdlens.visible import visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("nul\x00", r"nul\x00"),
        ("two\r\nlines", r"two\r\nlines"),
        ("\x9b31m", r"\x9b31m"),
        ("exe\u202etxt", r"exe\u202etxt"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("a\u200db", r"a\u200db"),
        ("\u200d", r"\u200d"),
        ("half \ud800", r"half \ud800"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("next\u2028line", r"next\u2028line"),
    ],
)
def test_hidden_characters_are_written_out(name, shown):
    assert visible(name) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "name", ["T-shirt", "95\xa0%", "فستان سهرة طويل", "👩🏽\u200d🚀🧥", "می\u200cخواهم", "naïve", "猫"]
)
def test_ordinary_names_stay(name):
    assert visible(name) == name


def test_progress_shows_no_control_character(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, width=100))
    with stages() as say:
        say("kd\x1b]0;title\x07: reading layer1")
    assert "kd\\x1b]0;title\\x07: reading layer1" in out.getvalue()
    assert "\x07" not in out.getvalue()


def test_what_takes_no_time_has_none(monkeypatch):
    out, clock = io.StringIO(), iter([0.0, 0.01, 0.01, 2.01])
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, width=100))
    monkeypatch.setattr("kdlens.progress.time.perf_counter", lambda: next(clock))
    with stages() as say:
        say("unchanged")
        say("computing")
        say.detail("half of it")
    assert out.getvalue().splitlines() == ["✓ unchanged", "✓ computing 2.0 s"]
