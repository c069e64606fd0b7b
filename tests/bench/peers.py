"""The stores that are set beside filestore, all behind one small interface.

Each keeps the same documents and finds them by the same fields, as well as it can: with
indexes of its own where it has any, else by looking at all.  What a peer promises when a
write returns is the same for all: it is on the disk.  Libraries are imported when a peer is
opened, so that a process pays for one.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.bench.databases import Cinderlib, Diskcache, Lmdb, Sqlite, Tinydb
from tests.bench.handmade import Files, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.population import Resource

    Document = dict[str, Any]


class Peer(Protocol):
    """An open store.  ``put`` and ``put_many`` are durable on return, if it was opened so."""

    def put(self, one: Resource) -> None: ...

    def put_many(self, many: Sequence[Resource]) -> None:
        """All or none, where the peer can."""

    def get(self, collection: str, id: str) -> Document:
        """A copy of the caller's own."""

    def find(self, collection: str, field: str, value: str) -> list[Document]: ...

    def listing(self, collection: str) -> list[Document]: ...

    def close(self) -> None: ...


class Filestore:
    """The defaults."""

    def __init__(self, path: str, *, durable: bool = True, codec: str | None = None) -> None:
        import filestore

        self._store = filestore.open(path, codec=codec, durability="full" if durable else "off")

    def put(self, one: Resource) -> None:
        self._store[one.collection].put(one.id, one.document)

    def put_many(self, many: Sequence[Resource]) -> None:
        store = self._store
        with store.transaction():
            for one in many:
                store[one.collection].put(one.id, one.document)

    def get(self, collection: str, id: str) -> Document:
        return self._store[collection][id]

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        return [record.document for record in self._store[collection].find(**{field: value})]

    def listing(self, collection: str) -> list[Document]:
        return list(self._store[collection].values())

    def close(self) -> None:
        self._store.close()


PEERS: Final[dict[str, Callable[..., Peer]]] = {
    "filestore": Filestore,
    "sqlite": Sqlite,
    "lmdb": Lmdb,
    "diskcache": Diskcache,
    "tinydb": Tinydb,
    "files": Files,
    "cinderlib": Cinderlib,
    "raw": Raw,
}
MODULES: Final[dict[str, tuple[str, ...]]] = {
    "filestore": ("filestore.engine.files", "filestore.store", "filestore.codec.json"),
    "sqlite": ("sqlite3", "orjson"),
    "lmdb": ("lmdb", "orjson"),
    "diskcache": ("diskcache",),
    "tinydb": ("tinydb",),
    "files": (),
    "cinderlib": ("cinderlib", "cinderlib.tests.unit.utils"),
    "raw": ("orjson",),
}
"""What opening a peer imports, and getting a document of it."""
FINDING: Final[dict[str, tuple[str, ...]]] = {
    "filestore": ("filestore.engine.shelf", "filestore.index"),
}
"""What finding documents imports beside."""
WORKING: Final[dict[str, tuple[str, ...]]] = {
    "filestore": ("filestore.engine.works", "filelock", "ctypes"),
}
"""What writing imports beside, or keeping watch."""
LIBRARIES: Final = {"lmdb": "lmdb", "diskcache": "diskcache", "tinydb": "tinydb"}
LARGEST: Final = {
    "tinydb": 1_000,
    "cinderlib": 1_000,
    "files": 100_000,
    "diskcache": 100_000,
    "raw": 100_000,
}
"""How many resources a peer is asked to keep: beyond, a run takes hours or is no news."""
SCANNING: Final = {"diskcache", "tinydb", "files"}
ALONE: Final = {"tinydb", "cinderlib"}
"""Those that several processes may not use at once, or not without errors."""
VOLUMES_ONLY: Final = {"cinderlib"}


def missing(peer: str) -> str | None:
    """The library that a peer would need and that is not there."""
    library = LIBRARIES.get(peer)
    return library if library and importlib.util.find_spec(library) is None else None
