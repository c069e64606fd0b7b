"""An edit in place, to the same size, at each call of a commit: reads show what the file has."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from filestore.codec import canonical
from filestore.errors import Conflict
from filestore.model import Edit, Key
from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import A, opened, store_path

if TYPE_CHECKING:
    from filestore.engine.files import FileBackend
    from tests.crash.disk import Disk
    from tests.crash.workload import Ground


def pretty(number: int) -> bytes:
    return b'{\n  "n": %d\n}\n' % number


def overwrite(disk: Disk, number: int) -> None:
    editor = RecordingFileSystem(disk)
    fd = editor.open(f"{store_path(disk)}/volumes/a.json", os.O_WRONLY)
    editor.pwrite(fd, pretty(number), 0)
    editor.close(fd)


def handle(disk: Disk) -> tuple[FileBackend, RecordingFileSystem]:
    """A process that knows of its stamps all that is to be known: maybe that they are fine."""
    fs = RecordingFileSystem(disk)
    backend = opened(disk, fs)
    stamps = backend._ground.tree._stamps
    for number in range(100, 200):
        backend.apply([Edit(A, canonical({"n": number}))])
        if stamps.fine or not stamps.wanted:
            break
    return backend, fs


@pytest.mark.parametrize("documents", [1, 20])
def test_what_is_edited_beside_a_commit_is_read(ground: Ground, documents: int) -> None:
    # The last are not kept open until they have their names.
    others = [Key("volumes", str(number)) for number in range(documents - 1)]
    edits = [Edit(key, canonical({"n": 300})) for key in (*others, A)]
    disk = ground.disk()
    backend, fs = handle(disk)
    backend.apply(edits)
    first = fs.effects
    backend.apply([Edit(edit.key, canonical({"n": 301})) for edit in edits])
    effects = fs.effects - first
    backend.close()
    ground.clear()
    disk = ground.disk()
    backend, fs = handle(disk)
    backend.apply(edits)
    for turn, at in enumerate(range(max(1, effects - 40), effects + 1), 1):
        last = fs.effects + at
        before = backend.get(A)
        assert before is not None

        def interfere(fs: RecordingFileSystem, last: int = last, turn: int = turn) -> None:
            if fs.effects == last:
                fs.observer = None
                overwrite(disk, 500 + turn)

        fs.observer = interfere
        with contextlib.suppress(Conflict):  # it was seen in time
            backend.apply([Edit(edit.key, canonical({"n": 600 + turn})) for edit in edits])
        fs.observer = None
        entry = backend.get(A)
        assert entry is not None
        with open(f"{store_path(disk)}/volumes/a.json", "rb") as file:
            assert file.read() == pretty(int(entry.data[5:-1])), at
    backend.close()
