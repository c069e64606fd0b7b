# mypy: disable-error-code="override"
# The paths of these calls are str, their folders always the current one.
"""File systems for tests: one that records and can die at any call, one that fails at any call.

A *process* is a :class:`RecordingFileSystem`; the machine under it is a
:class:`~tests.crash.disk.Disk`, which knows what a power cut would leave.  After a death
open a new process on the same disk; after a power cut write an image into
another folder, make a new disk with another boot id of it, and open that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from filestore.engine.fs import FileSystem
from tests.crash.disk import Disk, File, Folder, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.engine.fs import Item, Mapped
    from tests.crash.disk import Node

T = TypeVar("T")

_WRITES: Final = frozenset({"write", "pwrite"})
_SYNCS: Final = frozenset({"fsync", "fdatasync", "syncfs"})
_NAMING: Final = frozenset({"mkdir", "rmdir", "link", "rename", "rename_new", "exchange", "unlink"})
_LOOKS: Final = frozenset({"read", "pread", "fstat", "lstat", "scan", "close", "map", "boot_id"})
_SIZES: Final = frozenset({"ftruncate", "fallocate"})


class Crash(BaseException):
    """The process is dead: nothing that it still tries to do happens."""


class When(Enum):
    """Where in a call the process dies."""

    BEFORE = "before"
    PARTWAY = "partway"  # a prefix is written; other calls happen whole or not at all
    AFTER = "after"


class Call(NamedTuple):
    """One call as it went; ``result`` is the exception if it raised."""

    number: int
    name: str
    args: tuple[Any, ...]
    result: Any

    def __str__(self) -> str:
        shown = ", ".join(_short(argument) for argument in self.args)
        return f"#{self.number} {self.name}({shown}) = {_short(self.result)}"


def _short(value: object) -> str:
    text = f"<{len(value)} bytes>" if isinstance(value, bytes | memoryview) else repr(value)
    return text if len(text) < 80 else "…" + text[-79:]


class RecordingFileSystem(FileSystem):
    """Passes calls through, records them, tells the disk, and dies where told.

    ``crash_at`` counts calls with an effect from 1.  ``observer`` is called
    after each of them, and in the middle of each write.  A death closes all
    that this process opened, so its locks are free.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        crash_at: int | None = None,
        when: When = When.BEFORE,
        observer: Callable[[RecordingFileSystem], None] | None = None,
    ) -> None:
        super().__init__()
        disk.settle()
        self.disk = disk
        self.crash_at = crash_at
        self.when = when
        self.observer = observer
        self.calls: list[Call] = []
        self.effects = 0
        self.dead = False
        self.opened: dict[int, Node | None] = {}

    # The frame of every call.

    def _do(self, name: str, args: tuple[Any, ...], act: Callable[[], T], *, effect: bool) -> T:
        if self.dead:
            raise Crash(f"dead at {name}")
        if effect:
            self.effects += 1
        at = effect and self.effects == self.crash_at
        if at and self.when is When.BEFORE:
            self.die()
        if effect and name in _WRITES and (self.observer or (at and self.when is When.PARTWAY)):
            self._partway(args, at=at)
        try:
            result = self._perform(name, args, act)
        except OSError as error:
            self._note(name, args, error)
            raise
        self._note(name, args, result)
        if at:
            self.die()
        if effect and self.observer:
            self.observer(self)
        return result

    def _perform(self, name: str, args: tuple[Any, ...], act: Callable[[], T]) -> T:
        return act()

    def _note(self, name: str, args: tuple[Any, ...], result: object) -> None:
        self.calls.append(Call(len(self.calls) + 1, name, args, result))

    def _partway(self, args: tuple[Any, ...], *, at: bool) -> None:
        """Show the observer, or leave, a write done by half."""
        descriptor, data = args[0], bytes(args[1])
        node = self.opened[descriptor]
        if len(data) < 2 or not isinstance(node, File):
            return
        offset = args[2] if len(args) > 2 else self._offset(descriptor)
        half = data[: len(data) // 2]
        if at:
            node.write(offset, half)
            os.pwrite(descriptor, half, offset)
            self.die()
        if self.observer:
            node.write(offset, half)
            self.observer(self)
            node.writes.pop()

    def _offset(self, descriptor: int) -> int:
        """Where the next write lands."""
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
            return os.fstat(descriptor).st_size
        return os.lseek(descriptor, 0, os.SEEK_CUR)

    def die(self) -> None:
        """End the process here."""
        self.dead = True
        self.disk.freeze()
        self.release()
        raise Crash(f"at effect {self.effects}")

    def release(self) -> None:
        """Close what is still open, as the end of a process does."""
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened.clear()

    def kill(self) -> None:
        """End the process between two calls."""
        with contextlib.suppress(Crash):
            self.die()

    # Files.

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        before = self.disk.find(path)
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        creates = bool(flags & os.O_CREAT) and before is None
        truncates = bool(flags & os.O_TRUNC) and isinstance(before, File)
        assert not creates or self.disk.reaches(path), f"outside of the disk: {path!r}"

        def act() -> int:
            descriptor = os.open(path, flags, mode)
            node = before
            if creates:
                node = File(mode=os.fstat(descriptor).st_mode & 0o7777)
                self.disk.change((self.disk.place(path), node))
            elif truncates and isinstance(node, File):
                node.resize(0)
            assert not (writes and isinstance(node, Link)), f"written through a link: {path!r}"
            assert not writes or node is not None, f"written outside of the disk: {path!r}"
            self.opened[descriptor] = node
            return descriptor

        return self._do("open", (path, flags, mode), act, effect=creates or truncates)

    def close(self, fd: int) -> None:
        def act() -> None:
            del self.opened[fd]  # an assertion in effect: nothing is closed twice
            os.close(fd)

        self._do("close", (fd,), act, effect=False)

    def read(self, fd: int, size: int) -> bytes:
        return self._do("read", (fd, size), lambda: os.read(fd, size), effect=False)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        act = lambda: os.pread(fd, size, offset)
        return self._do("pread", (fd, size, offset), act, effect=False)

    def write(self, fd: int, data: bytes) -> int:
        def act() -> int:
            offset = self._offset(fd)
            count = os.write(fd, data)
            self._file(fd).write(offset, bytes(data)[:count])
            return count

        return self._do("write", (fd, data), act, effect=True)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        def act() -> int:
            count = os.pwrite(fd, data, offset)
            self._file(fd).write(offset, bytes(data)[:count])
            return count

        return self._do("pwrite", (fd, data, offset), act, effect=True)

    def _file(self, fd: int) -> File:
        node = self.opened[fd]
        assert isinstance(node, File)
        return node

    def ftruncate(self, fd: int, size: int) -> None:
        def act() -> None:
            os.ftruncate(fd, size)
            self._file(fd).resize(size)

        self._do("ftruncate", (fd, size), act, effect=True)

    def fallocate(self, fd: int, offset: int, size: int) -> None:
        def act() -> None:
            before = os.fstat(fd).st_size
            os.posix_fallocate(fd, offset, size)
            after = os.fstat(fd).st_size
            if after > before:
                self._file(fd).resize(after)

        self._do("fallocate", (fd, offset, size), act, effect=True)

    def fchmod(self, fd: int, mode: int) -> None:
        def act() -> None:
            os.fchmod(fd, mode)
            node = self.opened[fd]
            assert isinstance(node, File | Folder)
            node.mode = mode

        self._do("fchmod", (fd, mode), act, effect=True)

    def fstat(self, fd: int) -> os.stat_result:
        return self._do("fstat", (fd,), lambda: os.fstat(fd), effect=False)

    def lstat(self, path: str) -> os.stat_result:
        return self._do("lstat", (path,), lambda: os.lstat(path), effect=False)

    # Syncs.  The model alone needs them, so the real disk is not made to wait.

    def fsync(self, fd: int) -> None:
        self._do("fsync", (fd,), lambda: self._synced(fd), effect=True)

    def fdatasync(self, fd: int) -> None:
        self._do("fdatasync", (fd,), lambda: self._synced(fd), effect=True)

    def _synced(self, fd: int) -> None:
        node = self.opened[fd]
        if isinstance(node, Folder):
            self.disk.folder_synced(node)
        elif isinstance(node, File):
            node.synced()

    def syncfs(self, fd: int) -> None:
        self._do("syncfs", (fd,), self.disk.all_synced, effect=True)

    # Names.

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        def act() -> None:
            os.mkdir(path, mode)
            made = Folder(os.stat(path).st_mode & 0o7777)
            self.disk.change((self.disk.place(path), made))

        self._do("mkdir", (path, mode), act, effect=True)

    def rmdir(self, path: str) -> None:
        self._do("rmdir", (path,), lambda: self._gone(os.rmdir, path), effect=True)

    def unlink(self, path: str) -> None:
        self._do("unlink", (path,), lambda: self._gone(os.unlink, path), effect=True)

    def _gone(self, call: Callable[[str], None], path: str) -> None:
        place = self.disk.place(path)
        call(path)
        self.disk.change((place, None))

    def rename(self, source: str, target: str) -> None:
        self._do("rename", (source, target), lambda: self._moved(os.rename, source, target),
                 effect=True)  # fmt: skip

    def rename_new(self, source: str, target: str) -> None:
        call = super().rename_new
        self._do("rename_new", (source, target), lambda: self._moved(call, source, target),
                 effect=True)  # fmt: skip

    def _moved(self, call: Callable[[str, str], None], source: str, target: str) -> None:
        one, other = self.disk.place(source), self.disk.place(target)
        node = self.disk.find(source)
        call(source, target)
        if node is not self.disk.find(target):
            self.disk.change((other, node), (one, None))

    def link(self, source: str, target: str) -> None:
        give = super().link

        def act() -> None:
            place, node = self.disk.place(target), self.disk.find(source)
            give(source, target)
            self.disk.change((place, node))

        self._do("link", (source, target), act, effect=True)

    def exchange(self, one: str, other: str) -> None:
        swap = super().exchange

        def act() -> None:
            first, second = self.disk.place(one), self.disk.place(other)
            node, partner = self.disk.find(one), self.disk.find(other)
            swap(one, other)
            self.disk.change((first, partner), (second, node))

        self._do("exchange", (one, other), act, effect=True)

    def scan(self, path: str) -> list[Item]:
        look = super().scan
        return self._do("scan", (path,), lambda: look(path), effect=False)

    def exists(self, path: str) -> bool:
        ask = super().exists
        return self._do("exists", (path,), lambda: ask(path), effect=False)

    def folders(self, path: str) -> list[str]:
        look = super().folders
        return self._do("folders", (path,), lambda: look(path), effect=False)

    def survey(self, path: str, suffix: str) -> Iterator[tuple[str, bool]]:
        look = super().survey
        yield from self._do("survey", (path,), lambda: list(look(path, suffix)), effect=False)

    def resolve(self, path: str) -> str:
        return self._do("resolve", (path,), lambda: path, effect=False)

    def mounts(self) -> str:
        # A disk of its own kind: whether its stamps are fine is for the real ones to tell.
        table = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        return self._do("mounts", (), lambda: table, effect=False)

    def refusal(self, folder: str) -> int:
        ask = super().refusal
        return self._do("refusal", (folder,), lambda: ask(folder), effect=False)

    # Mapping, locking, identity.

    def map(self, fd: int, size: int, *, writable: bool) -> Mapped:
        make = super().map

        def act() -> Mapped:
            # A mapping keeps a duplicate of its descriptor, and with it a lock
            # of the process that died: so map through a descriptor of its own.
            own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR if writable else os.O_RDONLY)
            try:
                mapped = make(own, size, writable=writable)
                if writable:
                    self.disk.mapped(self._file(fd), own)
            finally:
                os.close(own)
            mapped.words = Words(mapped.words, self)  # type: ignore[assignment]
            return mapped

        return self._do("map", (fd, size, writable), act, effect=False)

    def lock(self, fd: int) -> bool:
        take = super().lock
        return self._do("lock", (fd,), lambda: take(fd), effect=False)

    def unlock(self, fd: int) -> None:
        give = super().unlock
        self._do("unlock", (fd,), lambda: give(fd), effect=False)

    def boot_id(self) -> str:
        return self._do("boot_id", (), lambda: self.disk.boot_id, effect=False)


class Words:
    """The words of a mapping, where each store is a call at which one may die."""

    def __init__(self, words: memoryview, process: RecordingFileSystem) -> None:
        self._words = words
        self._process = process

    def __getitem__(self, index: int) -> int:
        if self._process.dead:
            raise Crash("dead at a load")
        return int(self._words[index])

    def __setitem__(self, index: int, value: int) -> None:
        def act() -> None:
            self._words[index] = value

        self._process._do("store", (index, value), act, effect=True)

    def __len__(self) -> int:
        return len(self._words)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: the ``at``-th call (from 1, over all of a process) fails.

    ``error`` is an errno, or None for a read or write that does half of what
    was asked.  ``forever``: so does every later call to which it can happen.
    """

    at: int
    error: int | None = errno.EIO
    forever: bool = False


_OPENS: Final = frozenset({"open", "scan"})
_CHANGES: Final = _WRITES | _NAMING | _SIZES | {"fchmod"}
_GROWS: Final = _WRITES | _SYNCS | _SIZES | {"mkdir", "link", "rename", "rename_new", "exchange"}
_FAILS: Final[dict[int | None, frozenset[str]]] = {
    None: _WRITES | {"read", "pread"},
    errno.EIO: _CHANGES | _SYNCS | _OPENS | _LOOKS - {"boot_id"},
    errno.ENOSPC: _GROWS,
    errno.EDQUOT: _GROWS,
    errno.EROFS: _CHANGES,
    errno.EMFILE: _OPENS,
    errno.EACCES: _OPENS | _NAMING | {"lstat"},
    errno.EINTR: _WRITES | _SYNCS | _SIZES | _OPENS | {"read", "pread", "close"},
    errno.ENOLCK: frozenset({"lock"}),
}
_OPEN_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_OPEN_FAULTS: Final = {errno.EROFS: _OPEN_WRITES, errno.ENOSPC: os.O_CREAT}


class FaultyFileSystem(RecordingFileSystem):
    """Fails as told; ``hit`` counts how often it did.

    A failed sync marks the pages clean: what it was to make durable never will be.
    """

    def __init__(self, disk: Disk, fault: Fault) -> None:
        super().__init__(disk)
        self.fault: Fault | None = fault
        self.hit = 0

    def _perform(self, name: str, args: tuple[Any, ...], act: Callable[[], T]) -> T:
        fault = self.fault
        number = len(self.calls) + 1
        if fault is None or number < fault.at or (number > fault.at and not fault.forever):
            return act()
        if not _can_fail(name, args, fault.error):
            return act()
        self.hit += 1
        if fault.error is None:
            shorter: T = self._short(name, args, act)
            return shorter
        if name in _SYNCS and fault.error != errno.EINTR:
            node = self.opened[args[0]]
            if isinstance(node, File):
                node.sync_failed()
        if name == "close":
            act()  # Linux gives the descriptor back whatever close says
        raise OSError(fault.error, os.strerror(fault.error), *_path(args))

    def _short(self, name: str, args: tuple[Any, ...], act: Callable[[], T]) -> Any:
        fd, what = args[0], args[1]
        if (what if isinstance(what, int) else len(what)) < 2:
            return act()
        if name == "read":
            return os.read(fd, what // 2)
        if name == "pread":
            return os.pread(fd, what // 2, args[2])
        offset = args[2] if name == "pwrite" else self._offset(fd)
        half = bytes(what)[: len(what) // 2]
        count = os.pwrite(fd, half, offset) if name == "pwrite" else os.write(fd, half)
        self._file(fd).write(offset, half[:count])
        return count


def _can_fail(name: str, args: tuple[Any, ...], error: int | None) -> bool:
    if name == "open" and error in _OPEN_FAULTS:
        return bool(args[1] & _OPEN_FAULTS[error])
    return name in _FAILS[error]


def _path(args: tuple[Any, ...]) -> tuple[str, ...]:
    return args[:1] if args and isinstance(args[0], str) else ()
