"""What a person sees of a training."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from kdlens.training.api import distill
from kdlens.training.events import Event
from kdlens.training.progress import Bars, progress_bars


def bars(text):
    return Progress(TextColumn("{task.description} {task.completed}/{task.total} {task.fields[summary]}"), console=text)


def test_the_bar_counts_updates_and_shows_the_last_epoch(data, make_network):
    console = Console(file=io.StringIO(), width=120)
    with bars(console) as progress:
        distill(None, make_network(4), data, method="labels", epochs=2, batch_size=16, progress=Bars(progress))
    shown = console.file.getvalue()
    assert "labels 6/6 epoch 2/2, loss" in shown


def test_two_trainings_get_two_bars(data, make_network):
    with bars(Console(file=io.StringIO())) as progress:
        listener = Bars(progress)
        distill(None, make_network(4), data, method="self-distillation", epochs=1, progress=listener)
        assert [task.description for task in progress.tasks] == ["generation-0", "self-distillation"]


def test_a_title_is_text_and_no_markup():
    with bars(Console(file=io.StringIO())) as progress:
        Bars(progress)(Event("start", "[red]x[/nonsense]", 0, 1, 0, 1))
        assert "nonsense" in progress.tasks[0].description


def test_without_a_terminal_an_epoch_is_a_line(capsys, data, make_network):
    with progress_bars() as listener:
        distill(None, make_network(4), data, method="labels", epochs=2, progress=listener, title="base[line]")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("base[line]: epoch 2/2, loss")


def test_quiet_is_silent(capsys):
    with progress_bars(quiet=True) as listener:
        assert listener is None
    assert capsys.readouterr() == ("", "")


def test_the_loop_itself_writes_nothing(capsys, data, make_network):
    distill(make_network(8), make_network(4), data, epochs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["step", "epoch"])
def test_bars_may_join_late(kind):
    with bars(Console(file=io.StringIO())) as progress:
        Bars(progress)(Event(kind, "kd", 1, 4, 0, 5, {"loss": 1.0, "top1": 50.0}))
        assert progress.tasks[0].completed == 5
