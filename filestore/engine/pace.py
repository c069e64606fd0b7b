"""How long work in the background leaves the processor to the other threads of its process.

Python runs one thread at a time.  A writer gives up its turn at each call of the system, and
beside a thread that computes it gets it back up to 5 milliseconds later, some ten times in
one commit, while it holds the lock that all other processes wait for.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICE_SECONDS: Final = 0.002
_REST: Final = 2.0  # so many times what was worked
_MOST_SECONDS: Final = 0.1
_BUSY: Final = 1 / 16  # of what was worked; who wakes now and then, to look, uses less


class Pace:
    """Called now and then, waits where other threads of the process are busy.

    For the thread that is between :meth:`begin` and :meth:`end`; in all others, and while
    ``hurry`` is set because somebody waits for the work, a call costs next to nothing.
    ``aside``: seconds of the processor that another thread worked to the same end.
    """

    __slots__ = ("_all", "_aside", "_own", "_until", "_wait", "aside", "hurry")

    def __init__(self, wait: Callable[[float], object] = time.sleep) -> None:
        self._wait = wait
        self._until = math.inf
        self._own = self._all = self._aside = self.aside = 0.0
        self.hurry = False

    def begin(self) -> None:
        self._own, self._all, self._aside = time.thread_time(), time.process_time(), self.aside
        self._until = time.monotonic() + _SLICE_SECONDS

    def end(self) -> None:
        self._until = math.inf

    def __call__(self) -> None:
        if time.monotonic() < self._until:
            return
        worked = time.thread_time() - self._own
        others = time.process_time() - self._all - worked - (self.aside - self._aside)
        self.begin()
        if others > _BUSY * worked and not self.hurry:
            # What they do meanwhile is seen the next time.
            self._wait(min(_REST * worked, _MOST_SECONDS))
            self._until = time.monotonic() + _SLICE_SECONDS
