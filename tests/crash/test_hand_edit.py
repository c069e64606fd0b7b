"""What somebody wrote by hand around a crash is never lost (J4)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from filestore.errors import FilestoreError
from filestore.model import Edit
from tests.crash.disk import Disk
from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import (
    OPEN,
    A,
    B,
    C,
    D,
    Ground,
    Run,
    commit,
    crashing,
    document,
    opened,
    store_path,
    tree_of,
)

if TYPE_CHECKING:
    from filestore.model import Key

BEFORE = (
    OPEN,
    commit("documents", (A, document(1)), (B, document(2)), (C, document(3))),
)
COMMIT = commit("a commit", (A, document(4)), (B, None), (D, document(5)), (C, document(6)))
MARK = "written by hand"
PLACES: dict[Key, str] = {
    A: "volumes/a.json",
    B: "volumes/b.json",
    C: "driver_data/lvm/c.json",
    D: "snapshots/d.json",
}


def edit(disk: Disk, key: Key) -> None:
    """Save as an editor does: another file, renamed over the document."""
    path = f"{store_path(disk)}/{PLACES[key]}"
    folder = os.path.dirname(path)
    editor = RecordingFileSystem(disk)
    if not os.path.exists(folder):
        editor.mkdir(folder)
    fd = editor.open(folder + "/.edited.swp", os.O_WRONLY | os.O_CREAT, 0o600)
    editor.write(fd, json.dumps({"note": MARK}, indent=4).encode() + b"\n")
    editor.close(fd)
    editor.rename(folder + "/.edited.swp", path)


def kept(disk: Disk, *, aside: bool) -> bool:
    """Whether the edit can still be found: in its place, or (``aside``) kept by the store."""
    for folder, _, files in os.walk(store_path(disk)):
        if "/.filestore/tmp" in folder or (not aside and "/.filestore" in folder):
            continue
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                if MARK.encode() in file.read():
                    return True
    return False


def effects_of_commit(ground: Ground) -> range:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    run = Run(disk, fs)
    run.do(BEFORE)
    first = fs.effects + 1
    run.one(COMMIT)
    last = fs.effects
    ground.clear()
    return range(first, last + 1)


def commit_with_edit(disk: Disk, key: Key, at: int, death: int | None = None) -> Run:
    """Edit a document just before an effect of the commit, and die at another or after it."""

    def interfere(fs: RecordingFileSystem) -> None:
        if fs.effects == at - 1:
            fs.observer = None
            edit(disk, key)

    fs = RecordingFileSystem(disk, crash_at=death, observer=interfere)
    run = Run(disk, fs)

    def act() -> None:
        run.do(BEFORE)
        assert run.backend is not None
        try:
            run.backend.apply([Edit(k, data) for k, data in COMMIT.edits])
        except FilestoreError:
            assert kept(disk, aside=False), at

    if crashing(act):
        disk.settle()
    elif death is not None:
        fs.kill()
    return run


def crashed_in_commit(disk: Disk, at: int) -> Run:
    run = Run(disk, RecordingFileSystem(disk, crash_at=at))
    assert crashing(lambda: run.do((*BEFORE, COMMIT)))
    disk.settle()
    return run


@pytest.mark.parametrize("key", PLACES, ids=str)
@pytest.mark.parametrize("rebooted", [False, True])
def test_an_edit_between_crash_and_recovery_is_kept(
    ground: Ground, key: Key, rebooted: bool
) -> None:
    for at in effects_of_commit(ground):
        disk = ground.disk()
        run = crashed_in_commit(disk, at)
        edit(disk, key)
        later = Disk(disk.path, "boot-2" if rebooted else disk.boot_id)
        for _ in range(2):
            backend = opened(later, RecordingFileSystem(later))
            found = tree_of(backend)
            edited = found.pop(key)
            assert MARK.encode() in edited, at
            old, new = (
                {k: v for k, v in tree.items() if k != key} for tree in run.promise.trees[-2:]
            )
            assert found in (old, new), at
            assert not backend.check()
            backend.close()
        assert kept(later, aside=False), at
        later.release()
        ground.clear()


@pytest.mark.parametrize("key", PLACES, ids=str)
def test_an_edit_during_a_commit_is_never_lost(ground: Ground, key: Key) -> None:
    for at in effects_of_commit(ground):
        disk = ground.disk()
        run = commit_with_edit(disk, key, at)
        assert run.backend is not None
        run.backend.close()
        assert kept(disk, aside=True), at
        ground.clear()


@pytest.mark.parametrize("key", PLACES, ids=str)
@pytest.mark.parametrize("rebooted", [False, True])
def test_an_edit_during_a_commit_that_dies_is_never_lost(
    ground: Ground, key: Key, rebooted: bool, exhaustive: bool
) -> None:
    effects = effects_of_commit(ground)
    for at in effects:
        for death in range(at, effects[-1] + 3):
            if not exhaustive and (at + death) % 3:
                continue
            disk = ground.disk()
            commit_with_edit(disk, key, at, death)
            later = Disk(disk.path, "boot-2" if rebooted else disk.boot_id)
            backend = opened(later, RecordingFileSystem(later))
            tree_of(backend)
            backend.close()
            assert kept(later, aside=True), (at, death)
            later.release()
            ground.clear()
