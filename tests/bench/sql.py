"""What a store in SQLite costs, beside the same SQL written by hand with the sqlite3 module.

Both write nothing to the disk for good (``synchronous=OFF``): what a sync takes is the same for
both, and would hide what the code takes.  By hand is what somebody would write who wants the
same tables: the same statements in the same transactions, and the documents as JSON.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

import filestore
from tests.bench.documents import sample
from tests.bench.runner import Case, Row, measure, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store

INNER = 100  # calls a sample
MANY = 2000  # documents to find in


@contextmanager
def store_in(folder: Path, count: int = 0) -> Iterator[Store]:
    with filestore.open(f"sqlite:///{folder}/state.db", durability="off") as store:
        store["volumes"].update(dict(sample(count)))
        yield store


class ByHand:
    """The same tables, without filestore."""

    def __init__(self, folder: Path, count: int = 0) -> None:
        with store_in(folder, count):
            pass  # makes the tables
        self.connection = sqlite3.connect(folder / "state.db", isolation_level=None)
        self.execute = self.connection.execute
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = OFF")

    def get(self, id: str) -> Any:
        row = self.execute(
            "SELECT data FROM filestore_documents WHERE collection = ? AND id = ?",
            ("volumes", id),
        ).fetchone()
        return orjson.loads(row[0])

    def find(self, field: str, value: object) -> list[tuple[str, Any]]:
        rows = self.execute(
            "SELECT id, data FROM filestore_documents WHERE collection = ?", ("volumes",)
        )
        documents = [(id, orjson.loads(data)) for id, data in rows]
        return [(id, document) for id, document in documents if document.get(field) == value]

    def put(self, *documents: tuple[str, Any]) -> None:
        execute = self.execute
        execute("BEGIN IMMEDIATE")
        revision = execute("SELECT revision FROM filestore_meta WHERE one = 1").fetchone()[0] + 1
        changes, rows = [], []
        for place, (id, document) in enumerate(documents):
            data = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
            before = execute(
                "SELECT data FROM filestore_documents WHERE collection = ? AND id = ?",
                ("volumes", id),
            ).fetchone()
            text = data.decode()
            changes.append(
                (revision, place, "volumes", id, None, before[0] if before else None, text)
            )
            etag = blake2b(data, digest_size=16).hexdigest()
            rows.append(("volumes", id, None, text, etag, revision))
        execute(
            "INSERT INTO filestore_commits VALUES (?, ?, ?, ?, ?, ?)",
            (revision, time.time(), None, None, "local", "hand"),
        )
        many = self.connection.executemany
        many("INSERT INTO filestore_changes VALUES (?, ?, ?, ?, ?, ?, ?)", changes)
        many(
            "INSERT INTO filestore_documents VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (collection, id)"
            " DO UPDATE SET data = excluded.data, etag = excluded.etag,"
            " revision = excluded.revision",
            rows,
        )
        execute("UPDATE filestore_meta SET revision = ? WHERE one = 1", (revision,))
        execute("COMMIT")


@contextmanager
def by_hand(folder: Path, count: int = 0) -> Iterator[ByHand]:
    hand = ByHand(folder, count)
    try:
        yield hand
    finally:
        hand.connection.close()


@contextmanager
def put_new(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = sample(1000)
    with store_in(folder) as store:
        put = store["volumes"].put
        yield lambda index: put(*volumes[index])


@contextmanager
def put_new_by_hand(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = sample(1000)
    with by_hand(folder) as hand:
        yield lambda index: hand.put(volumes[index])


@contextmanager
def update(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = [(id, dict(document)) for id, document in sample(100)]
    with store_in(folder, 100) as store:
        put = store["volumes"].put

        def grow(index: int) -> None:
            id, document = volumes[index % 100]
            document["size"] = 1000 + index
            put(id, document)

        yield grow


@contextmanager
def update_by_hand(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = [(id, dict(document)) for id, document in sample(100)]
    with by_hand(folder, 100) as hand:

        def grow(index: int) -> None:
            id, document = volumes[index % 100]
            document["size"] = 1000 + index
            hand.put((id, document))

        yield grow


@contextmanager
def hundred(folder: Path) -> Iterator[Callable[[int], object]]:
    documents = sample(2000)
    with store_in(folder) as store:
        volumes = store["volumes"]

        def put(index: int) -> None:
            with store.transaction():
                for id, document in documents[index * 100 : index * 100 + 100]:
                    volumes[id] = document

        yield put


@contextmanager
def hundred_by_hand(folder: Path) -> Iterator[Callable[[int], object]]:
    documents = sample(2000)
    with by_hand(folder) as hand:
        yield lambda index: hand.put(*documents[index * 100 : index * 100 + 100])


@contextmanager
def warm(folder: Path) -> Iterator[Callable[[int], object]]:
    ids = [id for id, _ in sample(INNER)]
    with store_in(folder, INNER) as store:
        volumes = store["volumes"]

        def get(_: int) -> None:
            for id in ids:
                volumes[id]

        yield get


@contextmanager
def warm_by_hand(folder: Path) -> Iterator[Callable[[int], object]]:
    ids = [id for id, _ in sample(INNER)]
    with by_hand(folder, INNER) as hand:

        def get(_: int) -> None:
            for id in ids:
                hand.get(id)

        yield get


@contextmanager
def scan(folder: Path) -> Iterator[Callable[[int], object]]:
    """The first find of a handle: there is no index yet, and nothing in memory."""
    with store_in(folder, MANY):
        pass

    def find(index: int) -> None:
        with filestore.open(f"sqlite:///{folder}/state.db", durability="off") as store:
            assert len(store["volumes"].find(size=1 + index % 100)) == MANY // 100

    yield find


@contextmanager
def again(folder: Path) -> Iterator[Callable[[int], object]]:
    with store_in(folder, MANY) as store:
        volumes = store["volumes"]

        def find(index: int) -> None:
            assert len(volumes.find(size=1 + index % 100)) == MANY // 100

        yield find


@contextmanager
def scan_by_hand(folder: Path) -> Iterator[Callable[[int], object]]:
    with by_hand(folder, MANY) as hand:

        def find(index: int) -> None:
            assert len(hand.find("size", 1 + index % 100)) == MANY // 100

        yield find


def run(data: Path, rounds: int) -> list[Row]:
    cases = [
        Case("new: hand", put_new_by_hand),
        Case("new", put_new),
        Case("update: hand", update_by_hand),
        Case("update", update),
        Case("hundred: hand", hundred_by_hand, count=10, warmup=2),
        Case("hundred", hundred, count=10, warmup=2),
        Case("warm: hand", warm_by_hand, count=30),
        Case("warm", warm, count=30),
        Case("scan: hand", scan_by_hand, count=10, warmup=1),
        Case("scan", scan, count=10, warmup=1),
        Case("again", again, count=10, warmup=2),
    ]
    samples = measure(cases, rounds, data)

    def beside(what: str, name: str, against: str, limit: float | None) -> Row:
        return versus(what, samples[name], samples[f"{against}: hand"], limit, "SQL by hand")

    return [
        beside("SQLite: put, new 1 kB document", "new", "new", 2),
        beside("SQLite: put, update", "update", "update", 2),
        beside("SQLite: transaction of 100", "hundred", "hundred", 2),
        beside("SQLite: 100 gets, warm", "warm", "warm", 2),
        beside("SQLite: find in 2,000, first of a handle", "scan", "scan", None),
        beside("SQLite: find in 2,000", "again", "scan", 2),
    ]
