"""Delivery of changes to a callback, from a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from filestore.change import Change
from filestore.closing import Closing
from filestore.codec import decode
from filestore.errors import Closed
from filestore.model import stands_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.backend import Backend
    from filestore.model import Commit, Revision

POLL_SECONDS = 0.005
"""How often another process's commits are looked for: one look is one word of memory."""

VISIBLE_SECONDS = 0.0002
"""How often to look for a commit that was announced and is about to become visible."""

RETRY_SECONDS = 1.0
"""How long to leave a backend alone whose changes could not be read."""


class Subscription(Closing):
    """Calls ``callback`` with each change in order, once, until closed.

    Made by :meth:`filestore.Store.watch`.  The callback runs in a daemon thread of this
    subscription with no lock held: it may use the store, and a slow one delays nobody
    else.  An exception that it raises goes to ``on_error``, by default to
    :data:`threading.excepthook` as if it had ended the thread, and delivery goes on.
    """

    def __init__(
        self,
        backend: Backend,
        callback: Callable[[Change], object],
        *,
        since: Revision | None,
        on_error: Callable[[BaseException], object] | None,
        on_close: Callable[[Subscription], object],
    ) -> None:
        self._backend = backend
        self._callback = callback
        self._on_error = on_error or _report
        self._on_close = on_close
        self._closing = threading.Event()
        self._woken = threading.Event()
        self._announced = 0
        self._unsubscribe = backend.subscribe(self._wake)
        self._revision = backend.revision if since is None else since
        self._thread = threading.Thread(
            target=self._run, name=f"filestore watch {backend.location}", daemon=True
        )
        self._thread.start()

    @property
    def revision(self) -> Revision:
        """Every change up to this revision has been delivered."""
        return self._revision

    def close(self) -> None:
        """End the delivery; idempotent.

        Waits for a callback that is running, unless called by it; afterwards the
        callback is not called again, though changes may be undelivered.
        """
        self.end()
        if not self.mine:
            self.wait()

    def end(self) -> None:
        """End the delivery without waiting: a callback that is running runs on."""
        if not self._closing.is_set():
            self._closing.set()
            self._woken.set()
            self._unsubscribe()
            self._on_close(self)

    def wait(self) -> None:
        """Wait until the callback has run for the last time; not to be called by it."""
        self._thread.join()

    @property
    def mine(self) -> bool:
        """Whether the calling thread is the one that runs the callback."""
        return threading.current_thread() is self._thread

    def _wake(self, commits: Sequence[Commit] | None) -> None:
        if commits:
            self._announced = commits[-1].revision
        self._woken.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            try:
                self._deliver()
            except Closed:
                return
            except Exception as error:  # noqa: BLE001  # reported; delivery must live on
                self._raise(error)
                self._closing.wait(RETRY_SECONDS)
            # Observers hear of a commit a moment before reads show it.
            late = self._announced > self._revision
            self._woken.wait(VISIBLE_SECONDS if late else POLL_SECONDS)

    def _deliver(self) -> None:
        newest = self._backend.revision
        if newest <= self._revision:
            return
        for commit in self._backend.changes(self._revision):
            for change in changes_of(commit):
                if self._closing.is_set():
                    return
                try:
                    self._callback(change)
                except Exception as error:  # noqa: BLE001  # a callback may raise anything
                    self._raise(error)
            self._revision = commit.revision
        # Revisions that are no longer kept have no commits to deliver.
        self._revision = max(self._revision, newest)

    def _raise(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception as worse:  # noqa: BLE001  # so may its handler
            _report(worse)


def changes_of(commit: Commit) -> list[Change]:
    """What a commit did, a document at a time, decoded."""
    return [
        Change(
            commit.revision,
            commit.time,
            commit.actor,
            commit.message,
            commit.origin,
            op.key,
            None if op.before is None or stands_in(op.before) else decode(op.before),
            None if op.after is None else decode(op.after),
        )
        for op in commit.ops
    ]


def _report(error: BaseException) -> None:
    threading.excepthook(
        threading.ExceptHookArgs(
            (type(error), error, error.__traceback__, threading.current_thread())
        )
    )
