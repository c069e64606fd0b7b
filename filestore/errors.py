"""The errors, by what a caller can do about them.

A call that raises has changed nothing.  Each error carries the key, the path
and the revision it is about where it has them, and chains its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.model import Key


class FilestoreError(Exception):
    """Base of every error that filestore raises on purpose."""

    def __init__(
        self,
        message: str,
        *,
        key: Key | None = None,
        path: str | None = None,
        revision: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.path = path
        self.revision = revision

    def __str__(self) -> str:
        return self.message


class NotFound(FilestoreError, KeyError):
    """The document (or the store) is not there."""


class HistoryGone(NotFound):
    """What is asked for is older than what the store keeps; ``revision`` is the oldest kept."""


class Dispute(NamedTuple):
    """A field that several changed: its readable path, empty for the whole document.

    ``revisions`` are the commits that are in the way.
    """

    key: Key
    field: str
    revisions: tuple[int, ...]


class Conflict(FilestoreError):
    """Somebody else changed the document: read it again and decide.

    ``keys`` names every document in conflict, ``disputes`` the fields where they are known.
    """

    def __init__(
        self,
        message: str,
        *,
        keys: Sequence[Key] = (),
        key: Key | None = None,
        path: str | None = None,
        revision: int | None = None,
        disputes: Sequence[Dispute] = (),
    ) -> None:
        super().__init__(
            message, key=key or (keys[0] if keys else None), path=path, revision=revision
        )
        self.keys = tuple(keys) or ((key,) if key else ())
        self.disputes = tuple(disputes)


class Corrupt(FilestoreError):
    """A file cannot be read as what it should be: mend or remove it.

    ``line`` is the 1-based line of the fault where it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        key: Key | None = None,
        path: str | None = None,
        revision: int | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(message, key=key, path=path, revision=revision)
        self.line = line


class InvalidDocument(FilestoreError, ValueError):
    """The value cannot be stored so that the same value is read back."""


class InvalidKey(FilestoreError, ValueError):
    """The collection's name or the id cannot name a document."""


class LockTimeout(FilestoreError, TimeoutError):
    """Another writer held the store for longer than the lock timeout.

    ``pid``, ``host`` and ``since`` (seconds since the epoch) tell who, where
    they are known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        pid: int | None = None,
        host: str | None = None,
        since: float | None = None,
    ) -> None:
        super().__init__(message, path=path)
        self.pid = pid
        self.host = host
        self.since = since


class ReadOnly(FilestoreError):
    """The handle, or the file system under it, does not take writes."""


class Closed(FilestoreError):
    """The store, view, or transaction has been closed."""


class RecoveryNeeded(FilestoreError):
    """The store cannot be written until it was recovered or repaired."""


class StorageError(FilestoreError, OSError):
    """The operating system refused: disk full, no permission, input/output error.

    ``errno`` is the system's error number.
    """

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        key: Key | None = None,
        path: str | None = None,
    ) -> None:
        FilestoreError.__init__(self, message, key=key, path=path)
        self.errno = errno


class UnsupportedFormat(FilestoreError):
    """The store was written in a format that this version does not know."""


class NotConfigured(FilestoreError, ValueError):
    """Nothing says where the store is: the message names the settings that could."""


class InvalidBackup(FilestoreError, ValueError):
    """A backup, its metadata or its exported record is damaged, not whole or not one at all."""


class BackupMetadataUnsupportedVersion(FilestoreError, ValueError):
    """The metadata of a backup have a version that nothing here can restore."""


class EncryptedBackupOperationFailed(FilestoreError):
    """An encrypted backup can only be restored to a volume of the same type."""
