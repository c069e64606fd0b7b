"""Files that were published a moment ago, and what their stamps prove."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.engine.stamps import Stamps
from filestore.engine.state import FILES, NO_FILE
from filestore.errors import Conflict
from filestore.model import Edit, Key
from tests.engine.reading import keys_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = Key("volumes", "a")
ROOT_IS = "22 1 8:1 / / rw,relatime - {} /dev/sda1 rw\n"


class Mounted(FileSystem):
    """A file system of a given type."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def mounts(self) -> str:
        return ROOT_IS.format(self.kind)


def met(kind: str, stamps: list[int], clock: int = 100) -> Stamps:
    found = Stamps(Mounted(kind), "/state")
    for stamp in stamps:
        found.saw(stamp, clock)
    return found


def test_stamps_ahead_of_the_coarse_clock_are_fine() -> None:
    found = met("ext4", [100, 101, 102, 100, 103, 104])
    assert found.fine
    assert found.wanted


def test_one_stamp_ahead_is_no_proof() -> None:
    assert not met("ext4", [101, 100, 100]).fine


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "overlay", ""])
def test_stamps_of_another_machine_prove_nothing(kind: str) -> None:
    found = met(kind, [101, 102, 103, 104, 105])
    assert not found.fine
    assert not found.wanted


def test_where_no_stamp_is_ahead_nobody_looks_for_long() -> None:
    found = met("ext4", [100] * 100)
    assert not found.fine
    assert not found.wanted


class Editing(FileSystem):
    """Somebody edits a document in place, to the same size, as soon as it has its name."""

    edit: bytes | None = None
    same_tick = False  # whether the edit has the modification time of what it changes

    def rename_new(self, source: str, target: str) -> None:
        super().rename_new(source, target)
        self._edit(target)

    def exchange(self, one: str, other: str) -> None:
        super().exchange(one, other)
        self._edit(other)

    def _edit(self, path: str) -> None:
        if self.edit is not None and path.endswith("/a.json"):
            edit, self.edit = self.edit, None
            was = os.stat(path).st_mtime_ns
            _overwrite(path, edit)
            if self.same_tick:
                os.utime(path, ns=(was, was))


def _overwrite(path: str | Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        assert os.fstat(fd).st_size == len(content)
        os.pwrite(fd, content, 0)
    finally:
        os.close(fd)


def pretty(n: int) -> bytes:
    return b'{\n  "n": %d\n}\n' % n


@pytest.fixture
def fs() -> Editing:
    return Editing()


@pytest.fixture
def backend(tmp_path: Path, fs: Editing) -> Iterator[FileBackend]:
    with closing(FileBackend(tmp_path / "store", fs=fs, background=False, durability="off")) as b:
        for n in range(100, 180):  # whatever is to be known of the stamps, is
            b.apply([Edit(A, canonical({"n": n}))])
        yield b


def read(backend: FileBackend) -> bytes:
    entry = backend.get(A)
    assert entry is not None
    return entry.data


def test_an_edit_in_place_right_after_a_commit_is_noticed(
    backend: FileBackend, tmp_path: Path
) -> None:
    for n in range(200, 300, 2):
        backend.apply([Edit(A, canonical({"n": n}))])
        _overwrite(tmp_path / "store/volumes/a.json", pretty(n + 1))
        assert read(backend) == canonical({"n": n + 1})


def test_an_edit_in_place_before_the_commit_has_returned_is_noticed(
    backend: FileBackend, fs: Editing
) -> None:
    for n in range(200, 300, 2):
        fs.edit = pretty(n + 1)
        backend.apply([Edit(A, canonical({"n": n}))])
        assert fs.edit is None
        assert read(backend) == canonical({"n": n + 1})


def test_a_put_over_an_edit_right_after_a_commit_is_a_conflict(
    backend: FileBackend, tmp_path: Path
) -> None:
    for n in range(200, 300, 2):
        backend.apply([Edit(A, canonical({"n": n}))])
        _overwrite(tmp_path / "store/volumes/a.json", pretty(n + 1))
        with pytest.raises(Conflict):
            backend.apply([Edit(A, canonical({"n": 999}))])
        assert read(backend) == canonical({"n": n + 1})


@pytest.mark.parametrize("documents", [1, 40])
def test_an_edit_in_the_tick_of_a_commit_is_noticed_where_stamps_are_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int
) -> None:
    fs = Editing()
    monkeypatch.setattr(fs, "mounts", Mounted("ext3").mounts)
    backend = FileBackend(tmp_path / "store", fs=fs, background=False, durability="off")
    now = time.time_ns()
    keys = [A, *(Key("volumes", str(number)) for number in range(documents - 1))]
    for key in keys:
        backend.apply([Edit(key, canonical({"n": 100}))])
    fs.edit, fs.same_tick = pretty(201), True
    monkeypatch.setattr(  # the tick ends with the edit
        "filestore.engine.tree.coarse_time_ns", lambda: now if fs.edit else now + 10**10
    )
    backend.apply([Edit(key, canonical({"n": 200})) for key in reversed(keys)])
    assert fs.edit is None
    assert read(backend) == canonical({"n": 201})
    backend.close()


def test_the_recorder_does_not_read_what_its_handle_has_published(
    backend: FileBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.rescan()
    read = keys_read(backend, monkeypatch)
    keys = [Key("volumes", str(n)) for n in range(10)]
    for key in keys:
        backend.apply([Edit(key, canonical({"n": 1}))])
    backend.rescan()
    assert set(keys) & set(read) == (set() if backend._ground.tree._stamps.fine else set(keys))
    _overwrite(tmp_path / "store/volumes/3.json", b'{\n  "n": 2\n}\n')
    backend.rescan()
    assert [commit.ops[0].key for commit in backend.changes(backend.revision - 1)] == [keys[3]]


def test_what_was_just_published_is_not_read_again(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_again = keys_read(backend, monkeypatch)
    for n in range(200, 210):
        backend.apply([Edit(A, canonical({"n": n}))])
        assert read(backend) == canonical({"n": n})
    assert bool(read_again) is not backend._ground.tree._stamps.fine  # older systems have to look


# --- what other handles know of files that a commit got


def replace(backend: FileBackend, n: int) -> None:
    """Commit whatever was there before."""
    backend.apply([Edit(A, lambda _: canonical({"n": n}))])


@pytest.fixture
def other(backend: FileBackend, tmp_path: Path) -> Iterator[FileBackend]:
    with closing(FileBackend(tmp_path / "store", background=False)) as other:
        assert read(other) == canonical({"n": 179})
        yield other


def test_what_another_handle_has_just_published_is_not_read(
    backend: FileBackend, other: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_read = keys_read(other, monkeypatch)
    for n in range(200, 220):
        backend.apply([Edit(A, canonical({"n": n}))])
        if n % 3 == 0:
            backend.apply([Edit(A, canonical({"document": {"document": {}}, "n": n}))])
            backend.apply([Edit(A, canonical({"n": n}))])
        entry = other.get(A)
        assert entry is not None
        assert entry.data == canonical({"n": n})
        assert entry.etag == etag_of(canonical({"n": n}))
    assert bool(files_read) is not backend._ground.tree._stamps.fine


def test_what_observers_have_parsed_is_not_read_either(
    backend: FileBackend, other: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = other.subscribe(lambda commits: [*(commits or ())] and None)
    files_read = keys_read(other, monkeypatch)
    for n in range(200, 205):
        backend.apply([Edit(A, canonical({"n": n}))])
        assert read(other) == canonical({"n": n})
    assert bool(files_read) is not backend._ground.tree._stamps.fine
    end()


@pytest.mark.parametrize("looked", [True, False])
def test_another_handle_notices_an_edit_in_place_right_after_a_commit(
    backend: FileBackend, other: FileBackend, tmp_path: Path, looked: bool
) -> None:
    for n in range(200, 300, 2):
        replace(backend, n)
        if looked:
            assert read(other) == canonical({"n": n})
        _overwrite(tmp_path / "store/volumes/a.json", pretty(n + 1))
        assert read(other) == canonical({"n": n + 1})


def test_another_handle_notices_a_file_that_takes_the_place_of_the_committed_one(
    backend: FileBackend, other: FileBackend, tmp_path: Path
) -> None:
    for n in range(200, 300, 2):
        replace(backend, n)
        (tmp_path / "new").write_bytes(pretty(n + 1))
        (tmp_path / "new").rename(tmp_path / "store/volumes/a.json")
        assert read(other) == canonical({"n": n + 1})
    replace(backend, 400)
    (tmp_path / "store/volumes/a.json").unlink()
    assert other.get(A) is None


def test_another_handle_notices_an_edit_before_the_commit_has_returned(
    backend: FileBackend, other: FileBackend, fs: Editing
) -> None:
    for n in range(200, 300, 2):
        fs.edit = pretty(n + 1)
        replace(backend, n)
        assert fs.edit is None
        assert read(other) == canonical({"n": n + 1})


def test_another_handle_notices_an_edit_in_the_tick_of_a_commit_where_stamps_are_coarse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = Editing()
    monkeypatch.setattr(fs, "mounts", Mounted("ext3").mounts)
    with (
        closing(FileBackend(tmp_path / "store", fs=fs, background=False)) as backend,
        closing(FileBackend(tmp_path / "store", background=False)) as other,
    ):
        backend.apply([Edit(A, canonical({"n": 100}))])
        assert read(other) == canonical({"n": 100})
        fs.edit, fs.same_tick = pretty(201), True
        backend.apply([Edit(A, canonical({"n": 200}))])
        assert fs.edit is None
        assert read(other) == canonical({"n": 201})


@pytest.mark.parametrize("many", [FILES - 1, FILES, FILES + 1, 3 * FILES])
def test_of_many_commits_each_document_is_read_as_it_is(
    backend: FileBackend, other: FileBackend, many: int
) -> None:
    keys = [Key("volumes", str(number)) for number in range(many)]
    for turn in range(3):
        for number, key in enumerate(keys):
            backend.apply([Edit(key, canonical({"n": [turn, number]}))])
        for number, key in enumerate(keys):
            entry = other.get(key)
            assert entry is not None
            assert entry.data == canonical({"n": [turn, number]})


def test_a_file_is_known_of_its_own_revision_alone_until_the_state_is_made_anew(
    backend: FileBackend,
) -> None:
    state = backend._ground.state
    assert state is not None
    for revision in range(1000, 1000 + FILES):
        state.set_file(revision, (revision, 2**63, 2**64 - 1, 7))
    for revision in range(1000, 1000 + FILES):
        assert state.file(revision) == (revision, 2**63, 2**64 - 1, 7)
        assert state.file(revision - FILES) is None
        assert state.file(revision + FILES) is None
    state.set_file(2000, (-1, -(10**9), 7, 7))  # the clock is before 1970
    assert state.file(2000) not in (None, (-1, -(10**9), 7, 7))
    state.set_file(2000, NO_FILE)
    assert state.file(2000) is None
    state.rebuild(state.committed, state.checkpoint)
    assert state.file(2000) is None
    assert [state.file(revision) for revision in range(1000, 1000 + FILES)] == [None] * FILES
