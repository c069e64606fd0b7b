"""When looking out for edits from outside begins: a moment after the store was opened.

Who opens a store for a moment pays for no thread of the watcher's, and imports none of the
modules that watching and recording take.
"""

from __future__ import annotations

import _thread
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.watcher import Watcher

T = TypeVar("T")

START_SECONDS: Final = 0.05
"""How long after opening the watcher starts: who opens for a moment pays for none."""


def green() -> bool:
    """Whether threads are made of eventlet's or gevent's green ones.

    A listener would wait in the system, and all others with it.
    """
    return any(
        (module := sys.modules.get(name)) is not None
        # One that is being imported, in another thread, is about to.
        and ((ask := getattr(module, asked, None)) is None or ask(threads))
        for name, asked, threads in (
            ("eventlet.patcher", "is_monkey_patched", "thread"),
            ("gevent.monkey", "is_module_patched", "threading"),
        )
    )


class Lookout:
    """What is told of edits until there is a watcher; ``watcher`` makes it, or gives it.

    ``events=False``: it will never listen.
    """

    def __init__(
        self, ground: Ground, reads: Reads, watcher: Callable[[], Watcher], *, events: bool
    ) -> None:
        self._ground = ground
        self._reads = reads
        self._watcher = watcher
        self.events = events
        self._begin()

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._soon = threading.Event()  # the moment is over, or so is the handle
        self._begun = False

    def start(self) -> None:
        """Have the watcher started, once, a moment from now.

        Starting a thread waits for it, which takes longer than all else that opening does; a
        bare one is not waited for.
        """
        with self._starting:
            if self._begun:
                return
            self._begun = True
        self._reads.asleep = None
        begin = calling(self._start_watcher, None)
        try:
            _thread.start_new_thread(_later, (self._soon, START_SECONDS, begin))
        except RuntimeError as error:
            self._watcher().do_without_threads(str(error))

    def _start_watcher(self) -> None:
        with self._starting:
            if self._begun:
                self._watcher().start()

    def stop(self) -> None:
        """Start no watcher from here on."""
        with self._starting:
            self._begun = False
            self._reads.asleep = None
            self._soon.set()

    def after_fork(self) -> None:
        """In a child: one that does not use the store pays nothing."""
        self._begin()
        self._reads.asleep = calling(self.start, None)

    # -- what the shelf asks, see filestore.engine.shelf.Telling ------------------------

    @property
    def tells(self) -> bool | None:
        ground = self._ground
        if ground.readonly or ground.refusal is not None or ground.state is None:
            return None  # nobody may record what was edited before
        return False if self.events else None

    def listen(self) -> float | None:
        return self._watcher().listen()

    @property
    def lasting(self) -> bool:
        return self._watcher().lasting


def calling(method: Callable[..., T], otherwise: T) -> Callable[..., T]:
    """Calls a method as long as there is its object, which need not live on for it."""
    weak = weakref.WeakMethod(method)

    def call(*arguments: Any) -> T:
        target = weak()
        return otherwise if target is None else target(*arguments)

    return call


def _later(soon: threading.Event, seconds: float, begin: Callable[[], None]) -> None:
    soon.wait(seconds)
    begin()
