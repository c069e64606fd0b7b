"""Repairing a damaged journal beside other handles, and when it does not come to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.codec import canonical
from filestore.engine.files import FileBackend
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
