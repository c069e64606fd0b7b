"""A store is moved to another fan-out: whatever happens, every document is there, once."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

import pytest

from filestore.engine.files import FileBackend
from filestore.errors import FilestoreError
from filestore.model import Edit, Key
from tests.crash.sim import Fault, FaultyFileSystem, RecordingFileSystem, When
from tests.crash.workload import (
    CLOSE,
    OPEN,
    A,
    B,
    C,
    Ground,
    Run,
    Violation,
    commit,
    crashing,
    document,
    judge,
    opened,
    store_path,
    tree_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.disk import Disk
    from tests.crash.workload import Tree

LONG: Final = Key("volumes", "x" * 250)
FIRST: Final = commit("documents", (A, document(1)), (B, document(2)), (C, document(3)))
SECOND: Final = commit("more", (LONG, document(4)), (A, document(5)))
TREE: Final = SECOND.after(FIRST.after({}))
AFTER: Final = commit("after", (B, document(6)))
NOTE: Final = "volumes/README.md"
MOVES: Final = ((0, 1), (1, 0), (1, 2))


def prepared(ground: Ground, fanout: int) -> Disk:
    """A store with documents, closed, and a note among them that nobody may touch."""
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    backend = FileBackend(store_path(disk), fs=fs, background=False, fanout=fanout)
    for step in (FIRST, SECOND):
        backend.apply([Edit(key, data) for key, data in step.edits])
    backend.close()
    with open(f"{store_path(disk)}/{NOTE}", "w", encoding="ascii") as note:
        note.write("by hand\n")
    return type(disk)(disk.path)


def reshard(disk: Disk, fs: RecordingFileSystem, fanout: int) -> None:
    backend = opened(disk, fs)
    backend.reshard(fanout)
    backend.apply([Edit(key, data) for key, data in AFTER.edits])
    backend.close()


def effects_of(ground: Ground, before: int, after: int) -> int:
    disk = prepared(ground, before)
    fs = RecordingFileSystem(disk)
    reshard(disk, fs, after)
    assert not fs.opened
    ground.clear()
    return fs.effects


def require_order(disk: Disk, where: str) -> None:
    """One name a document, nothing left over, nothing of others' touched."""
    root = store_path(disk)
    backend = opened(disk, RecordingFileSystem(disk))
    problems, fanout = backend.check(), backend.stats()["fanout"]
    backend.close()
    if problems:
        raise Violation(f"{where}: {problems}")
    if os.path.exists(f"{root}/.filestore/reshard"):
        raise Violation(f"{where}: the intent is left")
    with open(f"{root}/{NOTE}", encoding="ascii") as note:
        assert note.read() == "by hand\n"
    for folder, folders, files in os.walk(root):
        if "/.filestore" in folder:
            continue
        shards = folder.removeprefix(root).count("/@")
        if any(name.endswith(".json") for name in files) and shards != fanout:
            raise Violation(f"{where}: a document in {folder} at fan-out {fanout}")
        if shards and not folders and not files:
            raise Violation(f"{where}: {folder} is empty")


def allowed() -> list[Tree]:
    return [TREE, AFTER.after(TREE)]


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_death_at_any_call_of_a_reshard_loses_no_document(
    ground: Ground, before: int, after: int, exhaustive: bool
) -> None:
    last = effects_of(ground, before, after)
    points = [(at, When.BEFORE) for at in range(1, last + 1)]
    if exhaustive:
        points += [(at, when) for at, _ in points for when in (When.PARTWAY, When.AFTER)]
    for at, when in points:
        disk = prepared(ground, before)
        fs = RecordingFileSystem(disk, crash_at=at, when=when)
        crashing(lambda disk=disk, fs=fs: reshard(disk, fs, after))  # type: ignore[misc]
        where = f"{before} to {after}, died {when.value} effect {at}"
        judge(disk, allowed(), where)
        require_order(disk, where)
        ground.clear()


def test_death_at_any_call_of_finishing_a_reshard_loses_no_document(
    ground: Ground, exhaustive: bool
) -> None:
    last = effects_of(ground, 0, 1)
    for at in range(1, last + 1, 1 if exhaustive else 5):
        inner = 1
        while True:
            disk = prepared(ground, 0)
            fs = RecordingFileSystem(disk, crash_at=at)
            crashing(lambda disk=disk, fs=fs: reshard(disk, fs, 1))  # type: ignore[misc]
            again = RecordingFileSystem(disk, crash_at=inner)
            died = crashing(lambda disk=disk, again=again: opened(disk, again).close())  # type: ignore[misc]
            where = f"died at effect {at}, and again at {inner}"
            judge(disk, allowed(), where)
            require_order(disk, where)
            ground.clear()
            if not died:
                break
            inner += 1 if exhaustive else 3


@pytest.mark.parametrize(
    ("before", "after", "split"), [(0, 1, False), (1, 0, False), (1, 2, False), (0, 1, True)]
)
def test_a_power_cut_at_any_call_of_a_reshard_loses_no_document(
    tmp_path: Path, before: int, after: int, split: bool, exhaustive: bool
) -> None:
    live, cut = Ground(str(tmp_path / "live")), Ground(str(tmp_path / "cut"))
    disk = prepared(live, before)
    judged: set[bytes] = set()

    def look(fs: RecordingFileSystem) -> None:
        for image in disk.images(seed=fs.effects, samples=40 if exhaustive else 0, split=split):
            if image.digest in judged:
                continue
            judged.add(image.digest)
            after_cut = cut.disk(image, boot_id="boot-2")
            where = f"cut after {fs.calls[-1]}, {image.label}"
            judge(after_cut, allowed(), where)
            require_order(after_cut, where)
            cut.clear()

    fs = RecordingFileSystem(disk, observer=look)
    reshard(disk, fs, after)
    live.clear()


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_readers_miss_no_document_at_any_call_of_a_reshard(
    ground: Ground, before: int, after: int
) -> None:
    disk = prepared(ground, before)
    readers = [opened(disk, RecordingFileSystem(disk)) for _ in range(2)]
    tree_of(readers[1])  # one has all in its cache
    alone = FileBackend(store_path(disk), fs=RecordingFileSystem(disk), readonly=True)
    getting = opened(disk, RecordingFileSystem(disk))  # which lists nothing, so follows late

    def look(fs: RecordingFileSystem) -> None:
        fresh = FileBackend(store_path(disk), fs=RecordingFileSystem(disk), readonly=True)
        for reader in (*readers, alone, fresh, getting):
            for key, data in TREE.items():
                entry = reader.get(key)
                assert entry is not None, (key, str(fs.calls[-1]))
                assert entry.data == data
            if reader is not getting:
                assert tree_of(reader) == TREE, str(fs.calls[-1])
        fresh.close()

    fs = RecordingFileSystem(disk, observer=look)
    backend = opened(disk, fs)
    backend.reshard(after)
    fs.observer = None
    backend.close()
    for reader in (*readers, alone, getting):
        reader.close()


@pytest.mark.parametrize(
    "error",
    [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EROFS],
    ids=lambda error: errno.errorcode[error],
)
@pytest.mark.parametrize("forever", [False, True])
def test_a_fault_at_any_call_of_a_reshard_loses_no_document(
    ground: Ground, error: int, forever: bool, exhaustive: bool
) -> None:
    last = len(calls_of(ground))
    hits = 0
    for at in range(1, last + 1, 1 if exhaustive else 3):
        disk = prepared(ground, 0)
        fs = FaultyFileSystem(disk, Fault(at, error, forever=forever))
        backend = None
        told = None
        try:
            backend = opened(disk, fs)
            backend.reshard(1)
        except FilestoreError as raised:
            told = raised
        hits += fs.hit
        where = f"{fs.fault}: {told!r}"
        fs.fault = None
        if backend is not None:
            assert tree_of(backend) == TREE, where
            backend.close()
        assert not fs.opened, where
        judge(disk, [TREE], where)
        require_order(disk, where)
        ground.clear()
    assert hits


def calls_of(ground: Ground) -> list[object]:
    disk = prepared(ground, 0)
    fs = RecordingFileSystem(disk)
    backend = opened(disk, fs)
    backend.reshard(1)
    calls: list[object] = list(fs.calls)
    backend.close()
    ground.clear()
    return calls


def test_the_workload_of_commits_goes_on_after_a_reshard(ground: Ground) -> None:
    disk = prepared(ground, 0)
    run = Run(disk, RecordingFileSystem(disk))
    run.promise.trees = [TREE]
    run.one(OPEN)
    other = opened(disk, RecordingFileSystem(disk))
    assert run.backend is not None
    other.reshard(2)
    run.one(commit("after", (A, document(7)), (C, None), (Key("volumes", "new"), document(8))))
    other.reshard(1)
    run.one(commit("again", (A, document(9))))
    other.close()
    run.one(CLOSE)
    judge(disk, run.promise.trees[-1:], "after two reshards")
    require_order(disk, "after two reshards")
