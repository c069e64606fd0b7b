"""A call to the system fails: the store says so, changes nothing, and stays usable."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from filestore.errors import FilestoreError
from filestore.model import Edit
from tests.crash.sim import Fault, FaultyFileSystem, RecordingFileSystem
from tests.crash.workload import (
    CHECKPOINT,
    CLOSE,
    OPEN,
    SHORT,
    WORKLOAD,
    Ground,
    Run,
    Violation,
    judge,
    numbers,
    opened,
    tree_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.engine.files import FileBackend
    from tests.crash.disk import Disk
    from tests.crash.workload import Step, Tree

ERRORS = (None, errno.EIO, errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EACCES, errno.EINTR)


def calls_of(ground: Ground, steps: Sequence[Step]) -> int:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    Run(disk, fs).do(steps)
    ground.clear()
    return len(fs.calls)


class Faulted:
    """A workload in which a call fails, judged after each step."""

    def __init__(self, disk: Disk, fault: Fault) -> None:
        self.disk = disk
        self.fault = fault
        self.fs = FaultyFileSystem(disk, fault)
        self.backend: FileBackend | None = None
        self.tree: Tree = {}
        self.failed: list[str] = []

    def do(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if self.backend is None and step is not OPEN:
                continue
            try:
                self.one(step)
            except FilestoreError as error:
                self.failed.append(f"{step.name}: {error!r} at {self.fs.calls[-1]}")
            except OSError as error:
                raise Violation(f"{self}: {step.name}: bare {error!r}") from error
            if step is CLOSE:
                self.backend = None
            self.look(step)
        self.fs.fault = None
        if self.backend is not None:
            self.backend.close()
        if self.fs.opened:
            raise Violation(f"{self}: left open {self.fs.opened}")
        judge(self.disk, [self.tree], f"{self}; afterwards")

    def one(self, step: Step) -> None:
        if step is OPEN:
            self.backend = opened(self.disk, self.fs)
            return
        assert self.backend is not None
        if step is CHECKPOINT:
            self.backend.checkpoint()
        elif step is CLOSE:
            self.backend.close()
        else:
            self.backend.apply([Edit(key, data) for key, data in step.edits])
            self.tree = step.after(self.tree)

    def look(self, step: Step) -> None:
        """What raised has changed nothing that can be seen."""
        if self.backend is None or self.fault.forever:
            return
        try:
            found = tree_of(self.backend)
        except FilestoreError as error:
            self.failed.append(f"reading: {error!r}")
            return
        if found != self.tree:
            raise Violation(f"{self}, after {step.name}: {numbers(found)}")

    def __str__(self) -> str:
        return f"{self.fault}: {self.failed}: want {numbers(self.tree)}"


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: errno.errorcode.get(e, "short"))
def test_a_fault_at_any_call_changes_nothing(
    ground: Ground, error: int | None, exhaustive: bool
) -> None:
    steps = WORKLOAD if exhaustive else SHORT
    hits = 0
    for at in range(1, calls_of(ground, steps) + 1):
        faulted = Faulted(ground.disk(), Fault(at, error))
        faulted.do(steps)
        hits += faulted.fs.hit
        ground.clear()
    assert hits


@pytest.mark.parametrize(
    "error",
    [errno.ENOSPC, errno.EROFS, errno.EMFILE, errno.EIO],
    ids=lambda e: errno.errorcode[e],
)
def test_a_fault_that_stays_changes_nothing(ground: Ground, error: int, exhaustive: bool) -> None:
    steps = WORKLOAD if exhaustive else SHORT
    for at in range(1, calls_of(ground, steps) + 1, 1 if exhaustive else 3):
        Faulted(ground.disk(), Fault(at, error, forever=True)).do(steps)
        ground.clear()
