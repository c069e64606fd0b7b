"""What a commit costs in system calls, and what threads share."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical
from filestore.codec.etag import etag_of
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.errors import Conflict, Corrupt
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = Key("volumes", "a")
ONE, TWO, THREE = (canonical({"n": n}) for n in range(3))
WRITES = {
    "write",
    "pwrite",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename",
    "rename_new",
    "exchange",
    "unlink",
    "mkdir",
    "rmdir",
    "fchmod",
    "fallocate",
}


class Counting(FileSystem):
    """Counts the calls by name."""

    NAMES = (
        *WRITES,
        "open",
        "close",
        "pread",
        "fstat",
        "lstat",
        "scan",
        "lock",
        "unlock",
        "refusal",
    )

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        for name in self.NAMES:
            setattr(self, name, self._counted(name, getattr(self, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return call(*arguments, **options)

        return counted


@pytest.fixture
def fs() -> Counting:
    return Counting()


@pytest.fixture
def backend(tmp_path: Path, fs: Counting) -> Iterator[FileBackend]:
    backend = FileBackend(tmp_path / "store", fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    fs.counts.clear()
    yield backend
    assert backend.check() == []
    backend.close()


def test_a_durable_put_of_a_new_document_syncs_once(backend: FileBackend, fs: Counting) -> None:
    backend.apply([Edit(Key("volumes", "b"), ONE)])
    assert {name: fs.counts[name] for name in WRITES if fs.counts[name]} == {
        "pwrite": 2,  # the record, the document
        "fdatasync": 1,
        "rename_new": 1,
    }


def test_a_durable_update_swaps_one_file_in(backend: FileBackend, fs: Counting) -> None:
    backend.apply([Edit(A, TWO)])
    assert {name: fs.counts[name] for name in WRITES if fs.counts[name]} == {
        "pwrite": 2,
        "fdatasync": 1,
        "exchange": 1,
        "unlink": 1,  # of what was displaced, after the lock was given back
    }


def test_a_transaction_of_a_hundred_documents_syncs_once(
    backend: FileBackend, fs: Counting
) -> None:
    backend.apply([Edit(Key("volumes", f"n{n}"), ONE) for n in range(100)])
    assert fs.counts["fdatasync"] == 1
    assert fs.counts["fsync"] == fs.counts["syncfs"] == 0
    assert fs.counts["rename_new"] == 100


def test_a_commit_looks_at_a_folder_once(backend: FileBackend, fs: Counting) -> None:
    keys = [Key(collection, f"n{n}") for n in range(10) for collection in ("volumes", "old/ones")]
    backend.apply([Edit(key, ONE) for key in keys])
    assert fs.counts["refusal"] == 1  # there is a new one
    fs.counts.clear()
    backend.apply([Edit(key, TWO if n % 3 else None) for n, key in enumerate(keys)])
    assert fs.counts["refusal"] == 3  # to take a document away, less is asked than to put one in


@pytest.mark.parametrize("after", [TWO, None])
def test_a_folder_behind_a_link_is_refused_though_another_was_good(
    tmp_path: Path, backend: FileBackend, after: bytes | None
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "store" / "planted").symlink_to(elsewhere)
    edits = [Edit(A, after), Edit(Key("planted", "b"), ONE), Edit(Key("planted", "c"), ONE)]
    with pytest.raises(Corrupt, match="planted: is a symbolic link"):
        backend.apply(edits)
    found = backend.get(A)
    assert found is not None
    assert found.data == ONE
    assert list(elsewhere.iterdir()) == []
    (tmp_path / "store" / "planted").unlink()


def test_an_unchanged_document_writes_nothing(backend: FileBackend, fs: Counting) -> None:
    assert backend.apply([Edit(A, ONE)]) is None
    assert {name for name in WRITES if fs.counts[name]} == set()


def test_opening_and_the_first_get_look_at_no_other_document(
    tmp_path: Path, backend: FileBackend
) -> None:
    backend.apply([Edit(Key("volumes", f"n{n}"), ONE) for n in range(300)])
    backend.checkpoint()
    fs = Counting()
    other = FileBackend(tmp_path / "store", fs=fs, background=False)
    entry = other.get(("volumes", "n7"))
    assert entry is not None
    assert entry.data == ONE
    assert fs.counts["scan"] == 0
    assert sum(fs.counts.values()) < 25
    other.close()


def test_a_cached_get_costs_one_lstat(tmp_path: Path, backend: FileBackend, fs: Counting) -> None:
    while backend.get(A) is not backend.get(A):
        pass  # the tick of the clock in which it was written has passed
    fs.counts.clear()
    lstats = []
    original = fs.lstat
    backend._reads._lstat = lambda path: lstats.append(path) or original(path)
    assert backend.get(A) is backend.get(A)
    assert len(lstats) == 2
    assert set(fs.counts) <= {"lstat"}


def test_threads_that_commit_together_share_a_sync(tmp_path: Path) -> None:
    """While one thread syncs, the others queue up; the next sync is for all of them."""
    syncing, queued = threading.Event(), threading.Event()

    class Slow(Counting):
        def _counted(self, name: str, call: Any) -> Any:
            counted = super()._counted(name, call)
            if name != "fdatasync":
                return counted

            def sync(fd: int) -> None:
                if not syncing.is_set():
                    syncing.set()
                    assert queued.wait(60)
                counted(fd)

            return sync

    fs = Slow()
    syncing.set()
    backend = FileBackend(tmp_path / "store", fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    fs.counts.clear()
    syncing.clear()
    threads = [
        threading.Thread(target=backend.apply, args=([Edit(Key("volumes", f"t{n}"), ONE)],))
        for n in range(6)
    ]
    threads[0].start()
    assert syncing.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(backend._works.writer._queue) < 5:
        threading.Event().wait(0.001)
    queued.set()
    for thread in threads:
        thread.join()
    assert fs.counts["fdatasync"] == 2
    assert sorted(backend.ids("volumes")) == ["a", *(f"t{n}" for n in range(6))]
    assert [commit.revision for commit in backend.changes(0)] == list(range(1, 8))
    backend.close()


def test_an_edit_from_outside_that_was_not_seen_is_not_overwritten(
    tmp_path: Path, backend: FileBackend
) -> None:
    path = tmp_path / "store" / "volumes" / "a.json"
    path.write_text('{"n": "by hand"}')
    with pytest.raises(Conflict, match="edited from outside") as caught:
        backend.apply([Edit(A, TWO)])
    assert caught.value.path == str(path)
    assert path.read_text() == '{"n": "by hand"}'
    assert backend.apply([Edit(A, TWO)]) is not None, "seen now"


def test_a_file_removed_from_outside_is_not_brought_back_unseen(
    tmp_path: Path, backend: FileBackend
) -> None:
    (tmp_path / "store" / "volumes" / "a.json").unlink()
    with pytest.raises(Conflict, match="removed from outside"):
        backend.apply([Edit(A, TWO)])
    assert backend.get(A) is None


def test_a_computed_edit_starts_from_the_edit_from_outside(
    tmp_path: Path, backend: FileBackend
) -> None:
    path = tmp_path / "store" / "volumes" / "a.json"
    path.write_text('{"n": 41}')
    commit = backend.apply([Edit(A, lambda data: (data or b"").replace(b"41", b"42"))])
    assert commit is not None
    assert commit.ops[0].before == canonical({"n": 41})
    entry = backend.get(A)
    assert entry is not None
    assert entry.etag == etag_of(canonical({"n": 42}))


class Meddling(FileSystem):
    """Lets somebody edit the tree just before a document gets its name."""

    meddle: Any = None
    later: Any = None  # the second time

    def _before(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is None:
            meddle, self.later = self.later, None
        if meddle is not None:
            meddle()

    def exchange(self, one: str, other: str) -> None:
        self._before()
        super().exchange(one, other)

    def rename_new(self, source: str, target: str) -> None:
        self._before()
        super().rename_new(source, target)

    def rename(self, source: str, target: str) -> None:  # type: ignore[override]
        self._before()
        FileSystem.rename(source, target)


@pytest.fixture
def meddling(tmp_path: Path) -> Iterator[tuple[FileBackend, Meddling, Path]]:
    fs = Meddling()
    backend = FileBackend(tmp_path / "store", fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    yield backend, fs, tmp_path / "store" / "volumes"
    backend.close()


def test_an_edit_between_the_check_and_the_swap_gets_its_name_back(
    meddling: tuple[FileBackend, Meddling, Path],
) -> None:
    backend, fs, folder = meddling
    fs.meddle = lambda: (folder / "a.json").write_text('{"n": "by hand"}')
    commit = backend.apply([Edit(A, TWO)])
    assert commit is not None, "the commit stands, and the edit is newer"
    assert (folder / "a.json").read_text() == '{"n": "by hand"}'
    entry = backend.get(A)
    assert entry is not None
    assert entry.data == canonical({"n": "by hand"})
    assert list(folder.parent.glob(".filestore/tmp/*")) == []


def test_an_edit_that_keeps_size_and_time_is_told_by_its_content(
    meddling: tuple[FileBackend, Meddling, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, fs, folder = meddling
    path = folder / "a.json"
    # The clock stands still: all is read in the tick in which it was written.
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: 0)

    def same_tick() -> None:
        status = path.stat()
        path.write_bytes(path.read_bytes().replace(b"0", b"7"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    fs.meddle = same_tick
    backend.apply([Edit(A, TWO)])
    assert path.read_bytes() == b'{\n  "n": 7\n}\n'


def test_a_file_made_between_the_check_and_the_rename_is_kept(
    meddling: tuple[FileBackend, Meddling, Path],
) -> None:
    backend, fs, folder = meddling
    fs.meddle = lambda: (folder / "b.json").write_text('{"n": "by hand"}')
    assert backend.apply([Edit(Key("volumes", "b"), ONE)]) is not None
    assert (folder / "b.json").read_text() == '{"n": "by hand"}'


def test_an_edit_between_the_check_and_a_delete_is_kept(
    meddling: tuple[FileBackend, Meddling, Path],
) -> None:
    backend, fs, folder = meddling
    fs.meddle = lambda: (folder / "a.json").write_text('{"n": "by hand"}')
    assert backend.apply([Edit(A, None)]) is not None
    assert (folder / "a.json").read_text() == '{"n": "by hand"}'


@pytest.mark.parametrize("data", [TWO, None], ids=["update", "delete"])
@pytest.mark.parametrize("edit", ['{"n": "by hand"}', "half a docu"])
def test_of_two_edits_in_a_row_none_is_lost(
    meddling: tuple[FileBackend, Meddling, Path], data: bytes | None, edit: str
) -> None:
    backend, fs, folder = meddling

    def save(text: str) -> None:
        (folder / ".new").write_text(text)
        (folder / ".new").replace(folder / "a.json")

    # The second comes when the first has been seen and is given its name back.
    def first() -> None:
        save(edit)
        fs.later = lambda: save('{"n": "newer"}')

    fs.meddle = first
    assert backend.apply([Edit(A, data)]) is not None
    kept = [path.read_text() for path in folder.parent.glob(".filestore/lost/*")]
    assert sorted([*kept, (folder / "a.json").read_text()]) == sorted([edit, '{"n": "newer"}'])
    assert list(folder.parent.glob(".filestore/tmp/*")) == []


def test_a_file_removed_between_the_check_and_the_swap_is_published(
    meddling: tuple[FileBackend, Meddling, Path],
) -> None:
    backend, fs, folder = meddling
    fs.meddle = (folder / "a.json").unlink
    backend.apply([Edit(A, TWO)])
    assert (folder / "a.json").read_bytes() == b'{\n  "n": 1\n}\n'


def test_without_exchange_a_rename_does(tmp_path: Path) -> None:
    class Old(FileSystem):
        def exchange(self, one: str, other: str) -> None:
            raise OSError(errno.EINVAL, "no such flag", one)

    backend = FileBackend(tmp_path / "store", fs=Old(), background=False)
    for data in (ONE, TWO, THREE):
        backend.apply([Edit(A, data)])
    assert (tmp_path / "store" / "volumes" / "a.json").read_bytes() == b'{\n  "n": 2\n}\n'
    assert backend.check() == []
    backend.close()
