"""The database's half of the write lock: a transaction, on a connection that is kept for it.

It is ``BEGIN IMMEDIATE`` of SQLite, the locked row of ``filestore_meta`` of PostgreSQL.  A
connection that is lost before COMMIT leaves nothing behind.  When it is lost at COMMIT, the
handle asks on a new connection, under the lock, whether its commit is there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from filestore.backends.sql.session import closed
from filestore.errors import FilestoreError, StorageError

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.backends.sql.reads import Reads
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session, Sessions
    from filestore.model import Commit, Revision


class Locking(Protocol):
    """What writing needs of a kind of database; see there."""

    deferred: bool

    def writes(self, session: Session) -> None:
        """Make a connection fit for the writer."""

    def begin(self, session: Session, statements: Statements, timeout: float) -> int:
        """Begin to write, the lock being held; returns the newest revision."""

    def begin_at_once(self, session: Session) -> None:
        """Begin a commit where the handle's own lock is the store's."""


class Turn:
    """The turns of one handle, one after the other; its own lock being held all the while.

    ``session``: the connection, if there is one.  ``broken``: why nothing more can be written
    in this turn.  ``writer`` stands in each commit, so that the handle knows its own.
    """

    def __init__(
        self,
        sessions: Sessions,
        statements: Statements,
        reads: Reads,
        kind: Locking,
        *,
        shown: str,
        lock_timeout: float,
    ) -> None:
        self._sessions = sessions
        self._statements = statements
        self._reads = reads
        self._kind = kind
        self._shown = shown
        self._lock_timeout = lock_timeout
        self._failures: tuple[type[Exception], ...] = (FilestoreError, *sessions.errors)
        self.writer = os.urandom(8).hex()
        self.session: Session | None = None
        self.broken: FilestoreError | None = None

    def begin(self, timeout: float) -> Revision:
        """Begin the transaction; returns the newest revision, which reads then know.

        Raises LockTimeout, StorageError.
        """
        self.broken = None
        session = self._connected()
        try:
            return self._enter(session, timeout)
        except self._sessions.errors as error:
            if not self._sessions.lost(error, session):
                self._undo(session)
                raise self._refusal(error) from self._sessions.cause(error)
            # It was idle: the server may have been restarted since.  Nothing has been asked yet.
            self._part(session)
            session = self._connected()
            try:
                return self._enter(session, timeout)
            except self._sessions.errors as worse:
                self._part(session)
                raise self._refusal(worse) from self._sessions.cause(worse)
        except BaseException:
            self._undo(session)
            raise

    def _enter(self, session: Session, timeout: float) -> Revision:
        revision = self._kind.begin(session, self._statements, timeout)
        if revision != self._reads.seen:
            self._reads.take_in(session, revision)
        return revision

    def _connected(self) -> Session:
        if self.session is None:
            session = self._sessions.connect()
            try:
                self._kind.writes(session)
            except BaseException:
                session.close()
                raise
            self.session = session
        return self.session

    def inside(self, work: Callable[[Session], T]) -> T:
        """Have ``work`` done in the transaction.  Raises StorageError, Closed."""
        session = self.session
        if self.broken is not None or session is None:
            raise self.broken or closed()
        try:
            return work(session)
        except self._sessions.errors as error:
            raise self._break(error, session) from self._sessions.cause(error)

    def write(self, work: Callable[[Session], None], *, nested: bool) -> None:
        """Have ``work`` write in the transaction; when it raises, nothing of that stays.

        ``nested``: what was written before stays even then, if the database can do that.
        """
        if nested:
            self.inside(lambda session: session.say("SAVEPOINT filestore_apply"))
        try:
            self.inside(work)
        except BaseException:
            if self.broken is None:  # an interrupt: what was written so far must not stay
                self.broken = StorageError(f"{self._shown}: the write was interrupted")
            if nested and self.session is not None:
                with suppress(*self._sessions.errors):
                    self.session.say("ROLLBACK TO SAVEPOINT filestore_apply")
                    self.broken = None
            raise

    def end(self, applied: Sequence[Commit]) -> None:
        """Commit what was applied; where the turn is broken, take it back and raise why."""
        session = self.session
        if session is None:
            if applied:
                raise self.broken or StorageError(f"{self._shown}: nothing was written")
        elif not applied or self.broken is not None:
            self._undo(session)
            if applied and self.broken is not None:
                raise self.broken
        else:
            self._commit(session, applied)

    def _commit(self, session: Session, applied: Sequence[Commit]) -> None:
        """COMMIT, the commit point; then have reads show it."""
        try:
            session.say("COMMIT")
        except self._sessions.errors as error:
            if not self._sessions.lost(error, session):
                self._undo(session)
                raise self._refusal(error) from self._sessions.cause(error)
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

    def _came_through(self, applied: Sequence[Commit]) -> bool:
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
        return row is not None and row[0] == self.writer

    def _break(self, error: BaseException, session: Session) -> FilestoreError:
        """Have nothing of this turn written: the transaction is spoilt."""
        self.broken = self._refusal(error)
        if self._sessions.lost(error, session):
            self._part(session)
            self.broken = StorageError(
                f"{self._shown}: the connection was lost; nothing was written: try again",
                path=self._shown,
            )
        return self.broken

    def _undo(self, session: Session) -> None:
        """End the transaction; whatever comes, nothing of it stays."""
        try:
            session.say("ROLLBACK")
        except Exception:  # noqa: BLE001  # what cannot be rolled back is rolled back by parting
            self._part(session)

    def _part(self, session: Session) -> None:
        """Let go of a connection that is lost, and of the idle ones that will be as well."""
        self.session = None
        session.close()
        self._sessions.forget()

    def _refusal(self, error: BaseException) -> FilestoreError:
        return self._sessions.refusal(error, "cannot write to")

    def disconnect(self) -> None:
        """Close the connection; the next turn makes another."""
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def after_fork(self, part: Callable[[Session], object]) -> None:
        """In a child: ``part`` gets the parent's connection."""
        session, self.session = self.session, None
        self.broken = None
        if session is not None:
            part(session)
