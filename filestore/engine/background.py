"""The thread that does what commits put off: publishing in ``normal``, and checkpoints.

It starts with the first commit, sleeps while there is nothing to do, and can be
killed at any moment: what it does is what recovery would do.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from filestore.engine.ground import Durability
from filestore.errors import FilestoreError, LockTimeout

if TYPE_CHECKING:
    from filestore.engine.checkpoint import Checkpointer
    from filestore.engine.ground import Ground

PUBLISH_SECONDS: Final = 0.1
CHECKPOINT_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 0.2  # how long to stand in the way of a transaction's own checkpoint


class Background:
    """The thread of one handle."""

    def __init__(self, ground: Ground, checkpointer: Checkpointer) -> None:
        self._ground = ground
        self._checkpointer = checkpointer
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = 0.0
        self._starting = threading.Lock()  # a handle may be closed while a thread of its commits

    def committed(self) -> None:
        """There is something to do."""
        if self._wake.is_set():
            return
        self._wake.set()
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(
            target=_run, args=(weakref.ref(self),), name="filestore", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The system has no thread left, or the interpreter is about to end.  The next commit
            # tries again, and closing does it all.
            self._ground.trouble = f"working in the background: {error}"
            self._wake.clear()
        else:
            self._thread = thread

    def round(self) -> bool:
        """Wait for work and do it; False when it is time to end."""
        if not self._wake.wait(timeout=60.0):
            return not self._stop.is_set()
        if self._stop.is_set():
            return False
        normal = self._ground.durability is Durability.NORMAL
        if self._stop.wait(PUBLISH_SECONDS if normal else CHECKPOINT_SECONDS):
            return False
        self._wake.clear()
        if self._stop.is_set():  # it may have been told so just now, and the telling cleared
            return False
        try:
            if normal:
                self._checkpointer.publish(PATIENCE_SECONDS)
            if not normal or time.monotonic() >= self._due:
                self._checkpointer.run(PATIENCE_SECONDS)
                self._due = time.monotonic() + CHECKPOINT_SECONDS
            else:
                self._wake.set()  # the checkpoint is still to come
            self._ground.trouble = None
        except LockTimeout:
            self._wake.set()  # somebody is at it for long; there is no hurry
        except (FilestoreError, OSError) as error:
            # Nobody is there to raise it to: stats() and check() tell it, and the next
            # commit or close() meets the same trouble.
            self._ground.trouble = str(error)
        return True

    def stop(self) -> None:
        """End the thread, and wait until what it is about is done."""
        with self._starting:
            self._stop.set()
            self._wake.set()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def after_fork(self) -> None:
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = None
        self._starting = threading.Lock()


def _run(background: weakref.ref[Background]) -> None:
    # A handle that nobody holds any more must not live on for its thread's sake.
    while True:
        target = background()
        if target is None or not target.round():
            return
        del target
