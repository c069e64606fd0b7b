"""How far a long command is."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filestore.cli import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REDRAW_SECONDS: Final = 0.05


@contextmanager
def progress_bar(what: str, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on standard error, if that is a terminal."""
    if not shown or not screen.errors_on_terminal():
        yield None
        return
    from rich.progress import Progress  # takes 60 ms to import, and scripts do not need it

    with Progress(console=screen.console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        due = 0.0

        def show(done: int, total: int) -> None:
            nonlocal due
            now = time.monotonic()
            if now >= due or done == total:
                due = now + _REDRAW_SECONDS
                progress.update(task, completed=done, total=total)

        yield show
