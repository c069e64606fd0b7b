"""Git's index, changed in place: the entries of some files, and nothing else of 100,000.

The index is entries sorted by path, extensions, and a checksum.  An entry is 40 bytes of the
file's status, the object's name, flags with the path's length, the path, and zeros up to a
multiple of eight bytes.  Sorted as they are they can be bisected, so that none but those on the way
is looked at.  What is not plain (other versions, flags, extensions) is left to git: None.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from filestore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEAD: Final = struct.Struct(">4sII")
_STATUS: Final = struct.Struct(">10I")
_MODES: Final = frozenset({0o100644, 0o100755, 0o120000, 0o160000})
_LONGEST: Final = 0xFFF
_FOLDER: Final = re.compile(rb"([^\0]*)\0(-?\d{1,9}) (\d{1,9})\n")
_PLAIN: Final = frozenset({b"TREE", b"REUC"})
_NARROW: Final = 0xFFFFFFFF


Pieces: TypeAlias = "list[bytes | memoryview]"
"""What follows each other, not put together: it is as long as the store is large."""


class Staged(NamedTuple):
    """What a path is to be: its object's name, its status before that was read, its mode."""

    id: bytes
    status: os.stat_result
    mode: int


class Folder(NamedTuple):
    """A folder's tree object before and after; None for none."""

    before: bytes | None
    after: bytes | None


class Place(NamedTuple):
    """An entry: from where to where it is, its path, mode and flags."""

    start: int
    end: int
    path: bytes
    mode: int
    flags: int


def exchange(path: str, change: Callable[[bytes], Pieces | None]) -> bool:
    """Put a changed index in the index's place, under git's own lock; False where git has to.

    It keeps the time of the one before: an entry that is as young as its index is one whose file
    git looks at again, which may have been changed in the same tick of the clock.  With a newer
    time entries would pass for proven that are not.  Raises StorageError.
    """
    lock = f"{path}.lock"
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(lock, flags, stat.S_IMODE(status.st_mode))
    except OSError:
        return False  # git says why
    try:
        with open(fd, "wb") as file, open(path, "rb") as old:
            status = os.fstat(old.fileno())  # only under the lock it stays as it is
            pieces = change(old.read())
            if pieces is not None:
                file.writelines(pieces)
        if pieces is not None:
            os.utime(lock, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.replace(lock, path)
            return True
    except OSError as error:
        _remove(lock)
        raise StorageError(f"{path}: {error.strerror}", errno=error.errno, path=path) from error
    except BaseException:
        _remove(lock)
        raise
    _remove(lock)
    return False


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


class _Cannot(Exception):
    """Git has to do it."""


def changed(
    raw: bytes,
    object_format: str,
    files: Mapping[bytes, Staged | None],
    folders: Callable[[], Mapping[bytes, Folder]],
) -> Pieces | None:
    """The index with these paths put in, or taken out (None); None where only git can tell.

    ``folders`` gives of each folder above them, by its path with a slash behind, what HEAD had
    and what it will have.  It is asked last, so that it may be worked out meanwhile.
    """
    try:
        return _Index(raw, object_format).changed(files, folders)
    except (_Cannot, struct.error, IndexError, ValueError):
        return None


class _Index:
    def __init__(self, raw: bytes, object_format: str) -> None:
        self._raw = raw
        self._format = object_format
        self._size = hashlib.new(object_format, usedforsecurity=False).digest_size
        self._head = 40 + self._size + 2
        signature, version, self._count = _HEAD.unpack_from(raw)
        if signature != b"DIRC" or version != 2 or not self._count:
            raise _Cannot
        self._last = len(raw) - self._size  # where the checksum is
        self._end, self._extensions = self._find_end()

    # -- finding ----------------------------------------------------------------------

    def _find_end(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Where the entries end, and the extensions."""
        at = self._raw.rfind(b"TREE")
        while at > 0:
            found = self._chain(at)
            if found is not None:
                return at, found
            at = self._raw.rfind(b"TREE", 0, at)
            if self._last - at > 1 << 22:
                break
        return self._walk()

    def _walk(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        at = _HEAD.size
        for _ in range(self._count):
            place = self._place(at)
            if place is None:
                raise _Cannot
            at = place.end
        found = self._chain(at)
        if found is None:
            raise _Cannot
        return at, found

    def _chain(self, at: int) -> list[tuple[bytes, bytes]] | None:
        """The extensions from here on, if they end where the checksum begins."""
        found = []
        while at < self._last:
            name, length = self._raw[at : at + 4], int.from_bytes(self._raw[at + 4 : at + 8], "big")
            if at + 8 + length > self._last or not name.isalpha():
                return None
            found.append((name, self._raw[at + 8 : at + 8 + length]))
            at += 8 + length
        return found if at == self._last else None

    def _place(self, at: int) -> Place | None:
        """The entry that begins here; None where none does."""
        raw, head = self._raw, self._head
        mode = int.from_bytes(raw[at + 24 : at + 28], "big")
        if mode not in _MODES:
            return None
        flags = int.from_bytes(raw[at + head - 2 : at + head], "big")
        length = flags & _LONGEST
        path = raw[at + head : at + head + length]
        if length == _LONGEST or not path or b"\0" in path or raw[at + head + length] != 0:
            return None
        end = at + ((head + length + 8) & ~7)
        if raw[at + head + length : end].strip(b"\0"):
            return None
        return Place(at, end, path, mode, flags)

    def _sure(self, at: int) -> Place | None:
        """The entry that begins here, if what follows it is one as well."""
        place = self._place(at)
        if place is None or place.end > self._end:
            return None
        if place.end < self._end and self._place(place.end) is None:
            return None
        return place

    def find(self, path: bytes) -> tuple[int, Place | None]:
        """Where a path is or belongs, and its entry if it has one."""
        low, high = _HEAD.size, self._end  # before low all are less, from high on all are greater
        while low < high:
            place = self._first(low + ((high - low) // 2 & ~7), high) or self._sure(low)
            if place is None:
                raise _Cannot
            if place.path == path:
                if place.flags != len(path):
                    raise _Cannot  # in conflict, or marked in some way
                return place.start, place
            if place.path < path:
                low = place.end
            else:
                high = place.start
        return low, None

    def _first(self, at: int, high: int) -> Place | None:
        """The first entry that begins here or later."""
        for start in range(at, high, 8):
            place = self._sure(start)
            if place is not None:
                return place
        return None

    # -- changing ---------------------------------------------------------------------

    def changed(
        self, files: Mapping[bytes, Staged | None], folders: Callable[[], Mapping[bytes, Folder]]
    ) -> Pieces:
        edits: list[tuple[int, int, bytes]] = []
        more: dict[bytes, int] = {}
        for path, staged in sorted(files.items()):
            start, place = self.find(path)
            if staged is None:
                if place is not None:
                    edits.append((start, place.end, b""))
                    _count(more, path, -1)
            elif place is not None:
                if place.mode != staged.mode:
                    raise _Cannot
                edits.append((start, place.end, self._entry(path, staged)))
            else:
                if staged.mode != 0o100644:
                    raise _Cannot
                self._refuse_beside(path)
                edits.append((start, start, self._entry(path, staged)))
                _count(more, path, 1)
        self._refuse_unknown(more)
        parts: Pieces = [_HEAD.pack(b"DIRC", 2, self._count + more.get(b"", 0))]
        kept = _HEAD.size
        view = memoryview(self._raw)
        for start, end, entry in edits:
            parts += (view[kept:start], entry)
            kept = end
        parts.append(view[kept : self._end])
        checksum = self._checksum()
        for part in parts:
            checksum.update(part)
        known = folders()
        for name, content in self._extensions:
            new = _with_folders(content, known, more, self._size) if name == b"TREE" else content
            part = name + len(new).to_bytes(4, "big") + new
            checksum.update(part)
            parts.append(part)
        return [*parts, checksum.digest()]

    def _entry(self, path: bytes, staged: Staged) -> bytes:
        status = staged.status
        if len(path) >= _LONGEST:
            raise _Cannot
        seconds = [*divmod(status.st_ctime_ns, 10**9), *divmod(status.st_mtime_ns, 10**9)]
        fields = (status.st_dev, status.st_ino, staged.mode, status.st_uid, status.st_gid)
        numbers = [number & _NARROW for number in (*seconds, *fields, status.st_size)]
        entry = _STATUS.pack(*numbers) + staged.id + len(path).to_bytes(2, "big") + path
        return entry.ljust((len(entry) + 8) & ~7, b"\0")

    def _refuse_beside(self, path: bytes) -> None:
        """A path that is a folder in the index, or below a file, is for git to put in."""
        at, _ = self.find(path + b"/")
        place = self._place(at) if at < self._end else None
        if place is not None and place.path.startswith(path + b"/"):
            raise _Cannot
        above = path
        while b"/" in above:
            above = above.rpartition(b"/")[0]
            if self.find(above)[1] is not None:
                raise _Cannot

    def _refuse_unknown(self, more: Mapping[bytes, int]) -> None:
        """What is known of entries by their number, or of files that are in no entry, is git's."""
        known = _PLAIN if more else _PLAIN | {b"UNTR"}
        if any(name not in known for name, _ in self._extensions):
            raise _Cannot

    def _checksum(self) -> _Checksum:
        old = self._raw[self._last :]
        if not old.strip(b"\0"):
            return _NoChecksum(old)  # index.skipHash
        return hashlib.new(self._format, usedforsecurity=False)


class _Checksum(Protocol):
    def update(self, content: bytes | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class _NoChecksum:
    def __init__(self, zeros: bytes) -> None:
        self._zeros = zeros

    def update(self, content: bytes | memoryview, /) -> None:
        pass

    def digest(self) -> bytes:
        return self._zeros


def _count(more: dict[bytes, int], path: bytes, number: int) -> None:
    """Note one entry more or less in every folder above."""
    folder = path
    while folder:
        folder = folder[:-1].rpartition(b"/")[0]
        folder = folder + b"/" if folder else b""
        more[folder] = more.get(folder, 0) + number


class _Node:
    """A folder in the extension that knows the trees of folders; ``count`` -1: it does not."""

    __slots__ = ("below", "count", "id", "name")

    def __init__(self, name: bytes, count: int, id: bytes, below: list[_Node]) -> None:
        self.name = name
        self.count = count
        self.id = id
        self.below = below


def _with_folders(
    raw: bytes, folders: Mapping[bytes, Folder], more: Mapping[bytes, int], size: int
) -> bytes:
    root, end = _node(raw, 0, size)
    if end != len(raw) or root.name:
        raise _Cannot
    _update(root, b"", folders, more)
    parts: list[bytes] = []
    _write(root, parts)
    return b"".join(parts)


def _node(raw: bytes, at: int, size: int) -> tuple[_Node, int]:
    found = _FOLDER.match(raw, at)
    if found is None:
        raise _Cannot
    name, count, number = found[1], int(found[2]), int(found[3])
    at = found.end()
    id = b""
    if count >= 0:
        id, at = raw[at : at + size], at + size
    below = []
    for _ in range(number):
        child, at = _node(raw, at, size)
        below.append(child)
    return _Node(name, count, id, below), at


def _update(
    node: _Node, path: bytes, folders: Mapping[bytes, Folder], more: Mapping[bytes, int]
) -> bool:
    """Give the folders that change their new trees; whether this one's is known."""
    touched = {
        one
        for one in folders
        if one.startswith(path) and one != path and b"/" not in one[len(path) : -1]
    }
    known = True
    for child in node.below:
        inside = path + child.name + b"/"
        if inside in touched:
            touched.discard(inside)
            known &= _update(child, inside, folders, more)
    folder = folders[path]
    if known and not touched and node.count >= 0 and node.id == folder.before and folder.after:
        node.id = folder.after
        node.count += more.get(path, 0)
        return True
    node.count, node.id = -1, b""
    return False


def _write(node: _Node, parts: list[bytes]) -> None:
    parts.append(b"%s\0%d %d\n%s" % (node.name, node.count, len(node.below), node.id))
    for child in node.below:
        _write(child, parts)
