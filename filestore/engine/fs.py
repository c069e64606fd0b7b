"""The only module that touches the file system.

:class:`FileSystem` is the seam for tests: a subclass records the calls, makes
the nth one fail or the process die there, and works out what a power cut could
leave behind.  Every method is one system call unless it says otherwise, takes
absolute paths and raises OSError.  The functions below it are built of them.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINUX: Final = sys.platform.startswith("linux")
_ENCODING: Final = sys.getfilesystemencoding()  # what os.fsencode asks for each time
_ERRORS: Final = sys.getfilesystemencodeerrors()
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
_EFFECTIVE: Final = os.access in os.supports_effective_ids
_CLOCK_REALTIME_COARSE: Final = 5  # Linux's clock that stamps inodes; absent from ``time``
_COARSE_TICK_NS: Final = 20_000_000  # elsewhere: no inode clock that is used here ticks slower


class Item(NamedTuple):
    """One name in a folder.  A link is neither a file nor a folder."""

    name: str
    is_file: bool
    is_folder: bool


class SyncFailed(OSError):
    """The disk refused to sync: what it was given may be lost, and no retry would tell."""


class Mapped:
    """A shared mapping of a small file, seen as 64-bit words and as bytes.

    It goes with the last of these views: whoever reads one need not fear another thread.
    """

    __slots__ = ("data", "words")

    def __init__(self, mapping: mmap.mmap, *, writable: bool) -> None:
        self.data = memoryview(mapping) if writable else memoryview(mapping).toreadonly()
        self.words = self.data.cast("Q")


class FileSystem:
    """The real file system."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    read = staticmethod(os.read)
    pread = staticmethod(os.pread)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    fallocate = staticmethod(os.posix_fallocate)
    fstat = staticmethod(os.fstat)
    lstat = staticmethod(os.lstat)
    mkdir = staticmethod(os.mkdir)
    rmdir = staticmethod(os.rmdir)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    fchmod = staticmethod(os.fchmod)

    def __init__(self) -> None:
        self._renameat2: Callable[..., int] | None = None
        self._syncfs: Callable[..., int] | None = None
        self._lock_functions: tuple[Callable[..., bool], Callable[[int], None]] | None = None

    def scan(self, path: str) -> list[Item]:
        """The names in a folder, in its own order.  (open, getdents, close)"""
        with os.scandir(path) as entries:
            return [
                Item(e.name, e.is_file(follow_symlinks=False), e.is_dir(follow_symlinks=False))
                for e in entries
            ]

    def exists(self, path: str) -> bool:
        """Whether a name is there, a link that leads nowhere as well; False in doubt.  (faccessat)

        Quicker than the exception of an lstat that finds nothing.
        """
        return os.access(path, os.F_OK, follow_symlinks=False)

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder.  (open, getdents, close)"""
        with os.scandir(path) as entries:
            return [e.name for e in entries if e.is_dir(follow_symlinks=False)]

    def survey(self, path: str, suffix: str) -> Iterator[tuple[str, bool]]:
        """The names in a folder, one by one: of folders, with True, and of the files that have
        the suffix.  (open, getdents, close)
        """
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                    yield name, False
                elif entry.is_dir(follow_symlinks=False):
                    yield name, True

    def refusal(self, folder: str) -> int:
        """Why names in a folder can't be made or removed, an error number; 0 where they can.

        (faccessat, and for a refusal statvfs)
        """
        if os.access(folder, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
            return 0
        try:
            readonly = os.statvfs(folder).f_flag & os.ST_RDONLY
        except OSError as error:
            return error.errno or errno.EACCES
        return errno.EROFS if readonly else errno.EACCES

    def exchange(self, one: str, other: str) -> None:
        """Swap two names atomically.  OSError ENOSYS or EINVAL where there is no such call."""
        self._rename2(one, other, _RENAME_EXCHANGE)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, failing with EEXIST if that is taken.  Follows no link."""
        os.link(source, target, follow_symlinks=False)

    def rename_new(self, source: str, target: str) -> None:
        """Rename, failing with EEXIST if the target exists."""
        try:
            self._rename2(source, target, _RENAME_NOREPLACE)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            os.link(source, target)
            os.unlink(source)

    def _rename2(self, source: str, target: str, flags: int) -> None:
        call = self._renameat2
        if call is None:
            call = self._renameat2 = _libc("renameat2")
        one, other = source.encode(_ENCODING, _ERRORS), target.encode(_ENCODING, _ERRORS)
        if call(_AT_FDCWD, one, _AT_FDCWD, other, flags):
            code = _errno()
            raise OSError(code, os.strerror(code), source, None, target)

    def syncfs(self, fd: int) -> None:
        """Sync the whole file system that ``fd`` is on."""
        call = self._syncfs
        if call is None:
            call = self._syncfs = _libc("syncfs")
        if call(fd):
            code = _errno()
            raise OSError(code, os.strerror(code))

    def map(self, fd: int, size: int, *, writable: bool) -> Mapped:
        """Map ``size`` bytes of a file that has at least as many, shared."""
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return Mapped(mmap.mmap(fd, size, access=access), writable=writable)

    def lock(self, fd: int) -> bool:
        """Try to take the native exclusive lock on an open file; never waits."""
        return (self._lock_functions or self._filelock())[0](fd, blocking=False)

    def unlock(self, fd: int) -> None:
        """Give back what :meth:`lock` took."""
        (self._lock_functions or self._filelock())[1](fd)

    def _filelock(self) -> tuple[Callable[..., bool], Callable[[int], None]]:
        # filelock takes 31 ms to import, and only writers need it.
        with importing():
            from filelock import lock_descriptor, unlock_descriptor

        self._lock_functions = lock_descriptor, unlock_descriptor
        return self._lock_functions

    def resolve(self, path: str) -> str:
        """The path without links."""
        return os.path.realpath(path)

    def mounts(self) -> str:
        """What is mounted where; empty where unknown."""
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except OSError:
            return ""

    def boot_id(self) -> str:
        """What tells one run of the machine from the next; empty where unknown."""
        try:
            # As bytes: opening by a codec of its own would import that codec.
            with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
                return file.read().decode("ascii").strip()
        except (FileNotFoundError, PermissionError):
            return ""  # any other trouble must not look like another run of the machine


def _libc(name: str) -> Callable[..., int]:
    """A function of the C library; when it fails, :func:`_errno` tells why."""
    import ctypes  # takes 5 ms to import, and only writers need it

    function: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    return _absent if function is None else function


def _absent(*_: int | bytes) -> int:
    import ctypes

    ctypes.set_errno(errno.ENOSYS)
    return -1


def _errno() -> int:
    import ctypes

    return ctypes.get_errno()


def make_file(fs: FileSystem, path: str, flags: int, mode: int) -> int:
    """Open a file, made if it is not there, with these permissions whatever the umask."""
    fd = fs.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    if mode != 0o600:
        try:
            fs.fchmod(fd, mode)
        except PermissionError:
            pass  # another user's, who gave it the mode
        except BaseException:
            let_go(fs, fd)
            raise
    return fd


def write_at(fs: FileSystem, fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at an offset, however often the system takes only part of it."""
    written = fs.pwrite(fd, data, offset)
    while written < len(data):
        if not written:
            raise OSError(errno.EIO, "the file system took no byte")
        data, offset = data[written:], offset + written
        written = fs.pwrite(fd, data, offset)


def read_at(fs: FileSystem, fd: int, offset: int, size: int) -> bytes:
    """Up to ``size`` bytes from ``offset``; fewer only where the file ends."""
    parts = []
    while size > 0:
        part = fs.pread(fd, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def let_go(fs: FileSystem, fd: int) -> None:
    """Close what was only read, or is synced: closed it is, whatever the system says."""
    try:  # a third of contextlib.suppress
        fs.close(fd)
    except OSError:
        pass


def sync_folder(fs: FileSystem, path: str) -> None:
    """Make the names in a folder durable."""
    fd = fs.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fs.fsync(fd)
    finally:
        let_go(fs, fd)


MANY: Final = 256
"""Files or folders from which on one sync of the whole file system is cheaper."""


def sync_file_system(fs: FileSystem, path: str) -> bool:
    """Make all of the file system that a folder is in durable; False where that can't be asked."""
    fd = fs.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fs.syncfs(fd)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return False
    finally:
        let_go(fs, fd)
    return True


def coarse_time_ns() -> int:
    """What the clock that stamps inodes shows at the least; it moves in ticks of milliseconds."""
    if _LINUX:
        return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
    return time.time_ns() - _COARSE_TICK_NS
