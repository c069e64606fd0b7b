"""Other people's stores, behind the interface of :mod:`tests.bench.peers`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tests.bench.population import FRESH, INDEXED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.population import Resource

    Document = dict[str, Any]


class Sqlite:
    """The standard library's, with a write-ahead log, synced at every commit, three indexes."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        import sqlite3

        import orjson

        self._loads, self._dumps = orjson.loads, orjson.dumps
        self._db = db = sqlite3.connect(f"{path}/db.sqlite", isolation_level=None, timeout=60)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        columns = ", ".join(f"{field} TEXT" for field in INDEXED)
        db.execute(
            "CREATE TABLE IF NOT EXISTS documents (collection TEXT, id TEXT, body BLOB, "
            f"{columns}, PRIMARY KEY (collection, id))"
        )
        for field in INDEXED:
            db.execute(
                f"CREATE INDEX IF NOT EXISTS by_{field} ON documents ({field}, collection) "
                f"WHERE {field} IS NOT NULL"
            )
        marks = ", ".join("?" for _ in INDEXED)
        sets = ", ".join(f"{field}=excluded.{field}" for field in INDEXED)
        self._put = (
            f"INSERT INTO documents VALUES (?, ?, ?, {marks}) "
            f"ON CONFLICT DO UPDATE SET body=excluded.body, {sets}"
        )

    def _row(self, one: Resource) -> tuple[Any, ...]:
        fields = (one.document.get(field) for field in INDEXED)
        return one.collection, one.id, self._dumps(one.document), *fields

    def put(self, one: Resource) -> None:
        self._db.execute(self._put, self._row(one))

    def put_many(self, many: Sequence[Resource]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(self._put, map(self._row, many))
        self._db.execute("COMMIT")

    def get(self, collection: str, id: str) -> Document:
        found = self._db.execute(
            "SELECT body FROM documents WHERE collection = ? AND id = ?", (collection, id)
        ).fetchone()
        document: Document = self._loads(found[0])
        return document

    def _all(self, condition: str, *values: str) -> list[Document]:
        loads = self._loads
        query = f"SELECT body FROM documents WHERE {condition}"
        return [loads(body) for (body,) in self._db.execute(query, values)]

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        return self._all(f"{field} = ? AND collection = ?", value, collection)

    def listing(self, collection: str) -> list[Document]:
        return self._all("collection = ?", collection)

    def close(self) -> None:
        self._db.close()


class Scanned:
    """A peer without indexes."""

    def listing(self, collection: str) -> list[Document]:
        raise NotImplementedError

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        return [one for one in self.listing(collection) if one.get(field) == value]


class Diskcache(Scanned):
    """diskcache's Cache without eviction; synced at every commit, which is not its default."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        import diskcache

        self._cache = diskcache.Cache(
            path,
            eviction_policy="none",
            size_limit=1 << 40,
            cull_limit=0,
            timeout=60,
            sqlite_synchronous=2 if durable else 0,
        )

    def put(self, one: Resource) -> None:
        self._cache.set(f"{one.collection}/{one.id}", one.document)

    def put_many(self, many: Sequence[Resource]) -> None:
        with self._cache.transact():
            for one in many:
                self.put(one)

    def get(self, collection: str, id: str) -> Document:
        document: Document = self._cache.get(f"{collection}/{id}")
        return document

    def listing(self, collection: str) -> list[Document]:
        cache, prefix = self._cache, f"{collection}/"
        return [cache.get(key) for key in cache if key.startswith(prefix)]

    def close(self) -> None:
        self._cache.close()


class Tinydb(Scanned):
    """TinyDB: one JSON file, written anew and synced at every change."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        import tinydb

        self._where = tinydb.where
        self._db = tinydb.TinyDB(f"{path}/db.json")

    def put(self, one: Resource) -> None:
        self._db.table(one.collection).upsert(one.document, self._where("id") == one.id)

    def put_many(self, many: Sequence[Resource]) -> None:
        for collection in {one.collection for one in many}:
            self._db.table(collection).insert_multiple(
                one.document for one in many if one.collection == collection
            )

    def get(self, collection: str, id: str) -> Document:
        found: Any = self._db.table(collection).get(self._where("id") == id)
        return dict(found)

    def listing(self, collection: str) -> list[Document]:
        return [dict(one) for one in self._db.table(collection).all()]

    def close(self) -> None:
        self._db.close()


class Lmdb:
    """LMDB with its default syncing, and a database with duplicates for each index."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        import lmdb
        import orjson

        self._loads, self._dumps = orjson.loads, orjson.dumps
        env: Any = lmdb.open(path, map_size=32 << 30, max_dbs=4, sync=durable, metasync=durable)
        self._env = env
        self._main = env.open_db(b"documents")
        self._indexes = {field: env.open_db(field.encode(), dupsort=True) for field in INDEXED}

    def _put(self, transaction: Any, one: Resource) -> None:
        key, body = f"{one.collection}/{one.id}".encode(), self._dumps(one.document)
        before = transaction.get(key, db=self._main)
        if before == body:
            return
        old = {} if before is None else self._loads(before)
        transaction.put(key, body, db=self._main)
        for field, index in self._indexes.items():
            was, now = old.get(field), one.document.get(field)
            if was == now:
                continue
            if was is not None:
                transaction.delete(f"{one.collection}/{was}".encode(), key, db=index)
            if now is not None:
                transaction.put(f"{one.collection}/{now}".encode(), key, db=index)

    def put(self, one: Resource) -> None:
        with self._env.begin(write=True) as transaction:
            self._put(transaction, one)

    def put_many(self, many: Sequence[Resource]) -> None:
        with self._env.begin(write=True) as transaction:
            for one in many:
                self._put(transaction, one)

    def get(self, collection: str, id: str) -> Document:
        with self._env.begin(db=self._main, buffers=True) as transaction:
            document: Document = self._loads(transaction.get(f"{collection}/{id}".encode()))
        return document

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        with self._env.begin(buffers=True) as transaction:
            cursor = transaction.cursor(db=self._indexes[field])
            if not cursor.set_key(f"{collection}/{value}".encode()):
                return []
            get, loads = transaction.get, self._loads
            return [loads(get(key, db=self._main)) for key in cursor.iternext_dup()]

    def listing(self, collection: str) -> list[Document]:
        prefix, found = f"{collection}/".encode(), []
        with self._env.begin(buffers=True) as transaction:
            cursor = transaction.cursor(db=self._main)
            cursor.set_range(prefix)
            for key, body in cursor.iternext():
                if key[: len(prefix)] != prefix:
                    break
                found.append(self._loads(body))
        return found

    def close(self) -> None:
        self._env.close()


class Cinderlib:
    """cinderlib's ``db`` plugin on an SQLite file; volumes only, as cinderlib's own objects."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        warnings.simplefilter("ignore")
        import cinderlib
        from cinderlib.tests.unit import utils

        connection = f"sqlite:///{path}/cinder.sqlite"
        cinderlib.setup(persistence_config={"storage": "db", "connection": connection})
        self._library = cinderlib
        self._backend = utils.FakeBackend(volume_backend_name="lvm")
        self._persistence: Any = cinderlib.Backend.persistence

    def put(self, one: Resource) -> None:
        document = one.document
        if one.collection in {"volumes", FRESH}:
            volume = self._library.Volume(
                self._backend,
                id=one.id,
                size=document["size"],
                name=document["display_name"],
                metadata=document["metadata"],
                provider_location=document["provider_location"],
                display_description=document["replication_driver_data"],
            )
            self._persistence.set_volume(volume)

    def put_many(self, many: Sequence[Resource]) -> None:
        for one in many:
            self.put(one)

    def get(self, collection: str, id: str) -> Document:
        return self._documents(self._persistence.get_volumes(volume_id=id))[0]

    def find(self, collection: str, field: str, value: str) -> list[Document]:
        assert field == "display_name"
        return self._documents(self._persistence.get_volumes(volume_name=value))

    def listing(self, collection: str) -> list[Document]:
        return self._documents(self._persistence.get_volumes())

    @staticmethod
    def _documents(volumes: Iterable[Any]) -> list[Document]:
        return [
            {"id": volume.id, "replication_driver_data": volume._ovo.display_description}
            for volume in volumes
        ]

    def close(self) -> None:
        pass
