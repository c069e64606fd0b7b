"""filestore: an embedded store whose storage is a git-friendly tree of readable files.

::

    import filestore

    with filestore.open("state") as store:
        store["volumes"]["id1"] = {"size": 1}
        with store.transaction(message="grow"):
            store["volumes"].patch("id1", {"size": 2})

It is also cinderlib's interface without Cinder::

    import filestore as cl

    cl.setup(persistence_config={"storage": "file", "path": "state"})
    volume = cl.Backend(volume_backend_name="lvm").create_volume(1, name="db")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Final

from filestore import location
from filestore.errors import (
    BackupMetadataUnsupportedVersion,
    Closed,
    Conflict,
    Corrupt,
    Dispute,
    EncryptedBackupOperationFailed,
    FilestoreError,
    HistoryGone,
    InvalidBackup,
    InvalidDocument,
    InvalidKey,
    LockTimeout,
    NotConfigured,
    NotFound,
    ReadOnly,
    RecoveryNeeded,
    StorageError,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from filestore.backend import Backend as Ground
    from filestore.blame import Blame
    from filestore.change import Change
    from filestore.collection import Collection, ReadCollection
    from filestore.migration import Migration, migrate
    from filestore.model import (
        ANY,
        Commit,
        Edit,
        Key,
        Op,
        Origin,
        Record,
    )
    from filestore.past import Past
    from filestore.plan import Plan
    from filestore.problem import Problem, Severity
    from filestore.resources.backend import Backend, list_supported_drivers, setup
    from filestore.resources.connection import Connection
    from filestore.resources.connector import get_connector_properties
    from filestore.resources.key_value import KeyValue
    from filestore.resources.scope import DEFAULT_PROJECT_ID, DEFAULT_USER_ID
    from filestore.resources.snapshot import Snapshot
    from filestore.resources.volume import Volume
    from filestore.serialization import dump, dumps, json, jsons, load
    from filestore.store import Store
    from filestore.subscription import Subscription
    from filestore.transaction import Transaction
    from filestore.view import View

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "DEFAULT_PROJECT_ID",
    "DEFAULT_USER_ID",
    "Backend",
    "BackupMetadataUnsupportedVersion",
    "Blame",
    "Change",
    "Closed",
    "Collection",
    "Commit",
    "Conflict",
    "Connection",
    "Corrupt",
    "Dispute",
    "Edit",
    "EncryptedBackupOperationFailed",
    "FilestoreError",
    "HistoryGone",
    "InvalidBackup",
    "InvalidDocument",
    "InvalidKey",
    "Key",
    "KeyValue",
    "LockTimeout",
    "Migration",
    "NotConfigured",
    "NotFound",
    "Op",
    "Origin",
    "Past",
    "Plan",
    "Problem",
    "ReadCollection",
    "ReadOnly",
    "Record",
    "RecoveryNeeded",
    "Severity",
    "Snapshot",
    "StorageError",
    "Store",
    "Subscription",
    "Transaction",
    "UnsupportedFormat",
    "View",
    "Volume",
    "dump",
    "dumps",
    "get_connector_properties",
    "json",
    "jsons",
    "list_supported_drivers",
    "load",
    "migrate",
    "open",
    "setup",
]


# Loaded when first asked for (PEP 562): orjson and what it imports are most of the time that
# importing the store takes, and a program that only catches our errors needs none of it.
_HOMES: Final = {
    "Collection": "collection",
    "ReadCollection": "collection",
    **dict.fromkeys(
        ("ANY", "Commit", "Edit", "Key", "Op", "Origin", "Record"),
        "model",
    ),
    "Change": "change",
    **dict.fromkeys(("Problem", "Severity"), "problem"),
    **dict.fromkeys(("Backend", "list_supported_drivers", "setup"), "resources.backend"),
    "Connection": "resources.connection",
    "get_connector_properties": "resources.connector",
    "KeyValue": "resources.key_value",
    **dict.fromkeys(("DEFAULT_PROJECT_ID", "DEFAULT_USER_ID"), "resources.scope"),
    "Snapshot": "resources.snapshot",
    "Volume": "resources.volume",
    **dict.fromkeys(("dump", "dumps", "json", "jsons", "load"), "serialization"),
    "Blame": "blame",
    **dict.fromkeys(("Migration", "migrate"), "migration"),
    "Past": "past",
    "Plan": "plan",
    "Store": "store",
    "Subscription": "subscription",
    "Transaction": "transaction",
    "View": "view",
}


_MODULES: Final = frozenset(("exception", "persistence", "serialization"))
"""Modules of the cinderlib interface that programs reach without importing them."""


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def open(  # noqa: PLR0917  # the order is the API's, settled
    path: str | os.PathLike[str],
    codec: str | None = None,
    durability: str = "full",
    readonly: bool = False,
    create: bool = True,
    lock_timeout: float = 10.0,
    watch: bool = True,
    actor: str | None = None,
    file_mode: int = 0o600,
    cache_bytes: int = 256 << 20,
) -> Store:
    """Open the store in the folder ``path``, or where a URL says.

    ``"memory:"`` is a new store in memory.  ``"sqlite:///path/state.db"`` and
    ``"postgresql://user@host/database"`` (any URL of SQLAlchemy for these) are in tables of a
    database, and need the extra ``sql`` or ``postgresql``; ``"sqlite://"`` is a new one in memory.

    ``codec``: ``json`` or ``yaml``, how documents are written; None for the store's own, which
    is json in a new store.  Another than the store's is an error.

    ``durability``: what a write that has returned survives.  ``full``: the loss of power.
    ``normal``: the death of any process; the loss of power may take the last commits, each whole.
    ``off``: nothing is promised (scratch stores, tests).

    ``readonly``: every write raises ReadOnly, and nothing in the folder is touched.
    ``create``: make the store when there is none; otherwise NotFound is raised.
    ``lock_timeout``: how many seconds a write waits for other writers before LockTimeout.
    ``watch``: whether the system's events may tell of edits from outside.  Without, and where
    there are none, reads look at their files, and the tree is gone through now and then.
    ``actor``: who writes, kept with each commit.
    ``file_mode``: permissions of new files; folders get the matching ones.
    ``cache_bytes``: how much memory the documents that were read may take, in bytes, with what
    it takes to keep them; 0 for none.  What was used least is dropped, and read again when needed.

    ``codec`` and ``watch`` are of no meaning in a database, and a store in memory takes
    ``readonly``, ``lock_timeout`` and ``actor`` alone.

    Raises NotFound, UnsupportedFormat, Corrupt, RecoveryNeeded, StorageError.
    """
    place = os.fspath(path)
    backend: Ground
    if location.is_path(place):
        # The engine brings locking and the system's interfaces with it: at first use.
        from filestore.engine.files import FileBackend

        backend = FileBackend(
            place,
            codec=codec,
            durability=durability,
            readonly=readonly,
            create=create,
            lock_timeout=lock_timeout,
            watch=watch,
            file_mode=file_mode,
            cache_bytes=cache_bytes,
        )
    else:
        from filestore.backends import open_elsewhere

        backend = open_elsewhere(
            place,
            durability=durability,
            readonly=readonly,
            create=create,
            lock_timeout=lock_timeout,
            file_mode=file_mode,
            cache_bytes=cache_bytes,
        )
    from filestore.store import Store

    return Store(backend, actor=actor)
