"""What each durability does and does not do, told by the calls that it makes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import Conflict, ReadOnly, StorageError
from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.engine.state import State
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = Key("volumes", "a")
ONE, TWO = canonical({"n": 1}), canonical({"n": 2})


class Order(FileSystem):
    """Writes down syncs and the giving of names, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self.calls.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))}")
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self.calls.append("fdatasync")
        os.fdatasync(fd)

    def rename_new(self, source: str, target: str) -> None:
        self.calls.append(f"name {os.path.basename(target)}")
        super().rename_new(source, target)


@pytest.fixture
def fs() -> Order:
    return Order()


def test_full_syncs_the_record_before_the_document_has_its_name(tmp_path: Path, fs: Order) -> None:
    backend = FileBackend(tmp_path / "store", fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    fs.calls.clear()
    backend.apply([Edit(Key("volumes", "b"), ONE)])
    assert fs.calls == ["fdatasync", "name b.json"]
    backend.close()


def test_the_first_durable_commit_makes_the_names_last(tmp_path: Path, fs: Order) -> None:
    with filestore.open(tmp_path / "store", durability="off") as scratch:
        scratch["volumes"]["b"] = {"n": 1}
    backend = FileBackend(tmp_path / "store", fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    names = ["filestore.yaml", "journal", ".filestore", "store", tmp_path.name]
    assert fs.calls == [*(f"fsync {name}" for name in names), "fdatasync", "name a.json"]
    fs.calls.clear()
    backend.apply([Edit(A, TWO)])
    assert not any(call.startswith("fsync") for call in fs.calls), "once is enough"
    backend.close()


def test_normal_names_a_document_only_behind_the_sync(tmp_path: Path, fs: Order) -> None:
    backend = FileBackend(tmp_path / "store", fs=fs, durability="normal", background=False)
    backend.apply([Edit(A, ONE)])
    fs.calls.clear()
    backend.apply([Edit(Key("volumes", "b"), ONE)])
    assert fs.calls == []
    entry = backend.get(Key("volumes", "b"))
    assert entry is not None, "visible all the same"
    backend._works.checkpointer.publish()
    assert fs.calls == ["fdatasync", "name a.json", "name b.json"]
    backend.close()


def test_a_scratch_store_syncs_what_another_put_off_before_it_names_it(
    tmp_path: Path, fs: Order
) -> None:
    normal = FileBackend(tmp_path / "store", durability="normal", background=False)
    normal.apply([Edit(A, ONE)])
    scratch = FileBackend(tmp_path / "store", fs=fs, durability="off")
    fs.calls.clear()
    normal.apply([Edit(Key("volumes", "b"), ONE)])
    scratch.apply([Edit(Key("volumes", "c"), ONE)])
    assert fs.calls == ["fdatasync", "name b.json", "name c.json"]
    scratch.close()
    normal.close()


def test_a_scratch_store_does_nothing_behind_its_callers_back(tmp_path: Path, fs: Order) -> None:
    backend = FileBackend(tmp_path / "store", fs=fs, durability="off")
    backend.apply([Edit(A, ONE)])
    assert backend._works.background is None
    fs.calls.clear()
    backend.apply([Edit(A, TWO)])
    backend.close()
    assert fs.calls == []


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_file_mode_for_a_group_reaches_all_that_a_reader_opens(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with filestore.open(path, file_mode=0o640) as store:
        store["volumes"]["a"] = {"n": 1}
    for place in (path, path / ".filestore", path / ".filestore/journal", path / "volumes"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o750, place
    for file in (
        path / "filestore.yaml",
        path / "volumes/a.json",
        path / ".filestore/state",
        path / ".filestore/lock",
        path / ".filestore/journal/00000001.log",
    ):
        assert stat.S_IMODE(file.stat().st_mode) == 0o640, file


def test_a_put_does_not_write_over_an_edit_that_it_has_not_seen(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "store") as store:
        volumes = store["volumes"]
        volumes["a"] = {"n": 1}
        path = tmp_path / "store" / "volumes" / "a.json"
        path.write_text('{"n": "by hand"}')
        with pytest.raises(Conflict, match="edited from outside"):
            volumes["a"] = {"n": 2}
        assert volumes["a"] == {"n": "by hand"}
        volumes["a"] = {"n": 2}
        assert path.read_text() == '{\n  "n": 2\n}\n'


def test_a_transaction_does_not_write_over_an_edit_that_it_has_not_seen(tmp_path: Path) -> None:
    with filestore.open(tmp_path / "store") as store:
        store["volumes"]["a"] = {"n": 1}
        path = tmp_path / "store" / "volumes" / "a.json"
        path.write_text('{"n": "by hand"}')
        with pytest.raises(Conflict, match="edited from outside"), store.transaction() as tx:
            tx["volumes"].update({"b": {"n": 2}, "a": {"n": 2}})
        assert path.read_text() == '{"n": "by hand"}'
        assert "b" not in store["volumes"]


def test_a_store_reached_by_a_link_makes_its_names_last(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "store").mkdir()
    (tmp_path / "other").symlink_to("real/store")
    for path in (tmp_path / "link" / "new", tmp_path / "other"):
        with filestore.open(path) as store:
            store["volumes"]["a"] = {"n": 1}
            assert store.check() == []


def test_a_store_on_its_own_says_why_it_does_not_write(tmp_path: Path) -> None:
    filestore.open(tmp_path / "store").close()
    with (
        filestore.open(tmp_path / "store", readonly=True) as store,
        pytest.raises(ReadOnly, match="opened read-only"),
    ):
        store["volumes"]["a"] = {"n": 1}


def test_closing_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    writer = FileBackend(tmp_path / "store", background=False)
    reader = FileBackend(tmp_path / "store", background=False, lock_timeout=3600)
    writer.apply([Edit(A, ONE)])
    assert reader.get(A) is not None
    with writer.exclusive():
        reader.close()  # or it waits for an hour
    writer.close()


def test_a_commit_that_is_taken_back_leaves_no_revision_that_counts_as_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    backend = FileBackend(root, background=False)
    backend.apply([Edit(A, ONE)])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "set_committed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.apply([Edit(Key("volumes", "b"), ONE)])
    order = Order()
    late = FileBackend(root, fs=order, durability="normal", background=False)
    late.apply([Edit(Key("volumes", "b"), ONE)])  # gets the same revision
    order.calls.clear()
    late.checkpoint()
    assert order.calls[:2] == ["fdatasync", "name b.json"], "J1"
    late.close()
    backend.close()


def test_a_handle_that_could_not_open_its_store_anew_tries_again(tmp_path: Path) -> None:
    class Full(FileSystem):
        refused = False

        def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # type: ignore[override]
            if self.refused and path.endswith("/state"):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return os.open(path, flags, mode)

    root, fs = tmp_path / "store", Full()
    backend = FileBackend(root, fs=fs, background=False)
    backend.apply([Edit(A, ONE)])
    backend.checkpoint()
    shutil.rmtree(root / ".filestore")
    fs.refused = True
    with pytest.raises(StorageError, match="too many open files"):
        backend.apply([Edit(A, TWO)])
    fs.refused = False
    assert backend.apply([Edit(A, TWO)]) is not None
    backend.close()
