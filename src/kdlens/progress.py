"""What a person sees while a study runs: one line for every stage, with the seconds it took."""

import contextlib
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stages(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield a function that starts the next stage; the one before is then printed with the seconds it took.

    Example:
        >>> with stages(quiet=True) as say:
        ...     say("reading images")
    """
    if quiet:
        yield lambda text: None
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    current: list[tuple[str, float]] = []

    def close(mark: str) -> None:
        if current:
            text, start = current.pop()
            console.print(f"{mark} {escape(text)} [dim]{time.perf_counter() - start:.1f} s[/dim]")

    with console.status("starting") as status:

        def say(text: str) -> None:
            close("[green]✓[/green]")
            current.append((text, time.perf_counter()))
            status.update(escape(text))

        try:
            yield say
        except BaseException:
            close("[red]✗[/red]")
            raise
        close("[green]✓[/green]")
