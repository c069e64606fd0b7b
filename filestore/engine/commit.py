"""The commit: from edits to a record, the disk, and the files.

    lock        the write lock; recover what a dead writer left; catch up
    decide      each edit against what is there now; drop those that change nothing
    stage       new contents beside the tree: a full disk is found out here
    append      one write of the record to the journal
    sync        fdatasync: THE COMMIT POINT (J1)
    show        move the word in the shared state: every read shows the commit (C2)
    publish     an exchange or rename a file, in journal order (J2)
    unlock      and only then remove what was displaced

Before the commit point a failure takes everything back.  After it nothing can
fail: what cannot be published now is read from the journal, and published by
the next writer.

Threads that commit at the same time queue up; whoever gets the lock carries out
all that are waiting, and they share its one sync.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from filestore.codec import etag_of
from filestore.engine import record, recover
from filestore.engine.ground import Durability
from filestore.engine.state import Flag, Mark
from filestore.engine.tree import FileEntry, Staged, storage_error
from filestore.errors import Conflict, FilestoreError, RecoveryNeeded
from filestore.model import ANY, Commit, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backend import Entry
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.state import State
    from filestore.model import Edit, Key


class Ticket:
    """A commit that somebody waits for."""

    __slots__ = ("actor", "commit", "done", "edits", "error", "message", "origin")

    def __init__(
        self, edits: Sequence[Edit], actor: str | None, message: str | None, origin: Origin
    ) -> None:
        self.edits = edits
        self.actor = actor
        self.message = message
        self.origin = origin
        self.commit: Commit | None = None
        self.error: BaseException | None = None
        self.done = False

    def finish(self, commit: Commit | None) -> None:
        self.commit = commit
        self.done = True

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done = True

    def result(self) -> Commit | None:
        if self.error is not None:
            raise self.error
        return self.commit


class Decided(NamedTuple):
    """An op, the document and the file that it replaces."""

    text: record.OpText
    base: FileEntry | None


class Writer:
    """Commits of one handle.  ``committed`` is called after each, with no lock held."""

    def __init__(self, ground: Ground, reads: Reads, committed: Callable[[], None]) -> None:
        self._ground = ground
        self._reads = reads
        self._committed = committed
        self._queue: deque[Ticket] = deque()
        self._clock = time.time

    # -- the lock -------------------------------------------------------------------

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the write lock, the store being in order and this handle up to date."""
        ground = self._ground
        wait = ground.lock_timeout if timeout is None else timeout
        ground.check_writable()
        ground.lock.acquire_threads(wait, ground.state)
        try:
            with self._processes(wait):
                yield
        finally:
            ground.lock.release_threads()

    @contextmanager
    def _processes(self, wait: float) -> Iterator[None]:
        ground = self._ground
        try:
            outermost = ground.lock.acquire(wait, ground.state)
        except OSError as error:
            raise storage_error(error, ground.layout.lock, None) from error
        signed = False
        try:
            if outermost:
                try:
                    self._enter()
                except OSError as error:
                    raise storage_error(error, ground.layout.root, None) from error
                signed = True
            yield
        finally:
            try:
                if signed and ground.state is not None:
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
        if recover.needed(state):
            recover.bring_to_order(ground)
        reads.recovered()
        ground.lock.sign(state)

    def after_fork(self) -> None:
        self._queue = deque()

    # -- committing -----------------------------------------------------------------

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
            self._run([ticket], litter)
        else:
            self._queue.append(ticket)
            self._wait_for_threads(ticket)
            try:
                if not ticket.done:
                    with self._processes(ground.lock_timeout):
                        self._run_waiting(ticket, litter)
            finally:
                ground.lock.release_threads()
                self._withdraw(ticket)
        for path in litter:
            ground.tree.discard(path)
        if ticket.commit is not None:
            self._committed()
        return ticket.result()

    def _wait_for_threads(self, ticket: Ticket) -> None:
        lock, state = self._ground.lock, self._ground.state
        try:
            lock.acquire_threads(self._ground.lock_timeout, state)
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
        """Carry out this thread's ticket and those of the threads behind it."""
        batch = [own]
        self._withdraw(own)
        while self._queue:
            batch.append(self._queue.popleft())
        try:
            self._run(batch, litter)
        finally:
            # An interrupt is this thread's alone: the others' turn comes.
            self._queue.extendleft(
                one for one in reversed(batch) if not one.done and one is not own
            )

    def _run(self, batch: list[Ticket], litter: list[str]) -> None:
        ground = self._ground
        state = ground.check_writable()
        if (
            ground.durability is not Durability.NORMAL
            and state.published_revision < state.committed.revision
        ):
            recover.publish_pending(ground, state)  # J2: what another handle put off goes first
        after: dict[Key, bytes | None] = {}
        decided: list[tuple[Ticket, list[Decided]]] = []
        for ticket in batch:
            changed: dict[Key, bytes | None] = {}
            try:
                ops = self._decide(ticket, after, changed)
            except Exception as error:  # noqa: BLE001 - an edit's function may raise anything
                ticket.fail(error)
                continue
            if not ops:
                ticket.finish(None)
                continue
            after |= changed
            decided.append((ticket, ops))
        if not decided:
            return
        try:
            self._write(state, decided, after, litter)
        except FilestoreError as error:
            if len(decided) > 1 and not state.flags:
                # One of them may be to blame: each for itself.
                for ticket, _ in decided:
                    if not ticket.done:
                        self._run([ticket], litter)
                return
            for ticket, _ in decided:
                if not ticket.done:
                    ticket.fail(error)

    def _decide(
        self, ticket: Ticket, ahead: dict[Key, bytes | None], changed: dict[Key, bytes | None]
    ) -> list[Decided]:
        """What to do for one ticket, given those ahead of it.  Raises what apply raises."""
        ops = []
        conflicts: list[Conflict] = []
        for key, wish, expected in ticket.edits:
            blind = expected is ANY and not callable(wish)
            try:
                base, before = self._current(key, ahead, blind=blind)
            except Conflict as error:
                conflicts.append(error)
                continue
            if expected is not ANY and expected != (None if before is None else before.etag):
                conflicts.append(_unexpected(key, before, self._reads.revision))
                continue
            data = None if before is None else before.data
            after = wish(data) if callable(wish) else wish
            if after == data:
                continue
            changed[key] = after
            text = record.OpText(
                Op(key, data, after),
                None if before is None else before.etag,
                None if after is None else etag_of(after),
            )
            ops.append(Decided(text, base))
        if conflicts:
            raise _all_of(conflicts)
        return ops

    def _current(
        self, key: Key, ahead: dict[Key, bytes | None], *, blind: bool
    ) -> tuple[FileEntry | None, Entry | None]:
        """The file as it is, and the document that an edit starts from."""
        reads, tree = self._reads, self._ground.tree
        if key in ahead:
            data = ahead[key]
            return None, None if data is None else FileEntry(data, "", (0, 0, 0, 0), racy=True)
        pending = reads.pending(key)
        if pending is not None:
            return None, pending[1]
        known = reads.known(key)
        if known is not None and not known.racy and tree.signature(known.path) == known.signature:
            return known, known
        loaded = tree.load(key)
        if known is not None and blind and (loaded is None or loaded.data != known.data):
            reads.remember(key, loaded)
            what = "edited" if loaded is not None else "removed"
            raise Conflict(
                f"{known.path}: the file was {what} from outside since this store last read it; "
                "read it again and repeat the change, or use patch",
                key=key,
                path=known.path,
                revision=reads.revision,
            )
        reads.remember(key, loaded)
        return loaded, loaded

    def _write(
        self,
        state: State,
        decided: list[tuple[Ticket, list[Decided]]],
        after: dict[Key, bytes | None],
        litter: list[str],
    ) -> None:
        ground = self._ground
        level = ground.durability
        end = state.committed
        commits, payloads = [], []
        for count, (ticket, ops) in enumerate(decided, 1):
            texts = [one.text for one in ops]
            commit = Commit(
                end.revision + count,
                self._clock(),
                ticket.actor,
                ticket.message,
                ticket.origin,
                tuple(text.op for text in texts),
            )
            commits.append(commit)
            payloads.append(record.commit_payload(commit, texts, state.synced))
        staged: list[Staged] = []
        shown = False
        try:
            if level is not Durability.NORMAL:
                bases: dict[Key, FileEntry | None] = {}
                for _, ops in decided:
                    for one in ops:
                        bases.setdefault(one.text.op.key, one.base)
                for key, base in bases.items():
                    staged.append(ground.tree.stage(key, after[key], base))
            marks = self._append(state, commits, payloads, end)
            with self._reads.mutex:
                shown = True
                for mark in marks:
                    state.set_committed(mark)
                self._reads.note(commits, marks[-1])
        except BaseException:
            if not shown:
                for ready in staged:
                    if ready.tmp is not None:
                        ground.tree.discard(ready.tmp)
            else:
                state.set_flags(state.flags | Flag.DIRTY)
            raise
        for (ticket, _), commit in zip(decided, commits, strict=True):
            ticket.finish(commit)
        if level is not Durability.NORMAL:
            self._publish(state, staged, after, marks[-1], litter)

    def _append(
        self, state: State, commits: Sequence[Commit], payloads: Sequence[bytes], end: Mark
    ) -> list[Mark]:
        """Up to the commit point.  When it raises, the journal says nothing of the commits."""
        ground, journal = self._ground, self._ground.journal
        deletes_only = all(op.after is None for commit in commits for op in commit.ops)
        sync = ground.durability is not Durability.OFF
        try:
            positions = journal.append(
                payloads,
                end,
                checkpoint=state.checkpoint.revision,
                may_use_reserve=deletes_only,
            )
            marks = [
                Mark(commit.revision, position)
                for commit, position in zip(commits, positions, strict=True)
            ]
            if ground.durability is Durability.FULL:
                self._sync(state)
                state.set_synced(marks[-1].revision)
        except BaseException as error:
            # Flagged before anything else, for this may be cut short as well.
            state.set_flags(state.flags | Flag.DIRTY)
            if not state.flags & Flag.POISONED:
                try:
                    journal.erase(end, sync=sync)
                    state.set_flags(state.flags & ~Flag.DIRTY)
                except OSError:
                    pass  # the next writer erases it
            if isinstance(error, OSError) and not isinstance(error, FilestoreError):
                raise storage_error(error, journal.path(end.position >> 40 or 1), None) from error
            raise
        return marks

    def _sync(self, state: State) -> None:
        try:
            self._ground.journal.sync()
        except OSError as error:
            if error.errno == errno.EINTR:
                self._ground.journal.sync()
                return
            raise poison(self._ground, state, error) from error

    def _publish(
        self,
        state: State,
        staged: list[Staged],
        after: dict[Key, bytes | None],
        mark: Mark,
        litter: list[str],
    ) -> None:
        """The commit is made: nothing that happens here is the caller's failure."""
        tree, reads = self._ground.tree, self._reads
        done = False
        try:
            for one in staged:
                left, ours = tree.swap_in(one)
                if left is not None:
                    litter.append(left)
                data = after[one.key]
                entry = tree.entry_after(one, data) if ours and data is not None else None
                reads.published(one.key, mark.revision, entry)
            done = True
        except OSError as error:
            self._ground.trouble = f"publishing {error.filename}: {error.strerror}"
        finally:
            if done:
                state.set_published(mark)
            else:
                state.set_flags(state.flags | Flag.DIRTY)


def poison(ground: Ground, state: State, error: OSError) -> RecoveryNeeded:
    """A sync failed: this handle must write no more.

    Syncing again must not be tried as if it could succeed: what was written may
    be gone from memory and never have reached the disk.
    """
    state.set_flags(state.flags | Flag.POISONED | Flag.DIRTY)
    root = ground.layout.root
    ground.refusal = RecoveryNeeded(
        f"{root}: the disk failed to sync ({error.strerror}); whether the last change was "
        "kept is unknown; check the disk, then close this store and open it again",
        path=root,
    )
    return ground.refusal


def _all_of(conflicts: list[Conflict]) -> Conflict:
    first = conflicts[0]
    if len(conflicts) == 1:
        return first
    return Conflict(
        "; ".join(str(conflict) for conflict in conflicts),
        keys=[key for conflict in conflicts for key in conflict.keys],
        path=first.path,
        revision=first.revision,
    )


def _unexpected(key: Key, before: Entry | None, revision: int) -> Conflict:
    what = "is not there any more" if before is None else f"has etag {before.etag} now"
    return Conflict(
        f"{key}: somebody else changed the document: it {what}; read it again and decide",
        key=key,
        revision=revision,
    )
