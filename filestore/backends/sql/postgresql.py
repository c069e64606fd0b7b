"""What PostgreSQL does in its own way: a server, which may be elsewhere, and may go away.

Every connection names its process to the server, so that whoever waits for the write lock can
be told who has it.  The write lock is the row of ``filestore_meta``: readers do not wait for it.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Any, Final

from filestore.errors import (
    FilestoreError,
    LockTimeout,
    NotFound,
    ReadOnly,
    StorageError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from filestore.backends.sql.address import Address
    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session

CONNECT_SECONDS: Final = 10
"""How long to try to reach the server, unless the URL says otherwise (connect_timeout)."""

_DEAD_AFTER: Final = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""When a server that says nothing at all is taken for dead."""

_MAKING: Final = 0x66696C65  # "file", so that two processes do not make the tables at once

# Who holds the row: whoever is in the table with the lock that SELECT FOR UPDATE takes, and does
# not wait for anything.
_HOLDER: Final = """
SELECT a.application_name, extract(epoch FROM a.xact_start)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.relation = to_regclass('filestore_meta') AND l.mode = 'RowShareLock' AND l.granted
  AND a.pid <> pg_backend_pid() AND a.wait_event_type IS DISTINCT FROM 'Lock'
ORDER BY a.xact_start LIMIT 1
"""


class Postgresql:
    """A database of a server."""

    stays_open = False
    deferred = True
    in_memory = False
    path = None
    identity = None

    def __init__(
        self, address: Address, *, durability: str, readonly: bool, lock_timeout: float
    ) -> None:
        self._shown = address.shown
        self._durability = durability
        self._readonly = readonly
        self._lock_timeout = lock_timeout
        self.url: URL = address.url
        self._asked = set(address.url.query)

    @property
    def connect_args(self) -> dict[str, Any]:
        """What the driver is told beside the URL, whose own options count more."""
        ours: dict[str, Any] = {
            "application_name": f"filestore {os.getpid()}@{os.uname().nodename}"[:63],
            "client_encoding": "UTF8",
            "connect_timeout": CONNECT_SECONDS,
            **_DEAD_AFTER,
        }
        return {name: value for name, value in ours.items() if name not in self._asked}

    def opened(self, session: Session) -> None:
        encoding, synchronous = session.ask(
            "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')"
        )
        if encoding != "UTF8":
            raise UnsupportedFormat(
                f"{self._shown}: the database's encoding is {encoding}, which cannot hold every"
                " document: make one with ENCODING 'UTF8'",
                path=self._shown,
            )
        # A client that dies with its machine must not hold the lock for hours.
        settings = ["SET tcp_keepalives_idle = 15", "SET tcp_keepalives_interval = 5"]
        if self._readonly:
            settings.append("SET default_transaction_read_only = on")
        elif self._durability != "full":
            settings.append("SET synchronous_commit = off")
        elif synchronous == "off":
            settings.append("SET synchronous_commit = on")
        session.say("; ".join(settings))

    def writes(self, session: Session) -> None:
        """Nothing: the writer's connection is as others."""

    def begin(self, session: Session, statements: Statements, timeout: float) -> int:
        """Begin to write, the lock being held; returns the newest revision.

        ``timeout`` in seconds.  Raises LockTimeout.
        """
        self._begin(session, timeout)
        try:
            row = session.row(statements.lock)
        except Exception as error:
            if _code(error) != "55P03":
                raise
            session.say("ROLLBACK")
            raise self._timeout(session, timeout) from error
        return int(row[0])

    def _begin(self, session: Session, timeout: float) -> None:
        # 0 would be for ever.
        milliseconds = min(max(int(timeout * 1000), 1), 2**31 - 1)
        session.say(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
            f" SET LOCAL lock_timeout = {milliseconds}"
        )

    def begin_at_once(self, session: Session) -> None:
        """Not for a server: its lock is a transaction."""
        raise NotImplementedError

    def begin_reading(self, session: Session) -> None:
        """Have everything that is read until ROLLBACK be of one moment."""
        session.say("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def has_tables(self, session: Session) -> bool:
        # The table itself, not to_regclass: inside a transaction that remembers what was not there.
        found = session.ask(
            "SELECT count(*) FROM pg_class"
            " WHERE relname = 'filestore_meta' AND pg_table_is_visible(oid)"
        )
        return bool(found[0])

    def begin_making(self, session: Session) -> None:
        """Keep others from making the tables at the same time, until COMMIT."""
        self._begin(session, self._lock_timeout)
        session.say(f"SELECT pg_advisory_xact_lock({_MAKING})")

    def gone(self, error: BaseException) -> bool:
        # The server ends connections with an answer of its own before it goes.
        return _code(error)[:3] == "57P" or _code(error)[:2] == "08"

    def refusal(self, error: BaseException) -> FilestoreError | None:
        code, shown = _code(error), self._shown
        text = " ".join(str(error).split("\n", 1)[0].split())
        if code == "55P03":
            return LockTimeout(
                f"{shown}: somebody has held the store's tables for longer than"
                f" {self._lock_timeout:g} s: try again",
                path=shown,
            )
        if code == "42501":
            return StorageError(
                f"{shown}: {text}: have the database's owner grant it",
                errno=errno.EACCES,
                path=shown,
            )
        if code == "25006":
            return ReadOnly(f"{shown}: {text}: is the server a standby?", path=shown)
        if code == "42P01":
            return NotFound(f"{shown}: {text}: the store's tables are gone", path=shown)
        if code[:2] == "53":
            return StorageError(
                f"{shown}: {text}",
                errno=errno.ENOSPC if code == "53100" else errno.ENOMEM,
                path=shown,
            )
        return None

    def checkpoint(self, session: Session) -> None:
        """Nothing: a server does that by itself, and few may tell it to."""

    def figures(self, session: Session) -> dict[str, Any]:
        """What stats tell of this kind of database alone."""
        size, version, synchronous = session.ask(
            "SELECT sum(pg_total_relation_size(c.oid)), current_setting('server_version'),"
            " current_setting('synchronous_commit') FROM pg_class c WHERE c.oid IN"
            " (to_regclass('filestore_meta'), to_regclass('filestore_documents'),"
            " to_regclass('filestore_commits'), to_regclass('filestore_changes'))"
        )
        return {
            "database": "postgresql",
            "version": version,
            "bytes": int(size or 0),
            "synchronous": synchronous,
        }

    def problems(self, session: Session) -> list[str]:  # noqa: ARG002  # the kind's
        """Nothing: the server looks after its own files."""
        return []

    def _timeout(self, session: Session, seconds: float) -> LockTimeout:
        row = session.ask(_HOLDER)
        name, since = (None, None) if row is None else row
        match = re.fullmatch(r"filestore (\d+)@(.+)", name or "")
        pid, host = (int(match[1]), match[2]) if match else (None, None)
        who = f"process {pid} on {host}" if match else name or "another writer"
        return LockTimeout(
            f"{self._shown}: {who} has held the store's write lock for longer than"
            f" {seconds:g} s: try again, or wait longer with lock_timeout",
            path=self._shown,
            pid=pid,
            host=host,
            since=None if since is None else float(since),
        )


def _code(error: BaseException) -> str:
    """The server's code of the error: ``sqlstate`` in psycopg, ``pgcode`` in psycopg2."""
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
