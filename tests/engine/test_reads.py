"""Reads beside commits of other threads, and reads without a shared state."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from filestore.backend import Entry
from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem, Item
from filestore.engine.reads import QUIET_SECONDS, Reads
from filestore.errors import Corrupt, StorageError
from filestore.model import Edit, Key
from filestore.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filestore.backend import Unreadable
    from filestore.collection import Collection

A = Key("volumes", "a")
ONE, TWO, THREE = (canonical({"n": n, "text": "x" * 50}) for n in range(3))


class Between(FileSystem):
    """Lets something happen between two calls of a read."""

    at_lstat: Any = None
    no_scan = False
    refused = (0, "")  # what opening which file says

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # type: ignore[override]
        number, ending = self.refused
        if number and path.endswith(ending):
            raise OSError(number, os.strerror(number), path)
        return os.open(path, flags, mode)

    def lstat(self, path: str) -> os.stat_result:  # type: ignore[override]
        then, self.at_lstat = self.at_lstat, None
        if then is not None:
            then()
        return os.lstat(path)

    def scan(self, path: str) -> list[Item]:
        if self.no_scan:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return super().scan(path)


def test_a_commit_beside_a_read_is_not_taken_for_an_edit_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is read in the tick in which it was written.
    monkeypatch.setattr("filestore.engine.tree.coarse_time_ns", lambda: 1 << 62)
    fs = Between()
    backend = FileBackend(tmp_path / "store", fs=fs, durability="normal", background=False)
    backend.apply([Edit(A, ONE)])
    backend.checkpoint()
    assert backend.get(A) is not None

    def commit() -> None:
        os.utime(tmp_path / "store" / "volumes" / "a.json")
        backend.apply([Edit(A, TWO)])

    fs.at_lstat = commit
    entry = backend.get(A)
    assert entry is not None
    assert entry.data == TWO
    backend.checkpoint()
    assert backend.apply([Edit(A, THREE)]) is not None
    backend.close()


def test_a_store_that_cannot_be_recovered_here_shows_a_torn_document_whole(tmp_path: Path) -> None:
    root = tmp_path / "store"
    backend = FileBackend(root, codec="yaml", background=False)
    backend.apply([Edit(A, ONE)])
    path = root / "volumes" / "a.yaml"
    whole = path.read_bytes()
    # As after a power cut: no shared state, and of the file only the beginning.
    (root / ".filestore" / "state").unlink()
    path.write_bytes(whole[: whole.index(b"text")])
    with_readers_eyes = FileBackend(root, readonly=True)
    entry = with_readers_eyes.get(A)
    assert entry is not None
    assert entry.data == ONE
    with_readers_eyes.close()
    backend.close()


def test_a_journal_that_cannot_be_looked_at_is_told_as_what_it_is(tmp_path: Path) -> None:
    root = tmp_path / "store"
    FileBackend(root).close()
    (root / ".filestore" / "state").unlink()
    fs = Between()
    fs.no_scan = True
    with pytest.raises(StorageError):
        FileBackend(root, readonly=True, fs=fs)
    fs.no_scan = False
    backend = FileBackend(root, fs=fs, background=False)
    fs.no_scan = True
    with pytest.raises(StorageError):
        backend.stats()
    fs.no_scan = False
    backend.close()


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[tuple[Collection, Between]]:
    """A collection of three documents of which nothing was read."""
    root = tmp_path / "store"
    maker = FileBackend(root, background=False)
    maker.apply([Edit(Key("volumes", id), ONE) for id in "abc"])
    maker.close()
    fs = Between()
    backend = FileBackend(root, fs=fs, background=False)
    yield Store(backend)["volumes"], fs
    backend.close()


def test_a_document_without_permission_hides_no_other(listed: tuple[Collection, Between]) -> None:
    volumes, fs = listed
    fs.refused = errno.EACCES, "/b.json"
    reported: list[Unreadable] = []
    assert sorted(one.key.id for one in volumes.find(reported.append)) == ["a", "c"]
    assert [(type(one), one.key) for one in reported] == [(StorageError, ("volumes", "b"))]
    items = iter(volumes.items())
    assert sorted([next(items)[0], next(items)[0]]) == ["a", "c"]
    with pytest.raises(StorageError, match="no permission"):
        next(items)
    fs.refused = 0, ""
    assert len(volumes.find()) == 3


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_trouble_that_is_not_of_one_document_makes_no_listing_shorter(
    listed: tuple[Collection, Between], number: int
) -> None:
    volumes, fs = listed
    fs.refused = number, ".json"
    with pytest.raises(StorageError):
        volumes.find()


@pytest.fixture
def many(tmp_path: Path) -> Iterator[tuple[FileBackend, Between, list[str]]]:
    """So many documents that they are read together, of which nothing was read."""
    root = tmp_path / "store"
    ids = [f"{number:03}" for number in range(150)]
    with closing(FileBackend(root, background=False)) as maker:
        maker.apply([Edit(Key("volumes", id), ONE) for id in ids])
    fs = Between()
    backend = FileBackend(root, fs=fs, background=False)
    yield backend, fs, ids
    backend.close()


def test_of_documents_that_are_read_together_each_is_told_as_it_is(
    tmp_path: Path, many: tuple[FileBackend, Between, list[str]]
) -> None:
    backend, fs, ids = many
    folder = tmp_path / "store" / "volumes"
    (folder / "010.json").write_text('{"n": ')
    (folder / "020.json").unlink()
    (folder / "030.json").unlink()
    (folder / "030.json").symlink_to(folder / "031.json")
    (folder / "040.json").write_text('{"n": 2}')
    fs.refused = errno.EACCES, "/050.json"
    found = backend.get_many("volumes", [*ids, "nothing"])
    assert [id for id, _ in found] == [id for id in ids if id != "020"]
    odd = {id: one for id, one in found if not (isinstance(one, Entry) and one.data == ONE)}
    assert list(odd) == ["010", "030", "040", "050"]
    edited = odd.pop("040")
    assert isinstance(edited, Entry)
    assert edited.data == b'{"n":2}'
    assert [type(one) for one in odd.values()] == [Corrupt, Corrupt, StorageError]
    fs.refused = errno.EMFILE, "/060.json"
    backend._reads._entries.clear()
    with pytest.raises(StorageError):
        backend.get_many("volumes", ids)


@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_beside_a_read_of_many_is_in_it(
    many: tuple[FileBackend, Between, list[str]], tmp_path: Path, keep: bool
) -> None:
    backend, fs, ids = many
    with closing(FileBackend(tmp_path / "store", background=False)) as other:

        def commit() -> None:  # when the first files were read, and not looked at again
            other.apply([Edit(Key("volumes", "000"), TWO), Edit(Key("volumes", "149"), None)])

        fs.at_lstat = commit
        found = dict(backend.get_many("volumes", ids, keep=keep))
        assert list(found) == ids[:-1]
        first = found["000"]
        assert isinstance(first, Entry)
        assert first.data == TWO
        assert backend._reads.cached[0] == (len(found) if keep else 0)


def test_an_edit_told_beside_a_read_of_many_is_looked_for(
    many: tuple[FileBackend, Between, list[str]], tmp_path: Path
) -> None:
    backend, fs, ids = many
    reads = backend._reads
    reads.trust(lambda: False, anew=True)
    path = tmp_path / "store" / "volumes" / "000.json"

    def edit() -> None:
        path.write_text('{"n": 2}')
        reads.suspect(Key("volumes", "000"), touched=True)

    fs.at_lstat = edit
    backend.get_many("volumes", ids)
    entry = backend.get(Key("volumes", "000"))
    assert entry is not None
    assert entry.data == b'{"n":2}'


def _listens_beside(reads: Reads, key: Key, *, done: bool) -> Callable[[], bool]:
    """A look into the kernel just before which the listener took all events out of it.

    ``done``: it has told of them already; else it is about to.
    """

    def unheard() -> bool:
        reads.hearing = True
        if done:
            reads.suspect(key, touched=True)
            reads.hearing = False
        return False

    return unheard


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("read", ["get", "get_many", "ids", "holds"])
def test_a_read_notices_that_the_listener_was_quicker(
    tmp_path: Path, read: str, done: bool
) -> None:
    key = Key("volumes", "a")
    with closing(FileBackend(tmp_path / "state", background=False)) as backend:
        backend.apply([Edit(key, b'{"n":1}')])
        reads = backend._reads
        reads.trust(lambda: False, anew=True)
        file = tmp_path / "state" / "volumes" / "a.json"
        os.utime(file, (1, 1))
        for _ in range(2):
            assert reads.get(key) is not None
            assert reads.ids("volumes") == ["a"]
        time.sleep(QUIET_SECONDS)
        if read == "ids":
            file.unlink()
        else:
            file.write_text('{"n": 2}')
        reads._unheard = _listens_beside(reads, key, done=done)
        if read == "get":
            entry = reads.get(key)
            assert entry is not None
            assert entry.data == b'{"n":2}'
        elif read == "get_many":
            (found,) = reads.get_many("volumes", ["a"])
            assert isinstance(found[1], Entry)
            assert found[1].data == b'{"n":2}'
        elif read == "ids":
            assert reads.ids("volumes") == []
        else:
            assert not reads.holds(Edit(key, b'{"n":1}'))


def test_an_event_that_is_told_while_its_document_is_read_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(FileBackend(tmp_path / "state", background=False)) as backend:
        backend.apply([Edit(A, b'{"n":1}')])
        reads, tree = backend._reads, backend._ground.tree
        reads._entries.clear()
        os.utime(tmp_path / "state/volumes/a.json", (1, 1))
        reads.trust(lambda: False, anew=True)
        asked, go_on = threading.Event(), threading.Event()

        def slow(_: Reads, __: Key) -> bool:
            asked.set()
            assert go_on.wait(30)
            return False

        listener = threading.Thread(target=reads.suspect, args=(A,), kwargs={"touched": False})
        load = tree.load

        def edited_afterwards(key: Key, path: str) -> object:
            loaded = load(key, path)
            if not asked.is_set():
                saved = tmp_path / "saved"
                saved.write_text('{"n": 2}')
                saved.rename(path)
                listener.start()
                assert asked.wait(30)
            return loaded

        monkeypatch.setattr(Reads, "_is_as_written", slow)
        monkeypatch.setattr(tree, "load", edited_afterwards)
        assert read(reads) == b'{"n":1}'  # it was begun before the edit
        go_on.set()
        listener.join()
        assert read(reads) == b'{"n":2}'


def read(reads: Reads) -> bytes:
    entry = reads.get(A)
    assert entry is not None
    return entry.data
