"""Repairing a damaged journal beside other handles, and when it does not come to its end."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.engine.state import Flag
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from pathlib import Path

A, B = Key("volumes", "a"), Key("volumes", "b")
ONE, TWO, THREE, FOUR = (canonical({"n": n}) for n in range(4))


def damage(root: Path) -> None:
    """Spoil the first commit of the first segment."""
    path = root / ".filestore" / "journal" / "00000001.log"
    with path.open("r+b") as file:
        file.readline()
        file.seek(20, 1)
        file.write(b"?")


def test_another_handle_recovers_from_the_journal_that_a_repair_began(tmp_path: Path) -> None:
    root = tmp_path / "store"
    one = FileBackend(root, durability="normal", background=False)
    other = FileBackend(root, background=False)
    other.apply([Edit(A, ONE)])
    one.apply([Edit(A, TWO)])
    one.checkpoint()
    assert other.revision == 2  # it has the first segment open, to read and to write
    damage(root)
    assert one.repair() == []
    one.apply([Edit(A, THREE)])
    state = one._ground.state
    assert state is not None
    state.set_flags(Flag.DIRTY)  # as if its process had died
    assert other.apply([Edit(A, FOUR), Edit(B, ONE)]) is not None
    entry = one.get(A)
    assert entry is not None
    assert entry.data == FOUR
    assert [commit.revision for commit in one.changes(2)] == [3, 4]
    other.close()
    one.close()


class Dying(FileSystem):
    """Dies at the nth call that changes a name."""

    left: int | None = None

    def _step(self) -> None:
        if self.left is not None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1

    def rename_new(self, source: str, target: str) -> None:
        self._step()
        super().rename_new(source, target)

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self._step()
        os.fsync(fd)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:  # type: ignore[override]
        self._step()
        return os.pwrite(fd, data, offset)


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_repair_that_dies_leaves_no_lower_revision(
    tmp_path: Path, steps: int, rebooted: bool
) -> None:
    root, fs = tmp_path / "store", Dying()
    backend = FileBackend(root, fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    backend.checkpoint()
    for data in (TWO, THREE):
        backend.apply([Edit(A, data)])
    damage(root)
    fs.left = steps
    with contextlib.suppress(KeyboardInterrupt):
        backend.repair()
    fs.left = None
    if rebooted:
        (root / ".filestore" / "state").unlink()
    after = FileBackend(root, background=False)
    assert after.revision == 3
    assert after.repair() == []
    assert after.apply([Edit(A, FOUR), Edit(B, ONE)]) is not None
    assert after.revision == 4
    after.close()
    backend.close()
    again = FileBackend(root, readonly=True)
    assert (again.revision, again.check()) == (4, [])
    again.close()
