"""A crash at any call inside an undo: it happened whole, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestore import Store
from filestore.codec import decode
from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import (
    OPEN,
    A,
    B,
    C,
    Run,
    commit,
    crashing,
    document,
    judge,
    opened,
    tree_of,
)

if TYPE_CHECKING:
    from tests.crash.disk import Disk
    from tests.crash.workload import Ground, Tree

STEPS = (
    OPEN,
    commit("first", (A, document(1)), (B, document(2))),
    commit("to be undone", (A, document(3)), (B, None), (C, document(4))),
)


def prepared(disk: Disk, durability: str) -> tuple[Tree, Tree]:
    """Three documents touched by a commit; what there was after it, and before."""
    run = Run(disk, RecordingFileSystem(disk), durability=durability)
    run.do(STEPS)
    assert run.backend is not None
    run.backend.close()
    return run.promise.trees[2], run.promise.trees[1]


def undo(disk: Disk, fs: RecordingFileSystem, durability: str) -> None:
    with Store(opened(disk, fs, durability=durability)) as store:
        assert store.undo(2) == 3


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_death_at_any_call_of_an_undo_leaves_it_whole_or_undone(
    ground: Ground, durability: str
) -> None:
    disk = ground.disk()
    after, before = prepared(disk, durability)
    fs = RecordingFileSystem(disk)
    undo(disk, fs, durability)
    backend = opened(disk, RecordingFileSystem(disk))
    assert tree_of(backend) == before
    backend.close()
    ground.clear()
    seen = set()
    for at in range(1, fs.effects + 1):
        disk = ground.disk()
        prepared(disk, durability)
        dying = RecordingFileSystem(disk, crash_at=at)
        crashing(lambda disk=disk, dying=dying: undo(disk, dying, durability))
        found = judge(disk, [after, before], f"died before effect {at} of an undo")
        seen.add(decode(found[A])["number"])
        ground.clear()
    assert seen == {1, 3}
