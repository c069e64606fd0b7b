"""Whose turn it is to write: threads queue up, and share a sync; processes take the lock.

A thread leaves a ticket and waits for the others of its handle.  Whoever gets
through takes the store's lock and carries out every ticket that is waiting, so
that threads which commit at the same time pay for one lock and one sync.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filestore.engine import recover
from filestore.engine.commit import Committer, Ticket
from filestore.engine.tree import storage_error
from filestore.model import Commit, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.model import Edit


class Writer:
    """The writes of one handle.  ``committed`` is called after each, with no lock held."""

    def __init__(self, ground: Ground, reads: Reads, committed: Callable[[], None]) -> None:
        self._ground = ground
        self._reads = reads
        self._committed = committed
        self._committer = Committer(ground, reads)
        self._queue: deque[Ticket] = deque()
        self._generation = -1

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the write lock, the store being in order and this handle up to date."""
        ground = self._ground
        wait = ground.lock_timeout if timeout is None else timeout
        ground.check_writable()
        ground.lock.acquire_threads(wait, ground.state)
        try:
            outermost = self._begin(wait)
            try:
                yield
            finally:
                self._end(outermost)
        finally:
            ground.lock.release_threads()

    def _begin(self, wait: float) -> bool:
        """Take the store's lock; whether for the first time in this thread."""
        ground, lock = self._ground, self._ground.lock
        try:
            outermost = lock.acquire(wait, ground.state)
        except OSError as error:
            raise storage_error(error, ground.layout.lock, None) from error
        if outermost:
            try:
                self._enter()
            except BaseException as error:
                lock.release()
                if isinstance(error, OSError):
                    raise storage_error(error, ground.layout.root, None) from error
                raise
        return outermost

    def _end(self, outermost: bool) -> None:
        ground = self._ground
        try:
            if outermost and ground.state is not None:
                ground.state.clear_holder()
        finally:
            ground.lock.release()

    def _enter(self) -> None:
        """First thing under the lock."""
        ground, reads = self._ground, self._reads
        state = ground.state
        if state is None or not state.same_file(ground.fs, ground.layout):
            ground.reattach()
            state = ground.check_writable()
        if not state.in_order:
            recover.bring_to_order(ground)
        if state.generation != self._generation:
            ground.journal.close_tail()  # another one may have its number
            self._generation = state.generation
        reads.recovered()
        ground.lock.sign(state)

    def apply(
        self,
        edits: Sequence[Edit],
        *,
        actor: str | None,
        message: str | None,
        origin: Origin = Origin.LOCAL,
    ) -> Commit | None:
        """Carry out edits as one commit; see :class:`filestore.backend.Backend`."""
        ground = self._ground
        ground.check_writable()
        ticket = Ticket(edits, actor, message, origin)
        litter: list[str] = []
        if ground.lock.owned:
            self._committer.run([ticket], litter)
        else:
            self._take_turn(ticket, litter)
        for path in litter:
            ground.tree.discard(path)
        if ticket.commit is not None:
            self._committed()
        return ticket.result()

    def _take_turn(self, ticket: Ticket, litter: list[str]) -> None:
        lock, wait = self._ground.lock, self._ground.lock_timeout
        self._queue.append(ticket)
        self._wait_for_threads(ticket, wait)
        try:
            if ticket.done:
                return
            outermost = self._begin(wait)
            try:
                self._run_waiting(ticket, litter)
            finally:
                self._end(outermost)
        finally:
            lock.release_threads()
            if not ticket.done:
                self._withdraw(ticket)

    def _wait_for_threads(self, ticket: Ticket, wait: float) -> None:
        lock, state = self._ground.lock, self._ground.state
        try:
            lock.acquire_threads(wait, state)
        except BaseException:
            if self._withdraw(ticket) or ticket.done:
                raise
            # Another thread is carrying it out this moment: its outcome is to be told.
            lock.acquire_threads(threading.TIMEOUT_MAX, state)

    def _withdraw(self, ticket: Ticket) -> bool:
        """Take back a ticket that nobody has begun on."""
        try:
            self._queue.remove(ticket)
        except ValueError:
            return False
        return True

    def _run_waiting(self, own: Ticket, litter: list[str]) -> None:
        """Carry out every ticket that is waiting, this thread's among them."""
        queue, batch = self._queue, []
        while queue:
            batch.append(queue.popleft())
        try:
            self._committer.run(batch, litter)
        finally:
            if len(batch) > 1:
                # An interrupt is this thread's alone: the others' turn comes.
                queue.extendleft(one for one in reversed(batch) if not one.done and one is not own)

    def after_fork(self) -> None:
        self._queue = deque()
