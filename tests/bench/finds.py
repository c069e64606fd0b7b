"""Finding and listing, beside SQLite: the same documents as JSON text, in WAL mode, with indexes.

Both have all documents in memory, SQLite by a page cache that holds the whole database.  What is
timed is the processor's time, since neither waits for anything.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

import filestore
from tests.bench.documents import volume, volume_id
from tests.bench.reads import resident
from tests.bench.runner import Case, Row, fresh, measure, no_collection, spread, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore import Store
    from filestore.model import Document

INNER: Final = 100  # quick finds a sample
BATCH: Final = 5000
IMPORTED: Final = 1000
LIMITS: Final = {"one": 1.0, "four": 1.0, "none": 1.0, "tenth": 1.1, "all": 1.1, "cold": 2.0}


class _EnoughError(Exception):
    """What ends a transaction that is not to be committed."""


def snapshot(index: int) -> Document:
    """The index-th snapshot: each volume has four."""
    return {
        **{name: volume(index)[name] for name in ("created_at", "metadata", "project_id", "size")},
        "display_name": f"nightly-{index}",
        "id": volume_id(index),
        "progress": "100%",
        "status": "available",
        "volume_id": volume_id(index // 4),
    }


def node_of(document: Document) -> str:
    """What a tenth of the volumes have in common."""
    return str(document["host"]).partition("@")[0]


class Sqlite:
    """What a careful user makes of sqlite3."""

    def __init__(self, path: Path) -> None:
        self.database = database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA cache_size=-2000000")

    def fill(self, count: int) -> None:
        run = self.database.execute
        run("CREATE TABLE volumes (id TEXT PRIMARY KEY, name TEXT, node TEXT, document TEXT)")
        run("CREATE TABLE snapshots (id TEXT PRIMARY KEY, volume_id TEXT, document TEXT)")
        run("BEGIN")
        for index in range(count):
            one, id = volume(index), volume_id(index)
            row = (id, one["display_name"], node_of(one), orjson.dumps(one).decode())
            run("INSERT INTO volumes VALUES (?, ?, ?, ?)", row)
            other = snapshot(index)
            row = (id, other["volume_id"], orjson.dumps(other).decode())  # type: ignore[assignment]
            run("INSERT INTO snapshots VALUES (?, ?, ?)", row)
        run("CREATE INDEX by_name ON volumes (name)")
        run("CREATE INDEX by_node ON volumes (node)")
        run("CREATE INDEX by_volume ON snapshots (volume_id)")
        run("COMMIT")

    def find(self, query: str, *values: Any) -> list[Document]:
        rows = self.database.execute(f"SELECT document FROM {query}", values)
        return [orjson.loads(text) for (text,) in rows]

    def close(self) -> None:
        self.database.close()


def opened(path: Path) -> Store:
    store = filestore.open(path, cache_bytes=4 << 30)
    store.define("volumes", "node", node_of, version="1")
    return store


def wait(store: Store) -> None:
    """Wait until the store hears of edits, and has found those that there were."""
    indexing = store._backend.indexing  # a benchmark may look inside
    assert indexing is not None
    while indexing.edited("volumes") is None:
        time.sleep(0.01)


def fill(path: Path, count: int) -> None:
    """A store of volumes and snapshots, with its indexes kept, closed."""
    with filestore.open(path, durability="off") as store:
        for begin in range(0, count, BATCH):
            with store.transaction():
                for index in range(begin, min(begin + BATCH, count)):
                    store["volumes"][volume_id(index)] = volume(index)
                    store["snapshots"][volume_id(index)] = snapshot(index)
    with opened(path) as store:
        wait(store)
        store["volumes"].find(display_name="", node="")
        store["volumes"].find(node="")
        store["snapshots"].find(volume_id="")


def run(data: Path, rounds: int, sizes: tuple[int, ...]) -> list[Row]:
    rows = []
    for size in sizes:
        folder = fresh(data)
        fill(folder / "store", size)
        with closing(Sqlite(folder / "sqlite.db")) as database:
            database.fill(size)
        rows += _finds(data, folder, rounds, size)
        rows += _cold(data, folder, rounds, size)
        rows += _memory(folder, size)
    return rows


def _case(name: str, operation: Callable[[int], object], *, quick: bool) -> Case:
    def several(turn: int) -> None:
        for index in range(turn * INNER, turn * INNER + INNER):
            operation(index)

    @contextmanager
    def setup(_: Path) -> Iterator[Callable[[int], object]]:
        yield several if quick else operation

    count, warmup = (10, 2) if quick else (3, 1)
    return Case(name, setup, count=count, warmup=warmup, clock=time.thread_time)


def _finds(data: Path, folder: Path, rounds: int, size: int) -> list[Row]:
    with opened(folder / "store") as store, closing(Sqlite(folder / "sqlite.db")) as database:
        wait(store)
        volumes, snapshots, find = store["volumes"], store["snapshots"], database.find
        node = node_of(volume(3))
        step = 7919  # a prime: not in the order in which they were made

        def name(turn: int) -> str:
            return f"shop-db-{turn * step % size}"

        def parent(turn: int) -> str:
            return volume_id(turn * step % (size // 4))

        def import_here(_: int) -> list[Document]:
            """Look whether each name is taken and write it; then take it all back."""
            with suppress(_EnoughError), store.transaction():
                for number in range(IMPORTED):
                    assert not volumes.find(display_name=f"new-{number}")
                    volumes[f"new-{number}"] = {"display_name": f"new-{number}", "size": 1}
                raise _EnoughError
            return []

        def import_there(_: int) -> list[Document]:
            run = database.database.execute
            run("BEGIN IMMEDIATE")
            for number in range(IMPORTED):
                new = f"new-{number}"
                assert not find("volumes WHERE name = ?", new)
                text = orjson.dumps({"display_name": new, "size": 1}).decode()
                run("INSERT INTO volumes VALUES (?, ?, NULL, ?)", (new, new, text))
            run("ROLLBACK")
            return []

        pairs: dict[str, tuple[str, Callable[[int], object], Callable[[int], object]]] = {
            "one": (
                "find one",
                lambda turn: volumes.find(display_name=name(turn)),
                lambda turn: find("volumes WHERE name = ?", name(turn)),
            ),
            "four": (
                "find 4",
                lambda turn: snapshots.find(volume_id=parent(turn)),
                lambda turn: find("snapshots WHERE volume_id = ?", parent(turn)),
            ),
            "none": (
                "find none",
                lambda turn: volumes.find(display_name=f"none-{turn}"),
                lambda turn: find("volumes WHERE name = ?", f"none-{turn}"),
            ),
            "tenth": (
                "find a tenth",
                lambda _: volumes.find(node=node),
                lambda _: find("volumes WHERE node = ?", node),
            ),
            "all": ("find all", lambda _: volumes.find(), lambda _: find("volumes")),
            "import": (
                f"transaction of {IMPORTED:,} finds, each before a put",
                import_here,
                import_there,
            ),
            "values": (
                "values()",
                lambda _: list(volumes.values()),
                lambda _: find("volumes"),
            ),
        }
        for _, ours, theirs in pairs.values():
            mine, other = ours(1), theirs(1)
            assert isinstance(mine, list)
            assert isinstance(other, list)
            assert len(mine) == len(other)
        rows = []
        for kind, (what, ours, theirs) in pairs.items():
            quick = kind in {"one", "four", "none"}
            samples = measure(
                [_case("SQLite", theirs, quick=quick), _case("filestore", ours, quick=quick)],
                rounds,
                data,
            )
            for sample in samples.values():
                if quick:
                    sample.medians[:] = [value / INNER for value in sample.medians]
            limit = LIMITS.get(kind) if size >= 1000 else None
            rows.append(
                versus(
                    f"{what}, {size:,} documents", samples["filestore"], samples["SQLite"], limit
                )
            )
    return rows


def _cold(data: Path, folder: Path, rounds: int, size: int) -> list[Row]:
    """Open and find by name; the files are in the system's memory, nothing is in ours."""

    @contextmanager
    def ours(_: Path) -> Iterator[Callable[[int], object]]:
        stores: list[Store] = []

        def find(turn: int) -> None:
            store = opened(folder / "store")
            stores.append(store)
            assert len(store["volumes"].find(display_name=f"shop-db-{turn * 77 % size}")) == 1

        yield find
        for store in stores:
            store.close()

    @contextmanager
    def theirs(_: Path) -> Iterator[Callable[[int], object]]:
        databases: list[Sqlite] = []

        def find(turn: int) -> None:
            database = Sqlite(folder / "sqlite.db")
            databases.append(database)
            assert len(database.find("volumes WHERE name = ?", f"shop-db-{turn * 77 % size}")) == 1

        yield find
        for database in databases:
            database.close()

    samples = measure(
        [
            Case("SQLite", theirs, count=20, clock=time.thread_time),
            Case("filestore", ours, count=20, clock=time.thread_time),
        ],
        rounds,
        data,
    )
    what = f"open and find, {size:,} documents"
    limit = LIMITS["cold"] if size >= 1000 else None
    return [versus(what, samples["filestore"], samples["SQLite"], limit)]


def _memory(folder: Path, size: int) -> list[Row]:
    """What an index takes once it is made, all documents being in memory."""
    for kept in (folder / "store" / ".filestore" / "index").glob("*er"):
        kept.unlink()
    with opened(folder / "store") as store, no_collection():
        wait(store)
        volumes = store["volumes"]
        list(volumes.values())
        before, begin = resident(), time.thread_time()
        volumes.find(display_name="")
        took = time.thread_time() - begin
        grown = resident() - before
        told = store.stats()["indexes"]["volumes"]["bytes"]
    names = statistics.mean(len(volume_id(index)) for index in range(min(size, 100)))
    each = told / size
    return [
        Row(f"making an index, {size:,} documents", spread([took])),
        Row(
            f"memory of an index, {size:,} documents",
            f"{each:.0f} bytes a document",
            f"{names:.0f} of them the id",
            f"resident {grown / size:.0f}",
            "<= 250",
            each <= 250 if size >= 1000 else None,
        ),
    ]
