"""The driver that keeps backups in a folder."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import (
    BackupMetadataUnsupportedVersion,
    Conflict,
    InvalidBackup,
    InvalidKey,
    NotFound,
    StorageError,
)
from filestore.backup import DirectoryBackupDriver, Row, StoreDatabase, bundle
from tests.memory import grown_by
from tests.processes.actors import Actor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

K = 1024
CONTENT = bytes(3 * K) + b"begin" * K + bytes(9 * K) + b"end" * 100 + bytes(500)


@pytest.fixture
def memory() -> Iterator[StoreDatabase]:
    with filestore.open("memory:") as store:
        yield StoreDatabase(store)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def driver(memory: StoreDatabase, path: Path) -> DirectoryBackupDriver:
    memory.volume_create(
        None, {"id": "v", "display_name": "db", "metadata": {"team": "billing"}, "size": 1}
    )
    return DirectoryBackupDriver(None, memory, path, chunk_size=K)


@pytest.fixture
def kept(driver: DirectoryBackupDriver) -> Row:
    """The record of a backup with everything, which is named ``b``."""
    backup = driver.db.backup_create(None, {"id": "b", "volume_id": "v"})  # type: ignore[attr-defined]  # a store's
    driver.backup(backup, io.BytesIO(CONTENT), backup_metadata=True)
    row: Row = backup
    return row


def restored(
    driver: DirectoryBackupDriver, backup: Any, before: bytes = b"", volume_id: str = "v"
) -> bytes:
    with io.BytesIO(before) as file:
        driver.restore(backup, volume_id, file)
        return file.getvalue()


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


# --- keeping and restoring


def test_a_sparse_volume_comes_back_in_another_with_its_metadata_and_its_holes(
    db: StoreDatabase, path: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "source.img", tmp_path / "target.img"
    with open(source, "wb") as file:
        file.truncate(1 << 32)
        for offset in (0, 1 << 20, (1 << 31) + 5, (1 << 32) - 3):
            file.seek(offset)
            file.write(b"abc")
    db.volume_create(
        None,
        {"id": "v", "size": 4, "display_name": "db", "metadata": {"team": "billing"}},
    )
    db.volume_create(None, {"id": "w", "size": 4, "display_name": "restore_backup_x"})
    driver = DirectoryBackupDriver(None, db, path)

    backup = db.backup_create(None, {"volume_id": "v", "status": "creating"})
    with open(source, "rb") as volume:
        driver.backup(backup, volume, backup_metadata=True)
    driver.verify(backup.id)
    with open(target, "w+b") as volume:
        driver.restore(backup, "w", volume, volume_is_new=True)

    assert os.stat(target).st_size == 1 << 32
    assert os.stat(target).st_blocks <= os.stat(source).st_blocks
    with open(source, "rb") as one, open(target, "rb") as other:
        for offset in (0, 1 << 20, (1 << 31), (1 << 32) - 4096):
            one.seek(offset)
            other.seek(offset)
            assert one.read(4096) == other.read(4096)
    row = db.volume_get(None, "w")
    assert row["display_name"] == "db"
    assert db.volume_metadata_get(None, "w") == {"team": "billing"}
    record = db.backup_get(None, backup.id)
    assert (record["status"], record["object_count"]) == ("available", 4)
    assert record["container"] == backup.id
    assert record["service"] == "filestore.backup.directory.DirectoryBackupDriver"
    assert sum(len(content) for content in files_in(path).values()) < 1 << 20


@pytest.mark.parametrize("before", [b"", b"x" * 100, b"x" * 30 * K])
@pytest.mark.parametrize("content", [CONTENT, b"", bytes(5 * K), b"1"], ids=len)
def test_content_comes_back_over_whatever_there_was(
    driver: DirectoryBackupDriver, content: bytes, before: bytes
) -> None:
    backup = {"id": "b", "volume_id": "v"}
    driver.backup(backup, io.BytesIO(content))
    assert restored(driver, backup, before) == content + before[len(content) :]


def test_without_metadata_the_volume_keeps_its_own(
    driver: DirectoryBackupDriver, memory: StoreDatabase
) -> None:
    backup = {"id": "b", "volume_id": "v"}
    driver.backup(backup, io.BytesIO(CONTENT))
    memory.volume_metadata_update(None, "v", {"new": "1"}, True)
    restored(driver, backup)
    assert memory.volume_metadata_get(None, "v") == {"new": "1"}


def test_files_and_folders_are_their_owners_alone(kept: Row, path: Path) -> None:
    for each in (path, *path.rglob("*")):
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)
    assert sorted(files_in(path / "b")) == ["backup.json", "chunks", "data", "metadata.json"]


def test_only_a_piece_of_the_volume_is_in_memory_at_a_time(
    driver: DirectoryBackupDriver, tmp_path: Path
) -> None:
    size = 64 << 20
    with open(tmp_path / "volume", "w+b") as volume:
        volume.writelines(os.urandom(1 << 20) for _ in range(64))
        driver.chunk_size = 1 << 20
        backup = {"id": "b", "volume_id": "v"}

        def go() -> None:
            driver.backup(backup, volume)
            driver.restore(backup, "v", volume)
            driver.verify(backup)

        assert grown_by(go) < 8 << 20 < size


@pytest.mark.parametrize("id", ["..", ".hidden", "a/b", "/etc", "CON", "é", "nul\0", "x.partial"])
def test_any_id_names_a_folder_of_its_own(
    driver: DirectoryBackupDriver, path: Path, id: str
) -> None:
    backup = {"id": id, "volume_id": "v"}
    driver.backup(backup, io.BytesIO(CONTENT))
    driver.backup({"id": "b", "volume_id": "v"}, io.BytesIO(b"other"))
    (folder,) = [each for each in path.iterdir() if each.name != "b"]
    assert folder.parent == path
    assert not folder.name.startswith(".")
    driver.verify(id)
    assert restored(driver, backup) == CONTENT
    driver.delete(backup)
    assert [each.name for each in path.iterdir()] == ["b"]


@pytest.mark.parametrize("id", ["", "x" * 250, "\ud800", None, 5], ids=ascii)
def test_an_id_that_can_name_no_folder_is_refused(
    driver: DirectoryBackupDriver, path: Path, id: Any
) -> None:
    backup = {"id": id, "volume_id": "v"}
    for call in (
        lambda: driver.backup(backup, io.BytesIO(b"")),
        lambda: restored(driver, backup),
        lambda: driver.delete(backup),
        lambda: driver.verify(backup),
    ):
        with pytest.raises(InvalidKey):
            call()
    assert not path.exists()


@pytest.mark.parametrize("chunk_size", [0, -1, bundle.MAX_CHUNK + 1])
def test_a_chunk_size_without_sense_is_refused(memory: StoreDatabase, chunk_size: int) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        DirectoryBackupDriver(None, memory, "backups", chunk_size=chunk_size)


def test_another_store_takes_the_backups_over_by_their_exported_records(
    driver: DirectoryBackupDriver, kept: Row, path: Path
) -> None:
    exported = driver.export_record(kept)
    with filestore.open("memory:") as store:
        there = StoreDatabase(store)
        other = DirectoryBackupDriver(None, there, path)
        backup = there.backup_create(None, other.import_record(exported))
        other.verify(backup)
        there.volume_create(None, {"id": "w"})
        assert restored(other, backup, volume_id="w") == CONTENT
        assert there.volume_metadata_get(None, "w") == {"team": "billing"}


# --- what is there already, and what is not


def test_a_backup_is_not_replaced(driver: DirectoryBackupDriver, kept: Row, path: Path) -> None:
    before = files_in(path)
    with pytest.raises(Conflict, match="delete it first"):
        driver.backup(kept, io.BytesIO(b"other"))
    assert files_in(path) == before


def test_of_two_that_make_the_same_backup_one_is_refused(
    driver: DirectoryBackupDriver, path: Path
) -> None:
    class Gated(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            gate.wait(30)  # both have looked whether it is there
            return super().read(size)

    gate = threading.Barrier(2)
    ends: list[object] = []

    def run() -> None:
        try:
            driver.backup({"id": "b", "volume_id": "v"}, Gated(b"x" * K))
            ends.append("kept")
        except Conflict:
            ends.append("refused")

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, ends)) == ["kept", "refused"]
    assert [each.name for each in path.iterdir()] == ["b"]
    driver.verify("b")


def test_what_is_not_there_is_not_found(driver: DirectoryBackupDriver) -> None:
    for call in (lambda: driver.verify("b"), lambda: restored(driver, {"id": "b"})):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(NotFound):
        driver.backup({"id": "b", "volume_id": "nope"}, io.BytesIO(b""), backup_metadata=True)
    assert restored_nothing(driver)


def restored_nothing(driver: DirectoryBackupDriver) -> bool:
    return not os.path.exists(driver.path) or not os.listdir(driver.path)


def test_a_delete_leaves_nothing_and_may_be_repeated(
    driver: DirectoryBackupDriver, kept: Row
) -> None:
    driver.delete(kept)
    driver.delete_backup(kept)
    assert restored_nothing(driver)
    driver.backup(kept, io.BytesIO(b"again"))
    assert restored(driver, kept) == b"again"


# --- damage


def damaged(folder: Path, name: str) -> Iterator[bytes]:
    """Contents of a file with one byte flipped, one missing, one more, and none at all."""
    whole = (folder / name).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        yield whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
    yield whole[:-1]
    yield whole + b"\n"
    yield whole + whole
    yield b""


@pytest.mark.parametrize("name", ["backup.json", "chunks", "data", "metadata.json"])
def test_damage_anywhere_is_found_and_nothing_is_restored_of_it(
    driver: DirectoryBackupDriver, memory: StoreDatabase, kept: Row, path: Path, name: str
) -> None:
    memory.volume_metadata_update(None, "v", {"new": "1"}, True)
    found = 0
    for content in damaged(path / "b", name):
        (path / "b" / name).write_bytes(content)
        with pytest.raises(InvalidBackup) as caught:
            driver.verify("b")
        assert caught.value.key == ("backups", "b")
        assert "cannot be restored" in str(caught.value)
        with io.BytesIO(b"untouched") as file:
            with pytest.raises(InvalidBackup):
                driver.restore(kept, "v", file)
            assert file.getvalue() == b"untouched"
        found += 1
    assert found > 20
    assert memory.volume_metadata_get(None, "v") == {"new": "1"}


@pytest.mark.parametrize("name", ["backup.json", "chunks", "data", "metadata.json"])
def test_a_missing_file_is_damage(
    driver: DirectoryBackupDriver, kept: Row, path: Path, name: str
) -> None:
    (path / "b" / name).unlink()
    with pytest.raises(InvalidBackup, match="missing"):
        driver.verify(kept)


def test_metadata_larger_than_any_are_neither_read_nor_written(
    driver: DirectoryBackupDriver, kept: Row, path: Path, tmp_path: Path
) -> None:
    os.truncate(path / "b" / "metadata.json", bundle.MAX_METADATA + 1)
    with pytest.raises(InvalidBackup, match="more than 67,108,864 bytes"):
        driver.verify(kept)
    (tmp_path / "new").mkdir()
    with pytest.raises(InvalidBackup, match="more than 67,108,864 bytes"):
        bundle.write(
            str(tmp_path / "new"),
            [],
            id="c",
            volume_id="v",
            created_at="2026-03-01T08:15:00Z",
            size=0,
            chunk_size=K,
            metadata="x" * (bundle.MAX_METADATA + 1),
        )
    assert not list((tmp_path / "new").iterdir())


def test_a_backup_under_another_name_is_told(
    driver: DirectoryBackupDriver, kept: Row, path: Path
) -> None:
    (path / "b").rename(path / "c")
    with pytest.raises(InvalidBackup, match="it is the backup b"):
        driver.verify("c")


def test_a_newer_format_is_told(driver: DirectoryBackupDriver, kept: Row, path: Path) -> None:
    header = json.loads((path / "b" / "backup.json").read_bytes())
    (path / "b" / "backup.json").write_text(json.dumps({**header, "format": 2}))
    with pytest.raises(InvalidBackup, match="newer version"):
        driver.verify(kept)


def test_a_file_in_the_place_of_a_backup_is_damage(
    driver: DirectoryBackupDriver, path: Path
) -> None:
    path.mkdir()
    (path / "b").write_bytes(b"")
    with pytest.raises(InvalidBackup):
        driver.verify("b")
    with pytest.raises(Conflict):
        driver.backup({"id": "b", "volume_id": "v"}, io.BytesIO(b""))


def test_a_pipe_is_not_waited_for(driver: DirectoryBackupDriver, kept: Row, path: Path) -> None:
    for name in ("backup.json", "chunks", "data"):
        (path / "b" / name).rename(path / "aside")
        os.mkfifo(path / "b" / name)
        with pytest.raises(InvalidBackup, match=f"{name} is no file"):
            driver.verify(kept)
        (path / "aside").rename(path / "b" / name)
    driver.verify(kept)


def test_deleting_a_link_in_a_backup_s_place_leaves_where_it_leads_to(
    driver: DirectoryBackupDriver, kept: Row, path: Path, tmp_path: Path
) -> None:
    (path / "b").rename(tmp_path / "elsewhere")
    (path / "b").symlink_to(tmp_path / "elsewhere")
    driver.delete(kept)
    assert list(path.iterdir()) == []
    assert (tmp_path / "elsewhere" / "data").exists()


def test_a_link_is_not_followed(
    driver: DirectoryBackupDriver, kept: Row, path: Path, tmp_path: Path
) -> None:
    data = path / "b" / "data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        driver.verify(kept)


def test_metadata_that_cannot_be_restored_are_found_before_the_volume_is_written(
    driver: DirectoryBackupDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = {"id": "b", "volume_id": "v"}
    monkeypatch.setattr(driver, "get_metadata", lambda volume_id: '{"version": 3}')
    driver.backup(backup, io.BytesIO(CONTENT), backup_metadata=True)
    with io.BytesIO(b"untouched") as file:
        with pytest.raises(BackupMetadataUnsupportedVersion):
            driver.restore(backup, "v", file)
        assert file.getvalue() == b"untouched"


# --- the system refuses, and processes die

CALLS = ("open", "mkdir", "fsync", "rename", "rmdir", "unlink", "listdir")


class Interference:
    """Stands before the calls of the system that change something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[int, str], object]) -> None:
        self.calls: list[str] = []
        for name in CALLS:
            monkeypatch.setattr(os, name, self.before(name, getattr(os, name), act))

    def before(
        self, name: str, call: Callable[..., Any], act: Callable[[int, str], object]
    ) -> Callable[..., Any]:
        def interfered(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            act(len(self.calls), name)
            return call(*args, **options)

        return interfered


def keep(driver: DirectoryBackupDriver) -> None:
    driver.backup({"id": "b", "volume_id": "v"}, io.BytesIO(CONTENT), backup_metadata=True)


def forget(driver: DirectoryBackupDriver) -> None:
    driver.delete({"id": "b", "volume_id": "v"})


@pytest.mark.parametrize("work", [keep, forget])
def test_a_backup_is_whole_or_not_there_wherever_its_process_dies(
    driver: DirectoryBackupDriver, path: Path, work: Callable[[DirectoryBackupDriver], None]
) -> None:
    outcomes = set()
    for nth in range(1, 1000):
        if work is forget:
            if not (path / "b").exists():
                keep(driver)
        else:
            forget(driver)
        actor = Actor(die_at, driver, work, nth)
        actor.process.join()
        if actor.process.exitcode == 0:
            break
        assert actor.process.exitcode == 9
        there = (path / "b").exists()
        outcomes.add(there)
        if there:
            driver.verify("b")
            assert restored(driver, {"id": "b"}) == CONTENT
        else:
            with pytest.raises(NotFound):
                driver.verify("b")
    assert nth > 8
    assert outcomes == {True, False}
    driver.check_for_setup_error()  # clears up, as the next backup does
    assert [each.name for each in path.iterdir() if each.name != "b"] == []


def die_at(
    pipe: Connection,
    driver: DirectoryBackupDriver,
    work: Callable[[DirectoryBackupDriver], None],
    nth: int,
) -> None:
    def die(n: int, name: str) -> None:
        if n == nth:
            os._exit(9)

    Interference(pytest.MonkeyPatch(), die)
    work(driver)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_backup_that_the_system_refuses_leaves_nothing(
    driver: DirectoryBackupDriver, path: Path, code: int
) -> None:
    refused = 0
    for nth in range(1, 1000):
        with pytest.MonkeyPatch.context() as patch:

            def refuse(n: int, name: str, nth: int = nth) -> None:
                if n == nth:
                    raise OSError(code, os.strerror(code))

            calls = Interference(patch, refuse).calls
            try:
                keep(driver)
            except StorageError as error:
                refused += error.errno == code and os.strerror(code) in str(error)
                assert not (path / "b").exists()
        if (path / "b").exists():
            driver.verify("b")
            forget(driver)
        if len(calls) < nth:
            break
    assert refused > 12
    driver.check_for_setup_error()
    assert restored_nothing(driver)


def test_everything_is_on_the_disk_before_it_has_its_name(
    driver: DirectoryBackupDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    names: dict[int, str] = {}
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename

    def opened(path: Any, *args: Any, **options: Any) -> int:
        fd = real_open(path, *args, **options)
        names[fd] = os.path.basename(path)
        return fd

    def synced(fd: int) -> None:
        events.append(names.get(fd, "?"))
        real_fsync(fd)

    def renamed(one: str, other: str) -> None:
        events.append("rename")
        real_rename(one, other)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    keep(driver)
    at = events.index("rename")
    assert events[:at][:4] == ["data", "chunks", "metadata.json", "backup.json"]
    assert events[at - 1].endswith(".partial")
    assert events[at + 1 :] == ["backups"]


def hold(pipe: Connection, driver: DirectoryBackupDriver) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            pipe.send("reading")
            pipe.recv()
            return super().read(size)

    driver.backup({"id": "slow", "volume_id": "v"}, Slow(b"x" * K))


def test_a_backup_that_is_being_written_is_not_cleared_away(
    driver: DirectoryBackupDriver, path: Path
) -> None:
    actor = Actor(hold, driver)
    try:
        assert actor.hear() == "reading"
        keep(driver)
        assert len(list(path.glob(".*.partial"))) == 1
        actor.say("go on")
        actor.end()
    finally:
        actor.release()
    driver.verify("slow")
    driver.verify("b")


def test_what_a_killed_backup_left_is_cleared_away_by_the_next(
    driver: DirectoryBackupDriver, path: Path
) -> None:
    actor = Actor(hold, driver)
    assert actor.hear() == "reading"
    actor.kill()
    actor.release()
    assert len(list(path.glob(".*.partial"))) == 1
    keep(driver)
    assert [each.name for each in path.iterdir()] == ["b"]


def test_a_folder_that_cannot_be_written_is_told(memory: StoreDatabase, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    driver = DirectoryBackupDriver(None, memory, tmp_path / "file" / "backups")
    with pytest.raises(StorageError):
        driver.check_for_setup_error()
