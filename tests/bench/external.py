"""What edits from outside cost: until another process hears, until a checkout is ingested."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import filestore
from filestore.codec import canonical, codec_named, decode
from filestore.engine.files import FileBackend
from filestore.model import Key
from tests.bench.documents import sample
from tests.bench.runner import Case, Row, fresh, measure, versus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from filestore.model import Commit

EDITS = 200
SETTLED_SECONDS = 60.0


def _settle(store: filestore.Store) -> None:
    """Wait until events are heard and the tree was gone through."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while not (store.stats()["watching"] and store.stats()["passes"]):
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody watches: {store.stats()['watching_why_not']}")
        time.sleep(0.01)


def _hear(pipe: Connection, folder: Path) -> None:
    """Tell the moment of each change; the clock is that of the machine."""
    with filestore.open(folder) as store:
        store.watch(lambda change: pipe.send((change.key.id, time.monotonic())))
        while not store.stats()["watching"]:
            time.sleep(0.01)
        pipe.send("ready")
        pipe.recv()


def latencies(folder: Path) -> list[float]:
    """Seconds from an edit to another process's callback, sorted."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    form = codec_named("json")
    filestore.open(folder).close()
    (folder / "volumes").mkdir()
    process = context.Process(target=_hear, args=(there, folder))
    process.start()
    assert here.recv() == "ready"
    found = []
    with filestore.open(folder) as store:
        while not store.stats()["watching"]:
            time.sleep(0.01)
        for id, document in sample(EDITS):
            content = form.encode(canonical(document))
            path = folder / f"volumes/{id}.json"
            (path.with_suffix(".tmp")).write_bytes(content)
            before = time.monotonic()
            os.replace(path.with_suffix(".tmp"), path)
            heard, at = here.recv()
            assert heard == id
            found.append(at - before)
    here.send("end")
    process.join()
    return sorted(found)


def ingested(folder: Path, count: int) -> tuple[float, float]:
    """Seconds from the first file of a tree that another process copies in until all of it is
    recorded, less those of copying alone; and of reading it all.
    """
    documents = sample(count)
    contents = _contents(documents)
    alone = _elsewhere(_write_contents, folder.with_name("alone"), contents)
    filestore.open(folder).close()
    with _recording(folder) as recorded:
        before = time.perf_counter()
        _elsewhere(_write_contents, folder, contents)
        recorded(count)
        taken = time.perf_counter() - before - alone
    return taken, _reading(folder, documents)


def checked_out(folder: Path, count: int) -> tuple[float, float]:
    """Seconds from the end of a ``git checkout`` of so many new documents until all of them are
    recorded; and of reading them all.
    """
    documents = sample(count)
    filestore.open(folder).close()
    git = partial(_git, folder)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "none")
    git("checkout", "-qb", "many")
    _write_all(folder, documents)
    git("add", ".")
    git("commit", "-qm", "many")
    git("checkout", "-q", "-")
    with _recording(folder) as recorded:
        git("checkout", "-q", "many")
        before = time.perf_counter()
        recorded(count)
        taken = time.perf_counter() - before
    return taken, _reading(folder, documents)


@contextmanager
def _recording(folder: Path) -> Iterator[Callable[[int], None]]:
    """A store that is settled, and how to wait until so many documents were recorded."""
    found = 0

    def count_up(commits: Sequence[Commit] | None) -> None:
        nonlocal found
        for commit in commits or ():
            found += len(commit.ops)

    def wait(count: int) -> None:
        while found < count:
            time.sleep(0.005)

    with filestore.open(folder) as store:
        _settle(store)
        store._backend.subscribe(count_up)
        yield wait


def _reading(folder: Path, documents: list[tuple[str, dict[str, Any]]]) -> float:
    backend = FileBackend(folder, background=False, watch=False)
    before = time.perf_counter()
    for id, _ in documents:
        assert backend.get(Key("volumes", id)) is not None
    taken = time.perf_counter() - before
    backend.close()
    return taken


def _elsewhere(work: Callable[..., object], *arguments: object) -> float:
    """Seconds that it takes in a process of its own, which has no store open."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    before = time.perf_counter()
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - before


def _git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ana", "-c", "user.email=ana@example.com")
    subprocess.run(("git", "-C", str(folder), *who, *arguments), check=True)


def passed(folder: Path, count: int) -> tuple[float, float]:
    """Seconds of the processor for recording a tree of new files that is gone through; and for
    opening, reading and decoding each of them.
    """
    backend = FileBackend(folder, background=False, watch=False)
    backend.rescan()
    _write_all(folder, sample(count))
    before = time.process_time()
    backend.rescan()
    taken = time.process_time() - before
    assert sum(len(commit.ops) for commit in backend.changes(0)) == count
    backend.close()
    before = time.process_time()
    for id, _ in sample(count):
        with open(f"{folder}/volumes/{id}.json", "rb") as file:
            decode(file.read())
    return taken, time.process_time() - before


def _write_all(folder: Path, documents: list[tuple[str, dict[str, Any]]]) -> None:
    _write_contents(folder, _contents(documents))


def _contents(documents: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, bytes]]:
    return [(id, codec_named("json").encode(canonical(each))) for id, each in documents]


def _write_contents(folder: Path, contents: list[tuple[str, bytes]]) -> None:
    (folder / "volumes").mkdir(parents=True)
    for id, content in contents:
        (folder / f"volumes/{id}.json").write_bytes(content)


@contextmanager
def put(folder: Path, *, watch: bool) -> Iterator[Callable[[int], object]]:
    volumes = sample(1000)
    with filestore.open(folder / "state", watch=watch) as store:
        if watch:
            _settle(store)
        write = store["volumes"].put
        yield lambda index: write(*volumes[index])


@contextmanager
def get(folder: Path) -> Iterator[Callable[[int], object]]:
    volumes = sample(100)
    with filestore.open(folder / "state") as store:
        collection = store["volumes"]
        for id, document in volumes:
            collection[id] = document
        _settle(store)
        for id, _ in volumes:
            collection[id]
        ids = [id for id, _ in volumes]
        yield lambda _: [collection[id] for id in ids]


@contextmanager
def decoding(folder: Path) -> Iterator[Callable[[int], object]]:
    datas = [canonical(document) for _, document in sample(100)]
    yield lambda _: [decode(data) for data in datas]


def run(data: Path, rounds: int, files: int) -> list[Row]:
    puts = measure(
        [
            Case("watched", partial(put, watch=True), count=300),
            Case("alone", partial(put, watch=False), count=300),
        ],
        rounds,
        data,
    )
    gets = measure([Case("gets", get), Case("decoding", decoding)], rounds, data)
    late = latencies(fresh(data))
    p50, p99 = statistics.median(late), late[int(len(late) * 0.99)]
    copied = ingested(fresh(data) / "state", files)
    out = checked_out(fresh(data) / "state", files)
    worked, decoding_them = passed(fresh(data) / "state", files)
    return [
        versus("durable put, watched / watch=False", puts["watched"], puts["alone"]),
        versus("100 cached gets / decoding them", gets["gets"], gets["decoding"], limit=1.3),
        Row("an edit, until another process's callback, median", f"{p50 * 1e3:.1f} ms"),
        Row(
            f"the same, the slowest 1 % of {EDITS}",
            f"{p99 * 1e3:.1f} ms",
            target="50 ms",
            ok=p99 < 0.05,
        ),
        _within_twice(f"{files:,} files copied in, until recorded, less copying them", copied),
        _within_twice(f"{files:,} files checked out by git, from then until recorded", out),
        Row(
            f"{files:,} new files found and recorded / open, read, decode, in processor time",
            f"{worked / files * 1e6:.0f} us each",
            f"{decoding_them / files * 1e6:.0f} us",
            f"{worked / decoding_them:.2f}",
        ),
    ]


def _within_twice(what: str, seconds: tuple[float, float]) -> Row:
    taken, reading = seconds
    return Row(
        f"{what} / getting them uncached",
        f"{taken:.2f} s",
        f"{reading:.2f} s",
        f"{taken / reading:.2f}",
        "2",
        ok=taken <= 2 * reading,
    )
