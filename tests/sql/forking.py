"""Running a function in a forked child."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(work: Callable[[], bool]) -> int:
    """The exit status of a forked child: 0 when ``work`` says yes there."""
    with catch_warnings():  # of newer Pythons: the child uses what the threads may have held
        simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
