"""What a person sees while a study runs: one line for every stage, with the seconds it took."""

import contextlib
import time
from collections.abc import Iterator

from kdlens.visible import visible

_WORTH = 0.05
"""Seconds below which a stage's time is not told: what is quickly said, not done."""


class Stages:
    """Called with a text when a stage begins. This one stays silent; `stages` gives one that shows itself.

    Example:
        >>> say = Stages()
        >>> say("reading images")
    """

    def __call__(self, text: str) -> None:
        """Begin a stage; the one before is over."""

    def detail(self, text: str) -> None:
        """Say how far the stage is, or what it is busy with; no line is left of it."""

    def close(self, *, done: bool) -> None:
        """End the last stage."""


class _Shown(Stages):
    """Stages on a terminal, or as plain lines where there is none."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self.status = self._console.status("starting")
        self._current: tuple[str, float] | None = None

    def __call__(self, text: str) -> None:
        self.close(done=True)
        self._current = (text, time.perf_counter())
        self._show(text)

    def detail(self, text: str) -> None:
        if self._current is not None:
            self._show(f"{self._current[0]}: {text}")

    def close(self, *, done: bool) -> None:
        if self._current is not None:
            text, start = self._current
            mark = "[green]✓[/green]" if done else "[red]✗[/red]"
            took = time.perf_counter() - start
            self._console.print(f"{mark} {_escaped(text)}" + (f" [dim]{took:.1f} s[/dim]" if took >= _WORTH else ""))
            self._current = None

    def _show(self, text: str) -> None:
        self.status.update(_escaped(text))


@contextlib.contextmanager
def stages(*, quiet: bool = False) -> Iterator[Stages]:
    """Yield a function that begins the next stage; the one before is then printed with the seconds it took.

    Example:
        >>> with stages(quiet=True) as say:
        ...     say("reading images")
    """
    if quiet:
        yield Stages()
        return
    shown = _Shown()
    with shown.status:
        try:
            yield shown
        except BaseException:
            shown.close(done=False)
            raise
        shown.close(done=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(visible(text))
