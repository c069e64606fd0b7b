"""What SQLite does in its own way: one file, one writer, locks of the operating system.

A store in a file is in WAL mode, so that readers and the writer do not wait for each other.  A
store in memory has one connection, which threads use in turn; its write lock is the handle's own.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from filestore.backends.sql.session import read_only
from filestore.errors import (
    Corrupt,
    FilestoreError,
    LockTimeout,
    NotFound,
    StorageError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from filestore.backends.sql.address import Address
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session

SYNCHRONOUS: Final = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
"""What a durability is called in SQLite."""

_PAUSES: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002)
"""Seconds between looks at a lock that another holds; the last one again and again."""

_WRITE_LOCK: Final = 120
"""The byte of the ``-shm`` file that a writer locks: WAL_WRITE_LOCK of SQLite's file format."""

_BUSY: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})
_FULL: Final = frozenset({"SQLITE_FULL"})
_BROKEN: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})


class Sqlite:
    """A file, or a database in memory."""

    def __init__(
        self,
        address: Address,
        *,
        synchronous: str,
        readonly: bool,
        create: bool,
        lock_timeout: float,
        file_mode: int,
    ) -> None:
        self._shown = address.shown
        self._synchronous = synchronous
        self._readonly = readonly
        self._lock_timeout = lock_timeout
        self.path = _path(address)
        self.in_memory = self.path is None
        self.stays_open = self.in_memory
        self.deferred = not self.in_memory
        self.url: URL = address.url
        self.identity: tuple[int, int] | None = None
        if self.path is not None:
            self.url = self.url.set(database=self.path)
            if not os.path.exists(self.path):
                if readonly or not create:
                    raise NotFound(f"there is no store at {self._shown}", path=self._shown)
                _make(self.path, file_mode, self._shown)
            self.identity = _identity(self.path)
        self.connect_args: dict[str, Any] = {
            "check_same_thread": False,  # sessions see to it that threads take turns
            "timeout": lock_timeout,
            "isolation_level": None,
        }

    def opened(self, session: Session) -> None:
        if self.in_memory:
            return
        if self._readonly:
            session.say("PRAGMA query_only = 1")
            return
        mode = session.ask("PRAGMA journal_mode")[0]
        if mode != "wal":
            mode = session.ask("PRAGMA journal_mode = WAL")[0]
        if mode != "wal":
            raise StorageError(
                f"{self._shown}: SQLite cannot use a write-ahead log there (it stays with"
                f" {mode!r}): use a folder of a local file system",
                path=self._shown,
            )
        session.say(f"PRAGMA synchronous = {self._synchronous}")

    def writes(self, session: Session) -> None:
        """Make a connection fit for the writer: it looks for the lock by itself."""
        if not self.in_memory:
            session.say("PRAGMA busy_timeout = 0")

    def begin(self, session: Session, statements: Statements, timeout: float) -> int:
        """Begin to write, the lock being held; returns the newest revision.

        ``timeout`` in seconds.  Raises LockTimeout.
        """
        self._same_file()
        deadline = time.monotonic() + timeout
        pauses = iter(_PAUSES)
        while True:
            try:
                session.say("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if _name(error) not in _BUSY:
                    raise
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._timeout(timeout)
            time.sleep(min(next(pauses, _PAUSES[-1]), left))
        return int(session.row(statements.revision)[0])

    def begin_at_once(self, session: Session) -> None:
        """Begin a commit in memory, where the handle's own lock is the store's."""
        session.say("BEGIN IMMEDIATE")

    def begin_reading(self, session: Session) -> None:
        """Have everything that is read until ROLLBACK be of one moment."""
        session.say("BEGIN")

    def has_tables(self, session: Session) -> bool:
        return session.ask("SELECT 1 FROM sqlite_master WHERE name = 'filestore_meta'") is not None

    def begin_making(self, session: Session) -> None:
        """Keep others from making the tables at the same time, until COMMIT."""
        session.say("BEGIN IMMEDIATE")

    def gone(self, error: BaseException) -> bool:  # noqa: ARG002  # the kind's
        return False

    def refusal(self, error: BaseException) -> FilestoreError | None:
        name, shown = _name(error), self._shown
        if name in _BUSY:
            return self._timeout(self._lock_timeout)
        if name in _FULL:
            return StorageError(
                f"{shown}: the disk is full; nothing was written",
                errno=errno.ENOSPC,
                path=shown,
            )
        if name in _BROKEN:
            return Corrupt(
                f"{shown} is damaged, or no database of SQLite: {error}; restore it from a copy",
                path=shown,
            )
        if name.startswith("SQLITE_READONLY"):
            return (
                read_only(shown)
                if self._readonly
                else StorageError(
                    f"{shown}: no permission to write to the file or its folder",
                    errno=errno.EACCES,
                    path=shown,
                )
            )
        if name.startswith("SQLITE_CANTOPEN"):
            return StorageError(
                f"{shown}: the file cannot be opened: is its folder there, with permission to"
                " write?",
                errno=errno.ENOENT,
                path=shown,
            )
        return None

    def checkpoint(self, session: Session) -> None:
        """Bring what the write-ahead log holds into the file, as far as readers let it."""
        if not self.in_memory and not self._readonly:
            session.say("PRAGMA wal_checkpoint(PASSIVE)")

    def figures(self, session: Session) -> dict[str, Any]:
        """What :meth:`stats` tells of this kind of database alone."""
        pages = session.ask("PRAGMA page_count")[0]
        size = session.ask("PRAGMA page_size")[0]
        wal = 0
        if self.path is not None:
            with suppress(OSError):
                wal = os.stat(f"{self.path}-wal").st_size
        return {
            "database": "sqlite",
            "version": sqlite3.sqlite_version,
            "bytes": pages * size,
            "wal_bytes": wal,
            "synchronous": self._synchronous,
        }

    def problems(self, session: Session) -> list[str]:
        """What SQLite finds wrong with its own file."""
        found: str = session.ask("PRAGMA quick_check(1)")[0]
        return [] if found == "ok" else [found]

    def _same_file(self) -> None:
        if self.path is None:
            return
        if _identity(self.path) != self.identity:
            raise StorageError(
                f"{self._shown}: the file was moved, deleted or replaced since this handle opened"
                " it; nothing was written: open the store again",
                path=self._shown,
            )

    def _timeout(self, seconds: float) -> LockTimeout:
        pid = None if self.path is None else _holder(f"{self.path}-shm")
        who = f"process {pid}" if pid is not None else "another writer"
        return LockTimeout(
            f"{self._shown}: {who} has held the store's write lock for longer than"
            f" {seconds:g} s: try again, or wait longer with lock_timeout",
            path=self._shown,
            pid=pid,
            host=os.uname().nodename,
        )


def _path(address: Address) -> str | None:
    """The database's file, None for one in memory."""
    name = address.url.database
    if not name or name == ":memory:":
        return None
    if name.startswith("file:"):
        raise UnsupportedFormat(
            f"{address.shown}: write the file's path, as in sqlite:////var/lib/state.db, or"
            " sqlite:// for a store in memory",
            path=address.shown,
        )
    return os.path.abspath(name)


def _make(path: str, mode: int, shown: str) -> None:
    """Make an empty file, so that documents are for its owner alone; SQLite copies the mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_RDWR, mode))
    except FileExistsError:
        pass  # another process was quicker
    except OSError as error:
        raise StorageError(
            f"{shown}: {error.strerror}: the file cannot be made", errno=error.errno, path=shown
        ) from error


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _name(error: BaseException) -> str:
    """SQLite's own name of the error, without its finer distinctions of being busy."""
    name: str = getattr(error, "sqlite_errorname", "")
    for busy in _BUSY:
        if name.startswith(busy):
            return busy
    return name


def _holder(path: str) -> int | None:
    """The process that holds SQLite's write lock, as Linux tells it.

    Asked by opening the file, closing it would drop the locks that SQLite holds on it for this
    process; a list of all locks drops none.
    """
    try:
        status = os.stat(path)
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        # 4: POSIX  ADVISORY  WRITE 4021 fe:01:1835 120 120
        match = re.fullmatch(r"\d+: POSIX +\w+ +WRITE +(\d+) (\S+) (\d+) (\d+|EOF)", line.strip())
        if match is None or match[2] != device or match[4] == "EOF":
            continue
        if int(match[3]) <= _WRITE_LOCK <= int(match[4]):
            return int(match[1])
    return None
