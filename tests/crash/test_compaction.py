"""A crash at any call while history is being dropped: no document and no recent commit is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestore import retention
from filestore.engine import journal
from tests.crash.sim import RecordingFileSystem, When
from tests.crash.test_power_cut import cut_everywhere
from tests.crash.workload import (
    CHECKPOINT,
    CLOSE,
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
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.disk import Disk
    from tests.crash.workload import Ground

STEPS = (
    OPEN,
    commit("first", (A, document(1, 3)), (B, document(2))),
    commit("second", (A, document(3, 3))),
    commit("third", (C, document(4, 3))),
    CHECKPOINT,
    commit("fourth", (A, document(5, 3)), (B, None)),
    commit("fifth", (C, document(6, 3))),
    CHECKPOINT,
    commit("sixth", (A, document(7, 3))),
    CLOSE,
)


@pytest.fixture(autouse=True)
def little_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit begins a segment, and every checkpoint drops what it can."""
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1024)
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=1))


def kept(disk: Disk) -> int:
    return sum(path.endswith(".log") for path in disk.now().items)


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_death_at_any_call_loses_nothing_and_leaves_no_gap(
    ground: Ground, durability: str, exhaustive: bool
) -> None:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    Run(disk, fs, durability=durability).do(STEPS)
    assert kept(disk) <= 2
    dropped = sum("unlink" in str(call) and ".log" in str(call) for call in fs.calls)
    assert dropped >= 3
    ground.clear()
    whens = list(When) if exhaustive else [When.BEFORE]
    for at in range(1, fs.effects + 1, 1 if exhaustive or durability == "full" else 3):
        for when in whens:
            disk = ground.disk()
            run = Run(
                disk, RecordingFileSystem(disk, crash_at=at, when=when), durability=durability
            )
            if not crashing(lambda run=run: run.do(STEPS)):
                continue
            backend = opened(disk, RecordingFileSystem(disk))
            problems = [problem for problem in backend.check() if problem.kind == "journal"]
            revisions = [commit.revision for commit in backend.changes(backend.horizon)]
            assert problems == []
            assert revisions == [*range(backend.horizon + 1, backend.revision + 1)]
            backend.close()
            where = f"died {when.value} effect {at}, in {run.step.name!r}"
            judge(disk, run.promise.allowed(durability, power=False), where)
            ground.clear()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_work_goes_on_after_a_death_at_any_call(
    ground: Ground, durability: str, exhaustive: bool
) -> None:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    Run(disk, fs, durability=durability).do(STEPS)
    ground.clear()
    for at in range(1, fs.effects + 1, 1 if exhaustive else 2):
        disk = ground.disk()
        run = Run(disk, RecordingFileSystem(disk, crash_at=at), durability=durability)
        assert crashing(lambda run=run: run.do(STEPS))
        run.resume(RecordingFileSystem(disk), STEPS)
        assert run.backend is not None
        run.backend.close()
        disk.boot_id = "boot-2"  # so that all is read from the journal again
        judge(disk, run.promise.trees[-1:], f"died before effect {at}, then went on")
        ground.clear()


def test_a_segment_begun_and_not_used_voids_nothing_written_since(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, exhaustive: bool
) -> None:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    Run(disk, fs).do(STEPS)
    ground.clear()
    for at in range(1, fs.effects + 1, 1 if exhaustive else 2):
        disk = ground.disk()
        run = Run(disk, RecordingFileSystem(disk, crash_at=at))
        assert crashing(lambda run=run: run.do(STEPS))
        with monkeypatch.context() as patched:
            # Another process goes on, by whose settings no segment ends.
            patched.setattr(journal, "SEGMENT_BYTES", 1 << 22)
            patched.setattr(retention, "DEFAULT", retention.Retention())
            later = tuple(step for step in STEPS if step is not CHECKPOINT and step is not CLOSE)
            run.resume(RecordingFileSystem(disk), later)
            disk.boot_id = "boot-2"  # before a checkpoint: all is read from the journal again
            judge(disk, run.promise.trees[-1:], f"died before effect {at}, then others went on")
        ground.clear()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_power_cut_at_any_call_keeps_what_was_promised(
    tmp_path: Path, durability: str, exhaustive: bool
) -> None:
    cut_everywhere(tmp_path, STEPS, samples=40 if exhaustive else 1, durability=durability)
