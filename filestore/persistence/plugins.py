"""The plugins that come along, by the names that ``persistence_config`` has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import filestore
from filestore.errors import UnsupportedFormat
from filestore.persistence.documents import permissions
from filestore.persistence.stored import StorePersistence

if TYPE_CHECKING:
    import os


class FilePersistence(StorePersistence):
    """Keeps resources in a folder of readable files, as the plugin in real cinderlib does.

    ``path``: the store, made when it is not there; ``memory:`` is one in memory.  ``codec``:
    ``json`` or ``yaml``, for a new store; None for the store's own.  ``durability``:
    ``full``, ``normal`` or ``off``.  ``soft_deletes``: what is deleted stays,
    marked and hidden.  ``lock_timeout``: seconds to wait for another writer.
    ``file_mode``: permissions of the files, as a number or octal digits
    (``"0640"``); None for the store's own, 0600.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: str | None = None,
        durability: str = "full",
        soft_deletes: bool = False,
        lock_timeout: float = 10.0,
        file_mode: int | str | None = None,
    ) -> None:
        store = filestore.open(
            path,
            codec=codec,
            durability=durability,
            lock_timeout=lock_timeout,
            file_mode=permissions(file_mode),
        )
        super().__init__(store, soft_deletes=soft_deletes)


class MemoryPersistence(StorePersistence):
    """Keeps resources in this process's memory; each plugin its own.

    ``soft_deletes``: what is deleted stays, marked and hidden.
    """

    def __init__(self, soft_deletes: bool = False) -> None:
        super().__init__(filestore.open("memory:"), soft_deletes=soft_deletes)


class DBPersistence(StorePersistence):
    """Keeps resources in a database, as documents of a store.

    The tables are filestore's own, not Cinder's: what cinderlib's ``db`` plugin has written is
    not read by this one.  Needs the extra ``sql``, for PostgreSQL the extra ``postgresql``.

    ``connection``: a URL as SQLAlchemy has them, ``sqlite:///cl.sqlite``.
    ``sqlite_synchronous``: whether a write that has returned survives the loss of power; for
    SQLite alone.  ``soft_deletes``: what is deleted stays, marked and hidden.
    ``lock_timeout``: seconds to wait for another writer.

    Raises UnsupportedFormat for what is no such URL, StorageError when there is no such server.
    """

    def __init__(
        self,
        connection: str,
        sqlite_synchronous: bool = True,
        soft_deletes: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        if "://" not in connection:
            raise UnsupportedFormat(
                f"{connection!r} is no URL of a database: write it as in 'sqlite:///cl.sqlite'"
            )
        lossy = connection.startswith("sqlite") and not sqlite_synchronous
        store = filestore.open(
            connection, durability="off" if lossy else "full", lock_timeout=lock_timeout
        )
        super().__init__(store, soft_deletes=soft_deletes)


class MemoryDBPersistence(DBPersistence):
    """Keeps resources in an SQLite database in this process's memory; each plugin its own."""

    def __init__(self, soft_deletes: bool = False) -> None:
        super().__init__("sqlite://", soft_deletes=soft_deletes)
