"""Connections: one at a time (a session), a handle's (sessions), and what drivers raise."""

from __future__ import annotations

import errno
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError

from filestore.errors import Closed, FilestoreError, ReadOnly, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from filestore.backends.sql.address import Address
    from filestore.backends.sql.schema import Statement

T = TypeVar("T")

IDLE: Final = 8
"""How many connections a handle keeps open for readers to come."""


class Session:
    """One connection of the driver, in autocommit; for one thread at a time.

    What the driver raises goes through: see :meth:`Sessions.refusal`.
    """

    __slots__ = ("_execute", "_fairy", "_row", "_rows", "connection")

    def __init__(self, fairy: Any) -> None:
        self._fairy = fairy
        self.connection = fairy.dbapi_connection
        cursor = self.connection.cursor()
        self._execute = cursor.execute
        self._row = cursor.fetchone
        self._rows = cursor.fetchall

    def run(self, statement: Statement, *values: Any) -> None:
        """Carry out a statement that gives nothing."""
        self._execute(statement.text, statement.bound(values))

    def row(self, statement: Statement, *values: Any) -> Any:
        """The first row, None when there is none."""
        self._execute(statement.text, statement.bound(values))
        return self._row()

    def rows(self, statement: Statement, *values: Any) -> list[Any]:
        """All rows."""
        self._execute(statement.text, statement.bound(values))
        found: list[Any] = self._rows()
        return found

    def say(self, text: str) -> None:
        """Carry out plain SQL without values."""
        self._execute(text)

    def ask(self, text: str) -> Any:
        """The first row of plain SQL without values."""
        self._execute(text)
        return self._row()

    def close(self) -> None:
        """Part from the database in good order, as far as that can be."""
        with suppress(Exception):  # it may be gone: then it is closed
            self._fairy.detach()
        with suppress(Exception):
            self.connection.close()


class Kind(Protocol):
    """What a database does in its own way."""

    stays_open: bool
    """Whether every thread uses one connection, without which the data are gone."""

    deferred: bool
    """Whether the write lock is a transaction of the database."""

    def opened(self, session: Session) -> None:
        """Make a fresh connection fit for use."""

    def gone(self, error: BaseException) -> bool:
        """Whether the error says that the connection is of no use any more."""

    def refusal(self, error: BaseException) -> FilestoreError | None:
        """What the driver's error means here; None for nothing in particular."""


class Sessions:
    """The connections of one handle: :meth:`ask` for reading, :meth:`connect` for one's own."""

    def __init__(self, engine: Engine, address: Address, kind: Kind) -> None:
        self._engine = engine
        self._address = address
        self._kind = kind
        self._idle: list[Session] = []
        self._mutex = threading.Lock()
        self._turn = threading.RLock()
        self._closed = False
        self._refused: FilestoreError | None = None
        self._out = 0
        dbapi: Any = engine.dialect.dbapi
        self.errors: tuple[type[Exception], ...] = (dbapi.Error, DBAPIError)

    def connect(self) -> Session:
        """A new connection.  Raises StorageError."""
        if self._closed:
            raise closed()
        if self._refused is not None:
            raise self._refused
        session = None
        try:
            session = Session(self._engine.raw_connection())
            self._kind.opened(session)
        except FilestoreError:
            if session is not None:
                session.close()
            raise
        except Exception as error:  # noqa: BLE001  # drivers raise more than their own
            if session is not None:
                session.close()
            raise self.refusal(error, "cannot open") from self._cause(error)
        return session

    def take(self) -> Session:
        """An idle connection, or a new one; to be given back."""
        if self._kind.stays_open:
            self._turn.acquire()
        try:
            with self._mutex:
                if self._closed:
                    raise closed()
                self._out += 1
                if self._idle:
                    return self._idle.pop()
            try:
                return self.connect()
            except BaseException:
                with self._mutex:
                    self._out -= 1
                raise
        except BaseException:
            if self._kind.stays_open:
                self._turn.release()
            raise

    def give(self, session: Session, *, sound: bool = True) -> None:
        """Take a connection back."""
        try:
            with self._mutex:
                self._out -= 1
                if sound and not self._closed and len(self._idle) < IDLE:
                    self._idle.append(session)
                    return
            session.close()
        finally:
            if self._kind.stays_open:
                self._turn.release()

    def ask(self, work: Callable[[Session], T]) -> T:
        """Have ``work`` read something; again on a new connection when the old one was lost.

        Raises Closed, StorageError and what else the driver's errors mean.
        """
        session = self.take()
        sound = True
        try:
            try:
                return work(session)
            except self.errors as error:
                if not self.lost(error, session):
                    raise self.refusal(error, "cannot read") from self._cause(error)
                sound = False
        finally:
            self.give(session, sound=sound)
        self.forget()
        session = self.take()
        sound = True
        try:
            return work(session)
        except self.errors as error:
            sound = not self.lost(error, session)
            raise self.refusal(error, "cannot read") from self._cause(error)
        finally:
            self.give(session, sound=sound)

    def lost(self, error: BaseException, session: Session) -> bool:
        """Whether the connection is of no use any more."""
        if isinstance(error, DBAPIError):
            if error.connection_invalidated:
                return True
            error = error.orig or error
        if self._kind.gone(error) or getattr(session.connection, "closed", False):
            return True
        dialect: Any = self._engine.dialect
        return bool(
            isinstance(error, dialect.dbapi.Error)
            and dialect.is_disconnect(error, session.connection, None)
        )

    def refusal(self, error: BaseException, what: str) -> FilestoreError:
        """The error to raise for one of the driver."""
        shown = self._address.shown
        cause: BaseException = error
        if isinstance(error, DBAPIError) and error.orig is not None:
            cause = error.orig
        meant = self._kind.refusal(cause)
        if meant is not None:
            return meant
        text = self._address.clean(str(cause)) or type(cause).__name__
        return StorageError(f"{what} {shown}: {text}", errno=_errno(cause), path=shown)

    def _cause(self, error: BaseException) -> BaseException | None:
        """What to chain: nothing that tells a password."""
        if isinstance(error, DBAPIError) and error.orig is not None:
            error = error.orig
        return None if self._address.leaks(error) else error

    cause = _cause

    def forget(self) -> None:
        """Close the idle connections: the server has gone, or came back as another."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def close(self) -> None:
        """Close them all, those in use when they are given back; idempotent."""
        with self._mutex:
            self._closed = True
        if self._kind.stays_open:
            with self._turn:
                self.forget()
        else:
            self.forget()

    # -- fork -----------------------------------------------------------------------

    def pause(self, deadline: float) -> bool:
        """Before a fork: keep others from taking connections; whether none is in use."""
        while True:
            self._mutex.acquire()
            if not self._out:
                return True
            if time.monotonic() >= deadline:
                return False
            self._mutex.release()
            time.sleep(0.0005)

    def resume(self) -> None:
        """After a fork, in the parent."""
        self._mutex.release()

    def refuse(self, error: FilestoreError) -> None:
        """In a child: have every use raise this."""
        self._refused = error

    def after_fork(self, engine: Engine, part: Callable[[Session], object]) -> None:
        """In a child: have no connections; ``part`` gets the parent's."""
        self._engine = engine
        idle, self._idle, self._out = self._idle, [], 0
        self._mutex = threading.Lock()
        self._turn = threading.RLock()
        for session in idle:
            part(session)


def closed() -> Closed:
    return Closed("the store is closed: open it again")


def read_only(shown: str) -> ReadOnly:
    return ReadOnly(
        f"{shown} was opened read-only: open it with readonly=False to write", path=shown
    )


def _errno(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    return errno.ECONNREFUSED if "refused" in str(error) else None
