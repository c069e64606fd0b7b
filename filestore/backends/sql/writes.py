"""The write lock, and commits as a transaction of the database (C2).

The write lock has two halves.  One is the handle's own, for its threads.  The other is the
database's, a :class:`~filestore.backends.sql.turn.Turn`.  So :meth:`Writes.exclusive` *is* a
transaction of the database, and ends with its COMMIT: the commit point of everything that was
applied inside it.  A store in SQLite's memory has the first half alone, and each commit is a
transaction of its own.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filestore.backend import Entry
from filestore.backends.sql import inspection, naming
from filestore.backends.sql.reads import columns, ids_of, load
from filestore.backends.sql.session import closed, read_only
from filestore.backends.sql.turn import Turn
from filestore.codec import check_remarks
from filestore.codec.etag import etag_of
from filestore.edits import decide, require_distinct
from filestore.errors import Corrupt, LockTimeout
from filestore.model import Commit, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backends.sql.reads import Reads
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session, Sessions
    from filestore.backends.sql.turn import Locking
    from filestore.model import Edit, Revision


class Writes:
    """The writes of one handle."""

    def __init__(
        self,
        sessions: Sessions,
        statements: Statements,
        reads: Reads,
        kind: Locking,
        *,
        shown: str,
        readonly: bool,
        lock_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._statements = statements
        self._reads = reads
        self._kind = kind
        self._shown = shown
        self._readonly = readonly
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._turn = Turn(sessions, statements, reads, kind, shown=shown, lock_timeout=lock_timeout)
        self._lock = threading.Lock()
        self._closed = False
        self._paused = False
        self._owner: int | None = None
        self._since: float | None = None
        # Of the block that holds the lock: the revision it is at, what it has applied and
        # what documents are thereby.
        self._revision = 0
        self._applied: list[Commit] = []
        self._overlay: dict[tuple[str, str], Entry | None] = {}

    # -- the write lock ---------------------------------------------------------------

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds the write lock."""
        return self._owner is not None and self._owner == threading.get_ident()

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the write lock; what is applied inside is committed when the outermost ends."""
        self.require_writable()
        if self.mine:
            yield
            return
        self._acquire(self._lock_timeout if timeout is None else timeout)
        try:
            try:
                yield
            finally:
                self._finish()
        finally:
            self._release()

    def require_writable(self) -> None:
        """Raise Closed or ReadOnly."""
        if self._closed:
            raise closed()
        if self._readonly:
            raise read_only(self._shown)

    def _acquire(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=min(max(timeout, 0), threading.TIMEOUT_MAX)):
            raise LockTimeout(
                f"{self._shown}: another thread of this process has held the store's write lock"
                f" for longer than {timeout:g} s: try again, or wait longer with lock_timeout",
                path=self._shown,
                pid=os.getpid(),
                host=os.uname().nodename,
                since=self._since,
            )
        try:
            self._since = self._clock()
            self._applied, self._overlay = [], {}
            if self._kind.deferred:
                self._revision = self._turn.begin(max(deadline - time.monotonic(), 0))
            else:
                self._revision = self._reads.catch_up()
            self._owner = threading.get_ident()
        except BaseException:
            self._release()
            raise

    def _finish(self) -> None:
        """Commit what was applied."""
        if self._kind.deferred:
            self._turn.end(self._applied)

    def _release(self) -> None:
        self._owner = None
        self._since = None
        if self._closed:
            self._turn.disconnect()
        self._lock.release()

    # -- reading inside it ----------------------------------------------------------------

    @property
    def revision(self) -> Revision:
        """The newest revision as the thread that holds the lock sees it."""
        return self._revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        """A document as the thread that holds the lock sees it."""
        if key in self._overlay:
            return self._overlay[key]
        entry = self._reads.known(key)
        if entry is not None:
            return entry  # nobody else can have committed since the lock was taken
        if not self._kind.deferred:
            return self._reads.get(key)
        found = self._turn.inside(lambda session: self._load(session, key[0], [key[1]])).get(key[1])
        if isinstance(found, Corrupt):
            raise found
        return found

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Corrupt]]:
        """Documents as the thread that holds the lock sees them."""
        known: dict[str, Entry | Corrupt | None] = {}
        missing = []
        for id in ids:
            key = (collection, id)
            entry = self._overlay[key] if key in self._overlay else self._reads.known(key)
            if entry is None and key not in self._overlay:
                missing.append(id)
            else:
                known[id] = entry
        if missing and not self._kind.deferred:
            known.update(self._reads.get_many(collection, missing))
        elif missing:
            known.update(
                self._turn.inside(lambda session: self._load(session, collection, missing))
            )
        return [(id, found) for id in ids if (found := known.get(id)) is not None]

    def ids(self, collection: str) -> list[str]:
        """The ids as the thread that holds the lock sees them."""
        if not self._kind.deferred:
            return self._reads.ids(collection)
        name, _ = columns(collection, "x")
        return self._turn.inside(lambda session: ids_of(session.rows(self._statements.ids, name)))

    def collections(self) -> list[str]:
        """The collections as the thread that holds the lock sees them."""
        if not self._kind.deferred:
            return self._reads.collections()
        rows = self._turn.inside(lambda session: session.rows(self._statements.collections))
        return sorted(naming.text(name) for (name,) in rows)

    def _load(
        self, session: Session, collection: str, ids: Sequence[str]
    ) -> dict[str, Entry | Corrupt]:
        return load(session, self._statements, collection, ids, self._shown)

    # -- apply ----------------------------------------------------------------------------

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None, message: str | None
    ) -> Commit | None:
        """Carry out edits as one commit; see :class:`filestore.backend.Backend`."""
        self.require_writable()
        for edit in edits:
            columns(*edit.key)
        require_distinct(edits)
        check_remarks(actor, message)
        with self.exclusive():
            current = self._current(edits)
            ops = decide(edits, current, revision=self._revision, path=self._shown)
            if not ops:
                return None
            if self._closed:
                raise closed()
            commit = Commit(self._revision + 1, self._clock(), actor, message, Origin.LOCAL, ops)
            self._write(commit)
            return commit

    def _current(self, edits: Sequence[Edit]) -> dict[tuple[str, str], Entry | None]:
        """What is there now.  Raises Corrupt."""
        if len(edits) == 1:
            return {edits[0].key: self.get(edits[0].key)}
        by_collection: dict[str, list[str]] = {}
        for edit in edits:
            by_collection.setdefault(edit.key[0], []).append(edit.key[1])
        current: dict[tuple[str, str], Entry | None] = {edit.key: None for edit in edits}
        for collection, ids in by_collection.items():
            for id, found in self.get_many(collection, ids):
                if isinstance(found, Corrupt):
                    raise found
                current[collection, id] = found
        return current

    def _write(self, commit: Commit) -> None:
        if not self._kind.deferred:
            self._write_at_once(commit)
            return
        self._turn.write(lambda session: self._record(session, commit), nested=bool(self._applied))
        self._applied.append(commit)
        self._revision = commit.revision
        for key, _, after in commit.ops:
            self._overlay[key] = None if after is None else Entry(after)

    def _write_at_once(self, commit: Commit) -> None:
        session = self._sessions.take()
        try:
            self._kind.begin_at_once(session)
            try:
                self._record(session, commit)
                session.say("COMMIT")
            except BaseException:
                session.say("ROLLBACK")
                raise
            self._revision = commit.revision
            self._reads.committed([commit], session)
        except self._sessions.errors as error:
            refusal = self._sessions.refusal(error, "cannot write to")
            raise refusal from self._sessions.cause(error)
        finally:
            self._sessions.give(session)

    def _record(self, session: Session, commit: Commit) -> None:
        """Put the commit into the tables."""
        statements, revision = self._statements, commit.revision
        session.run(
            statements.add_commit,
            revision,
            commit.time,
            naming.remark(commit.actor),
            naming.remark(commit.message),
            commit.origin.value,
            self._turn.writer,
        )
        changed: list[tuple[object, ...]] = []
        put: list[tuple[object, ...]] = []
        gone: dict[str, list[str]] = {}
        for place, (key, before, after) in enumerate(commit.ops):
            name, id = naming.column(key.collection), naming.column(key.id)
            short = naming.short(id)
            whole = None if short == id else id
            was = None if before is None else before.decode()
            if after is None:
                gone.setdefault(name, []).append(short)
                changed.append((revision, place, name, short, whole, was, None))
            else:
                now = after.decode()
                changed.append((revision, place, name, short, whole, was, now))
                put.append((name, short, whole, now, etag_of(after), revision))
        for statement, rows in statements.add_changes.deal(changed):
            session.run(statement, *(value for row in rows for value in row))
        for statement, rows in statements.put.deal(put):
            session.run(statement, *(value for row in rows for value in row))
        for name, ids in gone.items():
            for statement, chunk in statements.delete.deal(ids):
                session.run(statement, name, *chunk)
        session.run(statements.set_revision, revision)

    def take_in(self) -> None:
        """Record what was changed past the history; the lock being held, nothing applied yet."""
        if not self._kind.deferred:
            session = self._sessions.take()
            try:
                ops = self._past_history(session)
            finally:
                self._sessions.give(session)
        else:
            ops = self._turn.inside(self._past_history)
        if not ops:
            return
        commit = Commit(
            self._revision + 1, self._clock(), None, "repair", Origin.RECOVERY, tuple(ops)
        )
        self._write(commit)

    def _past_history(self, session: Session) -> list[Op]:
        return inspection.taken_in(session, self._statements, self._reads, self._revision)

    # -- the end --------------------------------------------------------------------------

    def close(self) -> None:
        """Refuse writes from now on; a block that is under way ends as it would have."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._turn.disconnect()
            finally:
                self._lock.release()

    # -- fork -----------------------------------------------------------------------

    def pause(self, deadline: float) -> bool:
        """Before a fork: keep other threads from writing; whether none is at it."""
        self._paused = not self.mine and self._lock.acquire(
            timeout=max(deadline - time.monotonic(), 0)
        )
        return self._paused

    def resume(self) -> None:
        """After a fork, in the parent."""
        if self._paused:
            self._lock.release()

    def after_fork(self, part: Callable[[Session], object]) -> None:
        """In a child: have a lock that nobody holds; ``part`` gets the parent's connection."""
        self._lock = threading.Lock()
        self._owner = self._since = None
        self._applied, self._overlay = [], {}
        self._turn.after_fork(part)
