"""Imports that are put off until they are needed, in threads of the store's own.

Python locks a module while it is imported, and a child of a fork has only the thread that
forked: what another thread was importing at that moment is locked in the child for good,
and whoever imports it there waits forever.  So a fork waits until such an import is done.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_PATIENCE_SECONDS: Final = 10.0  # a fork waits no longer, whatever an import waits for


class _UnderWay:
    """Whether something is imported."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # of which releasing tells whether it was ours
        self._foremost = False
        self._have_forks_wait()

    def begin(self, *, loggers: bool) -> AbstractContextManager[object]:
        if loggers and not self._foremost:
            with self.lock:
                # Modules ask for their loggers, and a fork that waits for us must not have
                # logging locked: what is registered last is called first.
                import logging  # noqa: F401

                if not self._foremost:
                    self._foremost = True
                    self._have_forks_wait()
        return self.lock

    def _have_forks_wait(self) -> None:
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork_in_parent,
                after_in_child=self._after_fork_in_child,
            )

    def _before_fork(self) -> None:
        self.lock.acquire(timeout=_PATIENCE_SECONDS)

    def _after_fork_in_parent(self) -> None:
        try:
            self.lock.release()
        except RuntimeError:
            pass  # it was not to be had

    def _after_fork_in_child(self) -> None:
        self.lock = threading.RLock()


_under_way: Final = _UnderWay()


def importing(*, ours: bool = False) -> AbstractContextManager[object]:
    """No fork inside the block, by any other thread.

    ``ours``: what is imported are modules of this package, which ask for no loggers.
    """
    return _under_way.begin(loggers=not ours)
