"""Disks that are full, file systems that take no writes: at once, in mid-commit, in recovery.

Simulated everywhere; on real small mounts where the machine lets us make some.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import FilestoreError, ReadOnly, RecoveryNeeded, StorageError
from tests.processes.actors import WRITING, HookedFileSystem, assert_sound, crash, quiet, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROWING = frozenset({"write", "pwrite", "fallocate", "mkdir"})


class Refusing:
    """Refuses calls with an error once told to."""

    def __init__(self, number: int, names: frozenset[str]) -> None:
        self.number = number
        self.names = names
        self.after: int | None = None
        self.fs = HookedFileSystem(self.look)

    def look(self, name: str, args: tuple[Any, ...]) -> None:
        if self.after is None:
            return
        creates = name == "open" and args[1] & (os.O_CREAT | os.O_TRUNC) and not _is_there(args[0])
        writes = (
            name == "open" and self.number == errno.EROFS and args[1] & (os.O_RDWR | os.O_WRONLY)
        )
        if name in self.names or creates or writes:
            if self.after == 0:
                where = args[0] if isinstance(args[0], str) else None
                raise OSError(self.number, os.strerror(self.number), where)
            self.after -= 1


def _is_there(path: str) -> bool:
    return os.path.lexists(path)


BEFORE = {("c", "a"): {"value": 1}, ("c", "b"): {"value": 1}}
AFTER = {("c", "a"): {"value": 2}, ("c", "b"): {"value": 2}, ("d", "n"): {"value": 2}}


def change(store: filestore.Store) -> None:
    with store.transaction() as tx:
        for (collection, id), document in AFTER.items():
            tx[collection][id] = document


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (errno.EROFS, WRITING),
        (errno.ENOSPC, GROWING),
        (errno.EIO, WRITING - {"fsync", "fdatasync"}),
    ],
    ids=["read-only", "full", "broken"],
)
def test_a_file_system_that_gives_up_in_mid_commit_leaves_all_of_it_or_nothing(
    tmp_path: Path, number: int, names: frozenset[str]
) -> None:
    after = 0
    while True:
        path = tmp_path / f"state-{after}"
        refusing = Refusing(number, names)
        store = quiet(path, refusing.fs)
        with store.transaction() as tx:
            for (collection, id), document in BEFORE.items():
                tx[collection][id] = document
        refusing.after = after
        try:
            change(store)
            returned = True
        except FilestoreError as error:
            returned = False
            assert str(path) in str(error)  # noqa: PT017  # it may be refused or not
            assert isinstance(error, ReadOnly | StorageError | RecoveryNeeded)  # noqa: PT017  # it may be refused or not
            # Only of a failed sync more is told: the handle is to be opened anew.
            assert isinstance(error, RecoveryNeeded) == ("failed to sync" in str(error))  # noqa: PT017  # it may be refused or not
        told = AFTER if returned else BEFORE
        assert state_of(store) == told, after  # reading goes on
        finished = bool(refusing.after)
        refusing.after = 0
        assert state_of(store) == told, after
        store.close()  # raises nothing, though it can do little
        with filestore.open(path, readonly=True) as reader:
            assert state_of(reader) == told, after
        assert assert_sound(path) == told, after
        if finished:
            break
        after += 1
    assert after > 5


@pytest.mark.parametrize(
    ("number", "names"),
    [(errno.EROFS, WRITING), (errno.ENOSPC, GROWING)],
    ids=["read-only", "full"],
)
@pytest.mark.parametrize("machine", [False, True], ids=["process died", "machine stopped"])
def test_a_recovery_that_is_refused_at_any_step_shows_the_documents_and_is_taken_up_again(
    tmp_path: Path, number: int, names: frozenset[str], machine: bool
) -> None:
    after = 0
    while True:
        path = tmp_path / f"state-{after}"
        with filestore.open(path) as store, store.transaction() as tx:
            for (collection, id), document in BEFORE.items():
                tx[collection][id] = document
        crash(path, *((name, id, document) for (name, id), document in AFTER.items()))
        if machine:
            (path / ".filestore/state").unlink()
        refusing = Refusing(number, names)
        refusing.after = after
        try:
            store = quiet(path, refusing.fs)
        except FilestoreError as error:
            # No room for the runtime files: who only reads needs none.
            assert str(path) in str(error)  # noqa: PT017  # it may be refused or not
            store = quiet(path, refusing.fs, readonly=True)
        assert state_of(store) == AFTER, after
        if refusing.after == 0:
            with pytest.raises(FilestoreError):
                store["c"]["new"] = {}
            assert state_of(store) == AFTER, after
        finished = bool(refusing.after)
        store.close()
        assert assert_sound(path) == AFTER, after
        if finished:
            break
        after += 1
    assert after > 3


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte in memory."""
    at = tmp_path / "mount"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(at)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount anything: simulated above")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


def fill_up(at: Path) -> None:
    with (at / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  # it may be refused or not


def test_a_disk_that_is_really_full_refuses_puts_and_takes_deletes(mount: Path) -> None:
    path = mount / "state"
    documents = {str(n): {"value": n, "pad": "x" * 3000} for n in range(20)}
    with filestore.open(path) as store:
        store["c"].update(documents)
        fill_up(mount)
        revision = store.revision
        for attempt in (
            lambda: store["c"].put("new", {"pad": "x" * 5000}),
            lambda: store["c"].put("1", {"pad": "y" * 5000}),
            lambda: store["new"].put("x", {"pad": "x" * 5000}),
            lambda: store["c"].patch("2", {"value": "x" * 5000}),
        ):
            with pytest.raises(StorageError, match="disk is full") as caught:
                attempt()
            assert caught.value.errno == errno.ENOSPC
            assert str(path) in str(caught.value)
        assert store.revision == revision
        assert dict(store["c"]) == documents
        for n in range(10):
            del store["c"][str(n)]
            del documents[str(n)]
        assert dict(store["c"]) == documents
        store.checkpoint()
        store["c"]["small"] = {"value": 1}  # in what the deletes gave back
        documents["small"] = {"value": 1}
    with filestore.open(path) as store:
        assert dict(store["c"]) == documents
        assert store.check() == []
    (mount / "filler").unlink()
    with filestore.open(path) as store:
        store["c"]["new"] = {}
    assert_sound(path)


def test_a_store_opens_on_a_disk_that_is_really_full(mount: Path) -> None:
    path = mount / "state"
    with filestore.open(path) as store:
        store["c"]["x"] = {"value": 1}
    crash(path, ("c", "x", {"value": 2}), ("c", "y", {"value": 2}))
    fill_up(mount)
    for _ in range(2):
        for readonly in (True, False):
            with filestore.open(path, readonly=readonly) as store:
                assert dict(store["c"]) == {"x": {"value": 2}, "y": {"value": 2}}
    # Without runtime files, and no room to make them: one error, or it works; never a signal.
    shutil.rmtree(path / ".filestore")
    fill_up(mount)
    try:
        filestore.open(path).close()
    except StorageError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017  # it may be refused or not
    with filestore.open(path, readonly=True) as store:
        # With the journal went what the full disk had kept out of the file.
        assert store["c"]["x"] in ({"value": 1}, {"value": 2})


@pytest.mark.parametrize("crashed", [False, True])
def test_a_really_readonly_mount_is_read_with_what_its_journal_still_holds(
    mount: Path, crashed: bool
) -> None:
    path = mount / "state"
    with filestore.open(path) as store:
        store["c"]["x"] = {"value": 1}
        store["c"]["z"] = {"value": 1}
    if crashed:
        crash(path, ("c", "x", {"value": 2}), ("c", "y", {"value": 2}), ("c", "z", None))
        (path / ".filestore/state").unlink()
    expected = (
        {"x": {"value": 2}, "y": {"value": 2}}
        if crashed
        else {"x": {"value": 1}, "z": {"value": 1}}
    )
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    for readonly in (False, True):
        with filestore.open(path, readonly=readonly) as store:
            assert store.readonly
            assert dict(store["c"]) == expected
            assert sorted(store["c"]) == sorted(expected)
            for attempt in (
                lambda: store["c"].put("x", {}),
                lambda: store["c"].__delitem__("x"),
                lambda: store.transaction().__enter__(),
            ):
                with pytest.raises(ReadOnly, match=str(path)):
                    attempt()
            if not crashed:
                assert store.check() == []
    subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
    assert {id: document for (_, id), document in assert_sound(path).items()} == expected


def test_a_mount_that_really_turns_readonly_under_an_open_handle(mount: Path) -> None:
    path = mount / "state"
    with filestore.open(path) as store:
        store["c"]["x"] = {"value": 1}
        store.checkpoint()
    store = filestore.open(path)
    # With files open for writing a plain remount is refused; a bind of it is not.
    subprocess.run(["mount", "--bind", str(mount), str(mount)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(mount)], check=True)
    try:
        for attempt in (
            lambda: store["c"].put("x", {"value": 2}),
            lambda: store["d"].put("x", {"value": 2}),
            lambda: store["c"].__delitem__("x"),
        ):
            with pytest.raises(ReadOnly, match=str(path)):
                attempt()
        assert store["c"]["x"] == {"value": 1}
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
    assert {id: document for (_, id), document in assert_sound(path).items()} == {"x": {"value": 1}}
