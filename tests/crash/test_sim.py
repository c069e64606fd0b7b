"""The simulator finds the classical bugs in small writers, and passes the right ones."""

from __future__ import annotations

import errno
import inspect
import os
import zlib
from typing import TYPE_CHECKING

import pytest

from filestore.engine.fs import FileSystem
from tests.crash.disk import Disk, File
from tests.crash.sim import Crash, Fault, FaultyFileSystem, RecordingFileSystem, When

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD = b"old " * 3000
NEW = b"new " * 4000
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "tmp").mkdir()
    (root / "doc").write_bytes(OLD)
    disk = Disk(str(root))
    yield disk
    disk.release()


def put(fs: FileSystem, path: str, data: bytes, *, sync: bool = True) -> None:
    fd = fs.open(path, WRITE, 0o600)
    fs.write(fd, data)
    if sync:
        fs.fsync(fd)
    fs.close(fd)


def sync_folder(fs: FileSystem, path: str) -> None:
    fd = fs.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fs.fsync(fd)
    fs.close(fd)


def replace(fs: FileSystem, root: str) -> None:
    put(fs, root + "/tmp/doc", NEW)
    fs.rename(root + "/tmp/doc", root + "/doc")
    sync_folder(fs, root)


def replace_without_file_sync(fs: FileSystem, root: str) -> None:
    put(fs, root + "/tmp/doc", NEW, sync=False)
    fs.rename(root + "/tmp/doc", root + "/doc")
    sync_folder(fs, root)


def replace_with_late_file_sync(fs: FileSystem, root: str) -> None:
    fd = fs.open(root + "/tmp/doc", WRITE, 0o600)
    fs.write(fd, NEW)
    fs.rename(root + "/tmp/doc", root + "/doc")
    fs.fsync(fd)
    fs.close(fd)
    sync_folder(fs, root)


def replace_without_folder_sync(fs: FileSystem, root: str) -> None:
    put(fs, root + "/tmp/doc", NEW)
    fs.rename(root + "/tmp/doc", root + "/doc")


def overwrite_in_place(fs: FileSystem, root: str) -> None:
    put(fs, root + "/doc", NEW)


def found(disk: Disk, writer: Callable[[FileSystem, str], None]) -> set[str]:
    """What the power cuts during and after a writer lead to, in words."""
    outcomes: set[str] = set()

    def look(when: str) -> None:
        for seed in range(3):
            for image in disk.images(seed=seed, samples=8):
                item = image.items.get("doc")
                content = item.content if item else None
                named: dict[object, str] = {OLD: "old", NEW: "new", None: "missing"}
                outcomes.add(f"{named.get(content, 'torn')} {when}")

    fs = RecordingFileSystem(disk, observer=lambda _: look("during"))
    writer(fs, disk.path)
    look("after")
    assert not fs.opened
    return outcomes


def test_a_synced_replacement_is_old_or_new_and_new_once_it_returned(disk: Disk) -> None:
    assert found(disk, replace) == {"old during", "new during", "new after"}


def test_a_missing_file_sync_is_found(disk: Disk) -> None:
    assert "torn after" in found(disk, replace_without_file_sync)


def test_a_rename_before_the_data_is_found(disk: Disk) -> None:
    outcomes = found(disk, replace_with_late_file_sync)
    assert "torn during" in outcomes
    assert "torn after" not in outcomes


def test_a_missing_folder_sync_is_found(disk: Disk) -> None:
    assert {"old after", "new after"} <= found(disk, replace_without_folder_sync)


def test_overwriting_in_place_is_found(disk: Disk) -> None:
    outcomes = found(disk, overwrite_in_place)
    assert "torn during" in outcomes
    assert outcomes >= {"new after"}
    assert "torn after" not in outcomes


def test_a_new_folder_is_lost_with_all_in_it_until_its_own_name_is_durable(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    fs.mkdir(disk.path + "/sub", 0o700)
    put(fs, disk.path + "/sub/doc", NEW)
    sync_folder(fs, disk.path + "/sub")
    assert any("sub" not in image.items for image in disk.images())
    sync_folder(fs, disk.path)
    assert all(image.items["sub/doc"].content == NEW for image in disk.images(samples=8))


def test_names_without_a_journal_may_split(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    put(fs, disk.path + "/tmp/doc", NEW)
    sync_folder(fs, disk.path + "/tmp")
    fs.rename(disk.path + "/tmp/doc", disk.path + "/doc")

    def states(*, split: bool) -> set[tuple[bool, bool]]:
        return {
            ("tmp/doc" in image.items, image.items["doc"].content == NEW)
            for seed in range(8)
            for image in disk.images(seed=seed, samples=8, split=split)
        }

    assert states(split=False) == {(True, False), (False, True)}
    assert states(split=True) == {(True, False), (False, True), (True, True), (False, False)}


def test_an_exchange_is_atomic(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    put(fs, disk.path + "/tmp/spare", NEW)
    sync_folder(fs, disk.path + "/tmp")
    fs.exchange(disk.path + "/tmp/spare", disk.path + "/doc")
    pairs = {
        (image.items["doc"].content, image.items["tmp/spare"].content)
        for image in disk.images(samples=20)
    }
    assert pairs == {(OLD, NEW), (NEW, OLD)}


# A log.


def line(number: int) -> bytes:
    body = b"%d " % number + b"x" * 700
    return b"%08x " % zlib.crc32(body) + body + b"\n"


def lines(content: bytes, *, checked: bool) -> list[int]:
    """The numbers of the log's records up to the first bad one."""
    numbers = []
    for text in content.split(b"\n"):
        if not text.strip(b"\0"):
            break
        checksum, _, body = text.partition(b" ")
        if checked and checksum != b"%08x" % zlib.crc32(body):
            break
        numbers.append(int(body.split(b" ")[0]) if body[:1].isdigit() else -1)
    return numbers


def log_outcomes(disk: Disk, *, sync: bool, checked: bool, preallocate: bool) -> set[str]:
    returned: list[int] = []
    outcomes: set[str] = set()

    def look(_: object) -> None:
        for image in disk.images(samples=8, seed=len(returned)):
            if "log" not in image.items:
                if returned:
                    outcomes.add("lost")
                continue
            content = image.items["log"].content
            assert isinstance(content, bytes)
            try:
                seen = lines(content, checked=checked)
            except ValueError:
                outcomes.add("torn")
                continue
            if seen != list(range(len(seen))):
                outcomes.add("torn")
            if len(seen) < len(returned):
                outcomes.add("lost")
            if not checked and any(line(n) not in content for n in seen if n >= 0):
                outcomes.add("torn")

    fs = RecordingFileSystem(disk, observer=look)
    fd = fs.open(disk.path + "/log", os.O_RDWR | os.O_CREAT, 0o600)
    if preallocate:
        fs.pwrite(fd, bytes(65536), 0)
        fs.fsync(fd)
    sync_folder(fs, disk.path)
    offset = 0
    for number in range(12):
        offset += fs.pwrite(fd, line(number), offset)
        if sync:
            fs.fdatasync(fd)
        returned.append(number)
        look(fs)
    fs.close(fd)
    return outcomes


@pytest.mark.parametrize("preallocate", [True, False])
def test_a_synced_and_checked_log_keeps_what_returned(disk: Disk, preallocate: bool) -> None:
    assert log_outcomes(disk, sync=True, checked=True, preallocate=preallocate) == set()


@pytest.mark.parametrize("preallocate", [True, False])
def test_a_torn_append_is_found_in_a_log_without_checksums(disk: Disk, preallocate: bool) -> None:
    assert "torn" in log_outcomes(disk, sync=True, checked=False, preallocate=preallocate)


@pytest.mark.parametrize("preallocate", [True, False])
def test_a_missing_sync_is_found_in_a_log(disk: Disk, preallocate: bool) -> None:
    assert "lost" in log_outcomes(disk, sync=False, checked=True, preallocate=preallocate)


def test_a_zeroed_tail_is_shown(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    fd = fs.open(disk.path + "/doc", os.O_WRONLY | os.O_APPEND)
    fs.write(fd, b"more")
    fs.close(fd)
    contents = {image.items["doc"].content for image in disk.images(samples=30)}
    assert {OLD, OLD + b"more", OLD + bytes(4)} <= contents


def test_any_subset_of_the_pages_of_pending_writes_may_be_there(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    fd = fs.open(disk.path + "/log", os.O_RDWR | os.O_CREAT, 0o600)
    fs.pwrite(fd, bytes(8192), 0)
    fs.fsync(fd)
    sync_folder(fs, disk.path)
    fs.pwrite(fd, b"a" * 100, 4096 - 50)
    fs.pwrite(fd, b"b" * 100, 4096 + 50)
    fs.close(fd)
    seen = set()
    for seed in range(40):
        for image in disk.images(seed=seed, samples=0):
            content = image.items["log"].content
            assert isinstance(content, bytes)
            seen.add((content[4090:4091], content[4100:4101], content[4190:4191]))
    chances = {(a, b, c) for a in (b"a", b"\0") for b in (b"a", b"\0") for c in (b"b", b"\0")}
    assert chances <= seen


# Failing syncs, mappings, deaths.


def test_a_failed_sync_loses_the_data_though_the_retry_succeeds(disk: Disk) -> None:
    fs = FaultyFileSystem(disk, Fault(at=3, error=errno.EIO))
    fd = fs.open(disk.path + "/doc", os.O_RDWR)
    fs.pwrite(fd, b"NEW", 0)
    with pytest.raises(OSError, match="Input/output"):
        fs.fsync(fd)
    fs.fsync(fd)
    assert fs.pread(fd, 3, 0) == b"NEW"
    fs.pwrite(fd, b"more", 100)
    fs.fsync(fd)
    fs.close(fd)
    contents = {image.items["doc"].content for image in disk.images(samples=0)}
    assert OLD[:100] + b"more" + OLD[104:] in contents


def test_a_mapped_file_may_hold_anything_after_a_power_cut(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    fd = fs.open(disk.path + "/state", os.O_RDWR | os.O_CREAT, 0o600)
    fs.pwrite(fd, b"\1" * 64, 0)
    fs.fsync(fd)
    sync_folder(fs, disk.path)
    mapped = fs.map(fd, 64, writable=True)
    fs.close(fd)
    for index in range(8):
        mapped.words[index] = 2
    contents = {
        image.items["state"].content for seed in range(3) for image in disk.images(seed=seed)
    }
    assert {b"\1" * 64, (2).to_bytes(8, "little") * 8, bytes(64)} <= contents
    assert len(contents) > 5


def test_a_dead_process_does_nothing_more(disk: Disk) -> None:
    fs = RecordingFileSystem(disk)
    fd = fs.open(disk.path + "/state", os.O_RDWR | os.O_CREAT, 0o600)
    fs.ftruncate(fd, 64)
    assert fs.lock(fd)
    mapped = fs.map(fd, 64, writable=True)
    mapped.words[0] = 7
    fs.kill()
    mapped.data[0] = 8
    with pytest.raises(Crash):
        mapped.words[1] = 9
    with pytest.raises(Crash):
        fs.unlink(disk.path + "/state")
    after = RecordingFileSystem(disk)
    fd = after.open(disk.path + "/state", os.O_RDWR)
    assert after.lock(fd), "the dead process's lock is free"
    assert after.pread(fd, 16, 0) == (7).to_bytes(8, "little") + bytes(8)
    after.release()


@pytest.mark.parametrize("when", When)
def test_a_death_at_any_call_leaves_old_or_new_and_the_pieces(disk: Disk, when: When) -> None:
    probe = RecordingFileSystem(disk)
    replace(probe, disk.path)
    assert probe.effects == 5  # open, write, fsync, rename, fsync
    for at in range(1, probe.effects + 1):
        put(RecordingFileSystem(disk), disk.path + "/doc", OLD)
        fs = RecordingFileSystem(disk, crash_at=at, when=when)
        try:
            replace(fs, disk.path)
        except Crash:
            assert fs.dead
        with open(disk.path + "/doc", "rb") as file:
            content = file.read()
        renamed = at > 4 or (at == 4 and when is not When.BEFORE)
        assert content == (NEW if renamed else OLD)
        if at == 2:
            size = os.stat(disk.path + "/tmp/doc").st_size
            expected = {When.BEFORE: 0, When.PARTWAY: len(NEW) // 2, When.AFTER: len(NEW)}
            assert size == expected[when]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_a_fault_hits_one_call(disk: Disk, error: int) -> None:
    hits = 0
    for at in range(1, 9):
        fs = FaultyFileSystem(disk, Fault(at=at, error=error))
        try:
            replace(fs, disk.path)
        except OSError:
            assert isinstance(fs.calls[at - 1].result, OSError)
            assert fs.calls[at - 1].result.errno == error
            assert len(fs.calls) == at
            assert fs.hit == 1
        else:
            assert fs.hit == 0
        hits += fs.hit
        fs.release()
    assert hits


def test_a_short_write_takes_half(disk: Disk) -> None:
    fs = FaultyFileSystem(disk, Fault(at=2, error=None))
    replace(fs, disk.path)
    assert fs.hit == 1
    assert disk.now().items["doc"].content == NEW[: len(NEW) // 2]


def test_the_model_of_now_is_the_folder_as_it_is(disk: Disk, tmp_path: Path) -> None:
    fs = RecordingFileSystem(disk)
    replace(fs, disk.path)
    fs.mkdir(disk.path + "/sub", 0o700)
    put(fs, disk.path + "/sub/a", b"a", sync=False)
    put(fs, disk.path + "/sub/b", b"b")
    fs.exchange(disk.path + "/sub/a", disk.path + "/sub/b")
    fs.rename_new(disk.path + "/sub/a", disk.path + "/c")
    fs.unlink(disk.path + "/doc")
    disk.now().write(str(tmp_path / "copy"))
    assert Disk(str(tmp_path / "copy")).now().items == disk.now().items
    assert Disk(disk.path).now().digest == disk.now().digest


def test_every_call_of_the_file_system_is_modelled() -> None:
    public = {name for name, _ in inspect.getmembers(FileSystem) if not name.startswith("_")}
    assert public <= set(vars(RecordingFileSystem))


def test_a_file_may_not_be_written_outside_of_the_disk(disk: Disk, tmp_path: Path) -> None:
    fs = RecordingFileSystem(disk)
    with pytest.raises(AssertionError, match="outside"):
        fs.open(str(tmp_path / "elsewhere"), WRITE, 0o600)
    assert isinstance(disk.find(disk.path + "/doc"), File)
