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

from filestore.codec import check_remarks
from filestore.engine import recover
from filestore.engine.commit import Committer, Ticket
from filestore.engine.tree import storage_error
from filestore.errors import LockTimeout
from filestore.model import Commit, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.record import Etags
    from filestore.model import Edit, Op


class Writer:
    """The writes of one handle.  ``committed`` is called after each, with no lock held."""

    def __init__(self, ground: Ground, reads: Reads, committed: Callable[[], None]) -> None:
        self._ground = ground
        self._reads = reads
        self._committed = committed
        self._committer = Committer(ground, reads)
        self._queue: deque[Ticket] = deque()
        self._generation = -1
        self.wrote = False  # whether this handle has made a commit

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the write lock, the store being in order and this handle up to date."""
        ground, lock = self._ground, self._ground.lock
        wait = ground.lock_timeout if timeout is None else timeout
        ground.check_writable()
        if lock.owned:
            yield
            return
        try:
            lock.acquire_threads(wait, ground.state)
            self._begin(wait)
            yield
        finally:
            try:
                lock.release(ground.state)
            except BaseException:
                lock.release(ground.state)
                raise

    def _begin(self, wait: float) -> None:
        """Take the store's lock, and see that the store is in order."""
        ground, lock = self._ground, self._ground.lock
        try:
            lock.acquire(wait, ground.state)
        except OSError as error:
            raise storage_error(error, ground.layout.lock, None) from error
        try:
            self._enter(wait)
        except OSError as error:
            raise storage_error(error, ground.layout.root, None) from error

    def _enter(self, wait: float) -> None:
        """First thing under the lock."""
        ground, reads = self._ground, self._reads
        state = ground.state
        while state is None or not state.same_file(ground.fs, ground.layout):
            # The lock that is held may be of a file that others do not see.
            with reads.mutex:
                ground.reattach()
            state = ground.check_writable()
            ground.lock.acquire(wait, state)
        if state.generation != self._generation:
            ground.journal.close_tail()  # another one may have its number, to be recovered too
        if not state.in_order:
            recover.bring_to_order(ground)
        self._generation = state.generation
        if reads.behind(state):
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
        if actor is not None or message is not None:
            check_remarks(actor, message)
        if len(edits) == 1 and self._reads.holds(edits[0]):
            return None
        ticket = Ticket(edits, actor, message, origin)
        litter: list[str] = []
        if ground.lock.owned:
            self._committer.run([ticket], litter)
        else:
            self._take_turn(ticket, litter)
        for path in litter:
            ground.tree.discard(path)
        if ticket.commit is not None:
            self.wrote = True
            self._committed()
        return ticket.result()

    def record(
        self, ops: Sequence[Op], etags: Sequence[Etags], *, actor: str | None, message: str | None
    ) -> Commit:
        """Make a commit of edits from outside; inside :meth:`exclusive`, all being published."""
        return self._committer.record(ops, etags, actor, message)

    def recorded(self) -> None:
        """What :meth:`record` made is to be checkpointed; the lock was given back."""
        self.wrote = True
        self._committed()

    def _take_turn(self, ticket: Ticket, litter: list[str]) -> None:
        ground, lock, wait = self._ground, self._ground.lock, self._ground.lock_timeout
        self._queue.append(ticket)
        try:
            self._wait_for_threads(ticket, wait)
            if not ticket.done:
                self._begin(wait)
                self._run_waiting(ticket, litter)
        finally:
            try:
                lock.release(ground.state)
            except BaseException:
                lock.release(ground.state)
                raise
            if not ticket.done:
                self._withdraw(ticket)

    def _wait_for_threads(self, ticket: Ticket, wait: float) -> None:
        lock, state = self._ground.lock, self._ground.state
        try:
            lock.acquire_threads(wait, state)
        except BaseException as error:
            if self._withdraw(ticket) or ticket.done:
                raise
            # Another thread is carrying it out this moment: its outcome is to be told.
            lock.acquire_threads(threading.TIMEOUT_MAX, state)
            if not isinstance(error, LockTimeout):
                raise

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
        if own not in batch:
            batch.append(own)  # another thread was interrupted with it in its hands
        try:
            self._committer.run(batch, litter)
        finally:
            if len(batch) > 1:
                # An interrupt is this thread's alone: the others' turn comes.
                queue.extendleft(one for one in reversed(batch) if not one.done and one is not own)

    def after_fork(self) -> None:
        self._queue = deque()
