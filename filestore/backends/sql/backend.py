"""The backend: one handle on a store in a database."""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from filestore.backend import InMemory
from filestore.backends.sql import inspection
from filestore.backends.sql.address import parse
from filestore.backends.sql.postgresql import Postgresql
from filestore.backends.sql.reads import Reads
from filestore.backends.sql.schema import FORMAT, statements_for
from filestore.backends.sql.session import Sessions, closed
from filestore.backends.sql.sqlite import SYNCHRONOUS, Sqlite
from filestore.backends.sql.writes import Writes
from filestore.engine.cache import DEFAULT_BYTES
from filestore.errors import (
    Closed,
    Corrupt,
    NotFound,
    StorageError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Engine

    from filestore.backend import Entry, Indexing, Unreadable
    from filestore.backends.sql.session import Session
    from filestore.model import Commit, Edit, Key, Revision
    from filestore.problem import Problem

FORK_SECONDS: Final = 1.0
"""How long a fork waits for other threads to finish what they do with the database."""

_handles: weakref.WeakSet[SqlBackend] = weakref.WeakSet()
_left: list[object] = []  # connections of a parent, which a child must neither use nor close
_unusable: set[tuple[int, int]] = set()  # files that this process was forked in the midst of


class SqlBackend:
    """A :class:`filestore.backend.Backend` over a database.  Safe for threads and processes.

    ``url``: as SQLAlchemy has them; ``sqlite://`` is a new store in memory, of this handle
    alone.  ``durability``: ``full`` (as the database keeps a commit), ``normal``
    (survives the death of any process; a power cut may take the last commits, each whole), ``off``.
    ``synchronous``: SQLite's own setting (``OFF``, ``NORMAL``, ``FULL``, ``EXTRA``) instead of
    what the durability says.  ``lock_timeout`` in seconds.  ``file_mode``: the permissions of a new
    SQLite file.  ``cache_bytes``: of documents, kept in memory.

    Raises NotFound, UnsupportedFormat, Corrupt, StorageError, LockTimeout.
    """

    def __init__(
        self,
        url: str,
        *,
        durability: str = "full",
        synchronous: str | None = None,
        readonly: bool = False,
        create: bool = True,
        lock_timeout: float = 10.0,
        file_mode: int = 0o600,
        cache_bytes: int = DEFAULT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        address = parse(url)
        self._shown = address.shown
        self._readonly = readonly
        self._closed = False
        self._paused = self._quiet = False
        self._kind = kind = _kind(
            address,
            durability=durability,
            synchronous=synchronous,
            readonly=readonly,
            create=create,
            lock_timeout=lock_timeout,
            file_mode=file_mode,
        )
        if kind.identity in _unusable:
            raise _forked_meanwhile(self._shown)
        engine = self._engine()
        self._sessions = Sessions(engine, address, kind)
        self._statements = statements_for(engine.dialect)
        self._reads = Reads(self._sessions, self._statements, self._shown, cache_bytes)
        self._writes = Writes(
            self._sessions,
            self._statements,
            self._reads,
            kind,
            shown=self._shown,
            readonly=readonly,
            lock_timeout=lock_timeout,
            clock=clock,
        )
        try:
            self._reads.begin(self._sessions.ask(lambda session: self._prepare(session, create)))
        except BaseException:
            self._sessions.close()
            raise
        _handles.add(self)

    def _engine(self) -> Engine:
        try:
            return create_engine(
                self._kind.url,
                connect_args=self._kind.connect_args,
                isolation_level="AUTOCOMMIT",
                poolclass=NullPool,  # the handle keeps its connections itself
                pool_reset_on_return=None,
            )
        except ImportError as error:
            raise StorageError(
                f"{self._shown}: the driver cannot be imported ({error}): install it, as with"
                " pip install 'filestore[postgresql]'",
                path=self._shown,
            ) from error

    def _prepare(self, session: Session, create: bool) -> Revision:
        """Make the tables where there are none; returns the newest revision."""
        kind, statements = self._kind, self._statements
        if not kind.has_tables(session):
            if (self._readonly and not kind.in_memory) or not create:
                raise NotFound(f"there is no store at {self._shown}", path=self._shown)
            kind.begin_making(session)
            try:
                if not kind.has_tables(session):
                    for text in statements.create:
                        session.say(text)
                    session.run(statements.begin_meta, 1, FORMAT, os.urandom(8).hex(), 0)
                session.say("COMMIT")
            except BaseException:
                with suppress(*self._sessions.errors):
                    session.say("ROLLBACK")
                raise
        row = session.row(statements.meta)
        if row is None:
            raise Corrupt(
                f"{self._shown}: the table filestore_meta has no row: restore it from a copy",
                path=self._shown,
            )
        if row[0] != FORMAT:
            raise UnsupportedFormat(
                f"{self._shown}: the tables are of format {row[0]}, and this version of filestore"
                f" knows format {FORMAT}: use a newer version",
                path=self._shown,
            )
        return int(row[2])

    # -- the protocol -------------------------------------------------------------

    @property
    def location(self) -> str:
        return self._shown

    @property
    def readonly(self) -> bool:
        return self._readonly

    @property
    def revision(self) -> Revision:
        return self._writes.revision if self._writes.mine else self._reads.catch_up()

    def get(self, key: tuple[str, str]) -> Entry | None:
        return self._writes.get(key) if self._writes.mine else self._reads.get(key)

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        """Those of these documents that are there, as :meth:`get` gives them, in their order.

        One that cannot be read has its error in its place.  ``keep``: in memory, what was not.
        """
        if self._writes.mine:
            return list(self._writes.get_many(collection, ids))
        return list(self._reads.get_many(collection, ids, keep=keep))

    def ids(self, collection: str) -> list[str]:
        return (self._writes if self._writes.mine else self._reads).ids(collection)

    def collections(self) -> list[str]:
        return (self._writes if self._writes.mine else self._reads).collections()

    def exclusive(self, timeout: float | None = None) -> AbstractContextManager[None]:
        """Hold the write lock, which is a transaction of the database.

        What :meth:`apply` does inside is committed, and durable, when the outermost block ends,
        by an exception too; until then this thread alone sees it.
        """
        return self._writes.exclusive(timeout)

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None = None, message: str | None = None
    ) -> Commit | None:
        return self._writes.apply(edits, actor=actor, message=message)

    @property
    def horizon(self) -> Revision:
        return self._reads.horizon

    def changes(self, since: Revision, key: Key | None = None) -> Iterator[Commit]:
        self._check_open()
        return self._reads.changes(since, key)

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        self._check_open()
        return self._reads.subscribe(observer)

    @property
    def indexing(self) -> Indexing | None:
        return _Indexing(self._reads)

    def check(self) -> list[Problem]:
        self._check_open()
        return self._sessions.ask(self._check)

    def _check(self, session: Session) -> list[Problem]:
        faults = [inspection.damaged(self._shown, fault) for fault in self._kind.problems(session)]
        self._kind.begin_reading(session)
        try:
            return faults + inspection.check(session, self._statements, self._reads, self._shown)
        finally:
            session.say("ROLLBACK")

    def repair(self) -> list[Problem]:
        """Take in what was changed past the history; returns what is left."""
        with self._writes.exclusive():
            self._writes.take_in()
        self._reads.forget()
        return self.check()

    def rescan(self) -> Revision:
        """Nothing to look for: documents change by commits alone."""
        return self.revision

    def checkpoint(self) -> None:
        """SQLite: bring the write-ahead log into the file.  A server does so by itself."""
        self._check_open()
        self._sessions.ask(self._kind.checkpoint)

    def stats(self) -> dict[str, Any]:
        self._check_open()

        def ask(session: Session) -> dict[str, Any]:
            return {
                **self._kind.figures(session),
                "documents": session.row(self._statements.count)[0],
                "history_commits": session.row(self._statements.history)[0],
            }

        documents, size = self._reads.cached
        return {
            "backend": "sql",
            "location": self._shown,
            "format": FORMAT,
            "readonly": self._readonly,
            "revision": self.revision,
            "collections": len(self.collections()),
            **self._sessions.ask(ask),
            "cached_documents": documents,
            "cached_bytes": size,
        }

    def close(self) -> None:
        self._closed = True
        _handles.discard(self)
        self._writes.close()
        self._reads.close()
        self._sessions.close()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()

    # -- fork -----------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let other threads finish what they do with an SQLite file, for a moment."""
        self._paused = self._quiet = self._kind.path is not None
        if self._paused:
            deadline = time.monotonic() + FORK_SECONDS
            self._quiet = self._writes.pause(deadline)
            self._quiet = self._sessions.pause(deadline) and self._quiet

    def after_fork_in_parent(self) -> None:
        if self._paused:
            self._writes.resume()
            self._sessions.resume()

    def after_fork_in_child(self) -> None:
        """Have connections of one's own; the parent's are neither used nor disturbed."""
        part = _leave
        if isinstance(self._kind, Sqlite):
            if self._kind.in_memory:
                self._sessions.refuse(
                    Closed(
                        f"the store {self._shown} is in the memory of this process's parent: open"
                        " one of your own"
                    )
                )
            elif self._quiet:
                # SQLite takes locks for a process: with none of the parent's connections left
                # here, new ones take locks of their own.
                part = _close
            else:
                self._sessions.refuse(_forked_meanwhile(self._shown))
                if self._kind.identity is not None:
                    _unusable.add(self._kind.identity)
        self._reads.after_fork()
        self._writes.after_fork(part)
        self._sessions.after_fork(self._engine(), part)


class _Indexing(InMemory):
    """Documents change by commits; what cannot be read was changed past them."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def edited(self, collection: str) -> Collection[str] | None:
        return self._reads.unread.get(collection, ())


def _kind(
    address: Any,
    *,
    durability: str,
    synchronous: str | None,
    readonly: bool,
    create: bool,
    lock_timeout: float,
    file_mode: int,
) -> Sqlite | Postgresql:
    if durability not in SYNCHRONOUS:
        raise ValueError(f"durability must be full, normal or off, not {durability!r}")
    if address.database == "postgresql":
        return Postgresql(
            address, durability=durability, readonly=readonly, lock_timeout=lock_timeout
        )
    if address.database != "sqlite":
        raise UnsupportedFormat(
            f"{address.shown}: no store can be in a database of {address.database}: use SQLite"
            " or PostgreSQL",
            path=address.shown,
        )
    wanted = (synchronous or SYNCHRONOUS[durability]).upper()
    if wanted not in {"OFF", "NORMAL", "FULL", "EXTRA"}:
        raise ValueError(f"{synchronous!r} is no synchronous of SQLite: OFF, NORMAL, FULL, EXTRA")
    return Sqlite(
        address,
        synchronous=wanted,
        readonly=readonly,
        create=create,
        lock_timeout=lock_timeout,
        file_mode=file_mode,
    )


def _forked_meanwhile(shown: str) -> StorageError:
    return StorageError(
        f"{shown}: this process was forked while another thread was using the store, and SQLite"
        " cannot tell its locks from the parent's: use the store in a process that was started"
        " anew, or fork while no thread writes",
        path=shown,
    )


def _leave(session: Session) -> None:
    _left.append(session)


def _close(session: Session) -> None:
    session.close()


def _before() -> None:
    for handle in list(_handles):
        handle.before_fork()


def _in_parent() -> None:
    for handle in list(_handles):
        handle.after_fork_in_parent()


def _in_child() -> None:
    for handle in list(_handles):
        handle.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
