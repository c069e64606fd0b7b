"""What the indexes above the file backend need of it, and where they are kept.

They stand in ``.filestore/index``, where anything may happen to them: they are
written whole beside and renamed, nothing is synced, and whoever loads one
checks what it uses.  What is written down of the journal tells whether an index
is of this history: a tail of the bytes that end with a commit, and where.
"""

from __future__ import annotations

import itertools
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from filestore.engine.fs import let_go, read_at, write_at
from filestore.engine.layout import RUNTIME
from filestore.engine.state import unpack
from filestore.engine.tree import make_folder
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from filestore.engine.fs import FileSystem
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.model import Revision

_TAIL_BYTES: Final = 4096
_WRITE_BYTES: Final = 1 << 20
_COPIED_BYTES: Final = 1 << 18
"""Up to here an index is read rather than mapped: it takes no longer than opening does, and
whoever cuts the file short then harms nobody."""

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Telling(Protocol):
    """What is asked of a watcher."""

    @property
    def tells(self) -> bool | None:
        """Whether every edit is told of: now, soon (False), or who knows when (None)."""

    def listen(self) -> float | None:
        """See :meth:`filestore.backend.Indexing.listen`."""

    @property
    def lasting(self) -> bool:
        """See :attr:`filestore.backend.Indexing.lasting`."""


class Shelf:
    """A :class:`filestore.backend.Indexing` of one handle."""

    def __init__(self, ground: Ground, reads: Reads, watcher: Telling | None = None) -> None:
        self._ground = ground
        self._reads = reads
        self._folder = f"{ground.layout.root}/{RUNTIME}/index"
        self._names = itertools.count()
        self._observers: list[Callable[[str, str | None], None]] = []
        self.watcher = watcher
        reads.edited = self._edited

    @property
    def declared(self) -> Mapping[str, Sequence[str]]:
        return self._ground.config.indexed

    def edited(self, collection: str) -> Collection[str] | None:  # noqa: ARG002  # the protocol's
        # What an event tells of is marked by then; without events only a look at each file tells.
        return () if self.watcher is not None and self.watcher.tells else None

    @property
    def settling(self) -> bool:
        return self.watcher is not None and self.watcher.tells is False

    def listen(self) -> float | None:
        return None if self.watcher is None else self.watcher.listen()

    @property
    def lasting(self) -> bool:
        return self.watcher is None or self.watcher.lasting

    def on_edit(self, observer: Callable[[str, str | None], None]) -> None:
        # One for each store over this handle; a child of a fork asks again.
        self._observers = [*(each for each in self._observers if each != observer), observer]

    def _edited(self, key: tuple[str, str]) -> None:
        for observer in self._observers:
            observer(*key)

    def disown(self, but: str) -> None:
        """Keep nothing ``but`` this: there may have been edits that no commit will tell of."""
        fs = self._ground.fs
        try:
            for item in fs.scan(self._folder):
                if item.name != but and not item.is_folder:
                    fs.unlink(f"{self._folder}/{item.name}")
        except OSError:
            pass  # nothing was kept, or nothing can be taken away
        for observer in self._observers:
            observer("", None)

    def point(self) -> tuple[Revision, str] | None:
        mark = self._reads.mark
        tail = self._tail(mark.position)
        return None if tail is None else (mark.revision, f"{mark.position:x}-{tail}")

    def holds(self, revision: Revision, token: str) -> bool:
        position, _, tail = token.partition("-")
        try:
            at = int(position, 16)
        except ValueError:
            return False
        # What stands beyond the end may have been written by a commit that was taken back.
        end = self._reads.mark
        return revision <= end.revision and at <= end.position and self._tail(at) == tail

    def _tail(self, position: int) -> str | None:
        """The hash of the journal's bytes that end at a position, and of their segment's header."""
        fs = self._ground.fs
        number, offset = unpack(position)
        if number <= 0 or offset <= 0:
            return None
        begin = max(0, offset - _TAIL_BYTES)
        try:
            fd = fs.open(self._ground.layout.segment(number), _READ)
        except OSError:
            return None
        try:
            raw = read_at(fs, fd, begin, offset - begin)
        except OSError:
            return None
        finally:
            let_go(fs, fd)
        return blake2b(raw, digest_size=16).hexdigest() if len(raw) == offset - begin else None

    def load(self, name: str) -> memoryview | None:
        fs = self._ground.fs
        try:
            fd = fs.open(f"{self._folder}/{name}", _READ)
        except OSError:
            return None
        try:
            size = fs.fstat(fd).st_size
            if not size or size % 8:
                return None
            if size <= _COPIED_BYTES:
                raw = read_at(fs, fd, 0, size)
                return memoryview(raw) if len(raw) == size else None
            return fs.map(fd, size, writable=False).data
        except (OSError, ValueError):
            return None
        finally:
            let_go(fs, fd)

    def save(self, name: str, parts: Iterable[bytes | memoryview]) -> bool:
        ground = self._ground
        if ground.readonly or ground.state is None:
            return False
        fs, layout = ground.fs, ground.layout
        tmp = f"{layout.tmp}/index-{os.getpid():x}-{next(self._names):x}"
        try:
            make_folder(fs, self._folder, layout.folder_mode)
            fd = fs.open(tmp, _CREATE, layout.file_mode)
        except (OSError, FilestoreError):
            return False
        try:
            try:
                _write(fs, fd, parts)
            finally:
                let_go(fs, fd)
            fs.rename(tmp, f"{self._folder}/{name}")
        except OSError:
            ground.tree.discard(tmp)
            return False
        return True


def _write(fs: FileSystem, fd: int, parts: Iterable[bytes | memoryview]) -> None:
    offset = 0
    pending: list[bytes | memoryview] = []
    size = 0
    for part in parts:
        pending.append(part)
        size += len(part)
        if size >= _WRITE_BYTES:
            write_at(fs, fd, b"".join(pending), offset)
            offset += size
            pending, size = [], 0
    if pending:
        write_at(fs, fd, b"".join(pending), offset)
