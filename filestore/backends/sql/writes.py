"""The write lock, and a commit as a transaction of the database (C2).

The write lock has two halves.  One is the handle's own, for its threads.  The other is the
database's: ``BEGIN IMMEDIATE`` of SQLite, the locked row of ``filestore_meta`` of PostgreSQL.
So :meth:`Writes.exclusive` *is* a transaction of the database, and ends with its COMMIT: the
commit point of everything that was applied inside it.  A store in SQLite's memory has the first
half alone, and each commit is a transaction of its own.

A connection that is lost before COMMIT leaves nothing behind.  When it is lost at COMMIT, the
handle asks on a new connection, under the lock, whether its commit is there.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from filestore.backend import Entry
from filestore.backends.sql import inspection, naming
from filestore.backends.sql.reads import columns, ids_of, load
from filestore.backends.sql.session import closed, read_only
from filestore.codec import check_remarks, etag_of
from filestore.edits import decide, require_distinct
from filestore.errors import Corrupt, FilestoreError, LockTimeout, StorageError
from filestore.model import Commit, Op, Origin

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backends.sql.reads import Reads
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session, Sessions
    from filestore.model import Edit, Revision


class Locking(Protocol):
    """What writing needs of a kind of database; see there."""

    deferred: bool

    def writes(self, session: Session) -> None:
        """Make a connection fit for the writer."""

    def begin(self, session: Session, statements: Statements, timeout: float) -> int:
        """Begin to write, the lock being held; returns the newest revision."""

    def begin_at_once(self, session: Session) -> None:
        """Begin a commit where the handle's own lock is the store's."""


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
        self._writer = os.urandom(8).hex()
        self._failures: tuple[type[Exception], ...] = (FilestoreError, *sessions.errors)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._closed = False
        self._paused = False
        self._owner: int | None = None
        self._since: float | None = None
        # Of the block that holds the lock: the revision it is at, what it has applied and
        # what documents are thereby, and why nothing more can be written in it.
        self._revision = 0
        self._applied: list[Commit] = []
        self._overlay: dict[tuple[str, str], Entry | None] = {}
        self._broken: FilestoreError | None = None

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
            self._applied, self._overlay, self._broken = [], {}, None
            if self._kind.deferred:
                self._begin(max(deadline - time.monotonic(), 0))
            else:
                self._revision = self._reads.catch_up()
            self._owner = threading.get_ident()
        except BaseException:
            self._release()
            raise

    def _begin(self, timeout: float) -> None:
        session = self._connected()
        try:
            self._enter(session, timeout)
        except self._sessions.errors as error:
            if not self._sessions.lost(error, session):
                self._undo(session)
                raise self._refusal(error, "cannot write to") from self._sessions.cause(error)
            # It was idle: the server may have been restarted since.  Nothing has been asked yet.
            self._part(session)
            session = self._connected()
            try:
                self._enter(session, timeout)
            except self._sessions.errors as worse:
                self._part(session)
                raise self._refusal(worse, "cannot write to") from self._sessions.cause(worse)
        except BaseException:
            self._undo(session)
            raise

    def _enter(self, session: Session, timeout: float) -> None:
        self._revision = self._kind.begin(session, self._statements, timeout)
        if self._revision != self._reads.seen:
            self._reads.take_in(session, self._revision)

    def _connected(self) -> Session:
        if self._session is None:
            session = self._sessions.connect()
            try:
                self._kind.writes(session)
            except BaseException:
                session.close()
                raise
            self._session = session
        return self._session

    def _part(self, session: Session) -> None:
        """Let go of a connection that is lost, and of the idle ones that will be as well."""
        self._session = None
        session.close()
        self._sessions.forget()

    def _undo(self, session: Session) -> None:
        """End the transaction; whatever comes, nothing of it stays."""
        try:
            session.say("ROLLBACK")
        except Exception:  # noqa: BLE001  # what cannot be rolled back is rolled back by parting
            self._part(session)

    def _finish(self) -> None:
        """Commit what was applied."""
        session, applied = self._session, self._applied
        if not self._kind.deferred or session is None:
            if applied and self._kind.deferred:
                raise self._broken or StorageError(f"{self._shown}: nothing was written")
            return
        if not applied or self._broken is not None:
            self._undo(session)
            if applied and self._broken is not None:
                raise self._broken
            return
        self._commit(session, applied)

    def _commit(self, session: Session, applied: list[Commit]) -> None:
        """COMMIT, the commit point; then have reads show it."""
        try:
            session.say("COMMIT")
        except self._sessions.errors as error:
            if not self._sessions.lost(error, session):
                self._undo(session)
                raise self._refusal(error, "cannot write to") from self._sessions.cause(error)
            self._part(session)
            if not self._came_through(applied):
                raise StorageError(
                    f"{self._shown}: the connection was lost while committing; nothing was"
                    " written: try again",
                    path=self._shown,
                ) from self._sessions.cause(error)
            return  # reads will find it
        except BaseException:
            self._undo(session)
            raise
        self._reads.committed(applied, session)

    def _came_through(self, applied: list[Commit]) -> bool:
        """Whether commits are there whose COMMIT had no answer.  Raises StorageError."""
        session = None
        try:
            session = self._connected()
            # The server may still be at it: the lock is free only when it has ended either way.
            self._kind.begin(session, self._statements, self._lock_timeout)
            row = session.row(self._statements.writer, applied[-1].revision)
            session.say("ROLLBACK")
        except self._failures as worse:
            if session is not None:
                self._part(session)
            raise StorageError(
                f"{self._shown}: the connection was lost while committing revision"
                f" {applied[-1].revision}, and the server does not answer: whether it was written"
                f" is unknown; see whether changes(since={applied[-1].revision - 1}) tells of it"
                " once the server is back",
                path=self._shown,
            ) from self._sessions.cause(worse)
        return row is not None and row[0] == self._writer

    def _release(self) -> None:
        self._owner = None
        self._since = None
        if self._closed:
            self._disconnect()
        self._lock.release()

    def _refusal(self, error: BaseException, what: str) -> FilestoreError:
        return self._sessions.refusal(error, what)

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
        found = self._inside(lambda session: self._load(session, key[0], [key[1]])).get(key[1])
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
            known.update(self._inside(lambda session: self._load(session, collection, missing)))
        return [(id, found) for id in ids if (found := known.get(id)) is not None]

    def ids(self, collection: str) -> list[str]:
        """The ids as the thread that holds the lock sees them."""
        if not self._kind.deferred:
            return self._reads.ids(collection)
        name, _ = columns(collection, "x")
        return self._inside(lambda session: ids_of(session.rows(self._statements.ids, name)))

    def collections(self) -> list[str]:
        """The collections as the thread that holds the lock sees them."""
        if not self._kind.deferred:
            return self._reads.collections()
        rows = self._inside(lambda session: session.rows(self._statements.collections))
        return sorted(naming.text(name) for (name,) in rows)

    def _load(
        self, session: Session, collection: str, ids: Sequence[str]
    ) -> dict[str, Entry | Corrupt]:
        return load(session, self._statements, collection, ids, self._shown)

    def _inside(self, work: Callable[[Session], T]) -> T:
        """Have ``work`` done in the block's own transaction."""
        session = self._session
        if self._broken is not None or session is None:
            raise self._broken or closed()
        try:
            return work(session)
        except self._sessions.errors as error:
            raise self._break(error, session) from self._sessions.cause(error)

    def _break(self, error: BaseException, session: Session) -> FilestoreError:
        """Have nothing of this block written: the transaction is spoilt."""
        self._broken = self._refusal(error, "cannot write to")
        if self._sessions.lost(error, session):
            self._part(session)
            self._broken = StorageError(
                f"{self._shown}: the connection was lost; nothing was written: try again",
                path=self._shown,
            )
        return self._broken

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
        nested = bool(self._applied)
        if nested:
            self._inside(lambda session: session.say("SAVEPOINT filestore_apply"))
        try:
            self._inside(lambda session: self._record(session, commit))
        except BaseException:
            if self._broken is None:  # an interrupt: what was written so far must not stay
                self._broken = StorageError(f"{self._shown}: the write was interrupted")
            if nested and self._session is not None:
                with suppress(*self._sessions.errors):
                    self._session.say("ROLLBACK TO SAVEPOINT filestore_apply")
                    self._broken = None
            raise
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
            raise self._refusal(error, "cannot write to") from self._sessions.cause(error)
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
            self._writer,
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
            ops = self._inside(self._past_history)
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
                self._disconnect()
            finally:
                self._lock.release()

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

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
        session, self._session = self._session, None
        self._owner = self._since = None
        self._applied, self._overlay, self._broken = [], {}, None
        if session is not None:
            part(session)
