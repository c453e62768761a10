"""Progress bars for trainings, drawn from their events."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kdlens.training.events import Event, Listener

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bars:
    """Turns events into one bar a training.

    Args:
        progress: a started `rich.progress.Progress` with a `summary` field.
    """

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._summary = ""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        from rich.markup import escape

        if event.kind == "start" or self._task is None:
            total = event.epochs * event.steps
            self._summary = ""
            self._task = self._progress.add_task(escape(event.title), total=total, summary="")
        if event.kind == "epoch":
            self._summary = summarise(event)
        done = event.epoch * event.steps + event.step
        self._progress.update(self._task, completed=done, summary=self._summary)


def summarise(event: Event) -> str:
    """Return an epoch in a few words.

    Example:
        >>> row = {"loss": 0.5, "top1": 81.25, "validation_top1": 79.0}
        >>> summarise(Event("epoch", "kd", 3, 10, 0, 5, row))
        'epoch 3/10, loss 0.500, top-1 81.2 % (validation 79.0 %)'
    """
    row = event.values
    text = f"epoch {event.epoch}/{event.epochs}, loss {row['loss']:.3f}, top-1 {row['top1']:.1f} %"
    return text + (f" (validation {row['validation_top1']:.1f} %)" if "validation_top1" in row else "")


@contextlib.contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Listener | None]:
    """Yield a listener that draws bars on stderr, or None where nothing is to be shown.

    Without a terminal (a log file, say) one line is written for every finished epoch instead.

    Example:
        >>> with progress_bars(quiet=True) as listener:
        ...     listener is None
        True
    """
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines(console.print)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[summary]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def _lines(write: object) -> Listener:
    def listener(event: Event) -> None:
        if event.kind == "epoch" and callable(write):
            write(f"{event.title}: {summarise(event)}", markup=False)

    return listener
