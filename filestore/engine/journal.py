"""The write-ahead journal: numbered segments of lines, preallocated.

Appending is one write into zeros that are already on the disk, so that syncing
it is one data write and no metadata.  All writing happens under the store's
write lock; where the journal ends is told by the shared state, never by the
file.  What a line says is in :mod:`filestore.engine.record`.
"""

from __future__ import annotations

import errno
import os
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from filestore.engine import record
from filestore.engine.fs import SyncFailed, let_go, make_file, read_at, sync_folder, write_at
from filestore.engine.news import News, plainly_told, told_by
from filestore.engine.state import Mark, position, unpack
from filestore.engine.tree import make_folder
from filestore.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filestore.engine.fs import FileSystem
    from filestore.engine.layout import Layout
    from filestore.engine.news import Told
    from filestore.model import Commit, Key
    from filestore.retention import Retention

T = TypeVar("T")

SEGMENT_MIN: Final = 128 << 10  # what a segment has from its birth on, synced before any commit
SEGMENT_BYTES: Final = 4 << 20  # a commit that begins beyond this begins a segment
RESERVE_BYTES: Final = 64 << 10  # kept free for deletes on a full disk
_GROW_MAX: Final = 1 << 20
_SAFELY: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # nobody waits for a pipe's writer
_READ_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 1 << 19  # are read in one go; lines that are longer are not
_CHUNK_BYTES: Final = 1 << 18  # of a long line are written or read in one go
_NAME: Final = re.compile(r"(\d{8})\.log")


class Segment(NamedTuple):
    """An open segment."""

    number: int
    fd: int
    header: record.Header


class Journal:
    """The journal of one handle.

    Appending needs the write lock; reading is for one thread at a time (the
    backend's mutex), and goes on beside an append.
    """

    def __init__(
        self, fs: FileSystem, layout: Layout, store_id: str, retention: Retention | None = None
    ) -> None:
        self._fs = fs
        self._layout = layout
        self._store_id = store_id
        self._tail: Segment | None = None  # for appending
        self._size = 0  # how far the tail is known to be preallocated
        self._reader: Segment | None = None
        self._retention = retention  # for appending
        self._most = (  # bytes that a segment may have before the next is begun
            SEGMENT_BYTES
            if retention is None
            else retention.segment_bytes(SEGMENT_BYTES, SEGMENT_MIN)
        )
        self._tail_begun: float | None = None

    def path(self, number: int) -> str:
        return self._layout.segment(number)

    def numbers(self) -> list[int]:
        """The segments there are, in order."""
        try:
            items = self._fs.scan(self._layout.journal)
        except FileNotFoundError:
            return []
        found = (_NAME.fullmatch(item.name) for item in items)
        return sorted(int(match[1]) for match in found if match)

    # -- appending, under the write lock --------------------------------------

    def append(
        self,
        payloads: Sequence[record.Payload],
        end: Mark,
        *,
        checkpoint: int,
        may_use_reserve: bool = False,
    ) -> list[int]:
        """Write lines after ``end``; returns the position after each.

        Not yet on the disk: see :meth:`sync`.  Raises OSError with nothing
        written that a reader of the state could see.
        """
        number, offset = unpack(end.position)
        tail = self._tail
        if tail is None or tail.number != number:
            tail = self._open_tail(number)
        if tail is None or offset >= SEGMENT_BYTES or self._is_full(tail, offset, end.revision):
            try:
                tail, offset = self.rotate(end, checkpoint=checkpoint)
            except OSError as error:
                if tail is None or error.errno != errno.ENOSPC or not may_use_reserve:
                    raise
        seed = tail.header.seed
        lines = [record.line(each, seed) for each in payloads if isinstance(each, bytes)]
        if len(lines) < len(payloads):
            return self._append_long(tail, offset, payloads, may_use_reserve=may_use_reserve)
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        if offset + len(data) + RESERVE_BYTES > self._size:
            self._reserve(tail, offset + len(data), may_use_reserve=may_use_reserve)
        write_at(self._fs, tail.fd, data, offset)
        positions = []
        for text in lines:
            offset += len(text)
            positions.append(position(tail.number, offset))
        return positions

    def _append_long(
        self,
        tail: Segment,
        offset: int,
        payloads: Sequence[record.Payload],
        *,
        may_use_reserve: bool,
    ) -> list[int]:
        """Write lines that are too long to be in memory as a whole."""
        lines = [record.LongLine(payload, tail.header.seed) for payload in payloads]
        need = offset + sum(line.size for line in lines)
        if need + RESERVE_BYTES > self._size:
            self._reserve(tail, need, may_use_reserve=may_use_reserve)
        positions = []
        for line in lines:
            for chunk in line.chunks(_CHUNK_BYTES):
                write_at(self._fs, tail.fd, chunk, offset)
                offset += len(chunk)
            positions.append(position(tail.number, offset))
        return positions

    def sync(self) -> None:
        """Put what was appended on the disk.  Raises SyncFailed."""
        if self._tail is None:
            return None
        while True:
            try:
                return self._fs.fdatasync(self._tail.fd)
            except InterruptedError:
                continue
            except OSError as error:
                raise SyncFailed(error.errno, error.strerror, error.filename) from error

    def sync_segment(self, number: int) -> None:
        """Put a segment on the disk, whoever wrote it."""
        if self._open_tail(number) is not None:
            self.sync()

    def erase(self, end: Mark, *, sync: bool) -> None:
        """Make nothing of whatever stands after ``end`` in its segment."""
        number, offset = unpack(end.position)
        tail = self._open_tail(number)
        if tail is None:
            return
        erased = False
        while True:
            raw = self._fs.pread(tail.fd, _READ_BYTES, offset)
            if not raw:
                break
            kept = raw.rstrip(b"\0")
            if kept:
                write_at(self._fs, tail.fd, bytes(len(kept)), offset)
                erased = True
            offset += len(raw)
        if erased and sync:
            self._fs.fdatasync(tail.fd)

    def rotate(self, end: Mark, *, checkpoint: int) -> tuple[Segment, int]:
        """Begin the segment after the one that ``end`` is in; its offset for the first line.

        Whatever stands in an earlier segment after ``end`` is void from here on.
        Both segments are synced whatever the handle's durability, so that
        syncing its own segment is all that a commit ever has to do.
        """
        number, _ = unpack(end.position)
        self.sync_segment(number)
        fs, number = self._fs, number + 1
        text, _seed = record.header_line(number, end.revision + 1, checkpoint, self._store_id)
        path = self.path(number)
        # A crash may have left the file of a rotation that never came to be used.
        fd = make_file(fs, path, os.O_RDWR | os.O_TRUNC, self._layout.file_mode)
        try:
            write_at(fs, fd, text.ljust(SEGMENT_MIN, b"\0"), 0)
            fs.fsync(fd)
            sync_folder(fs, self._layout.journal)
        except BaseException:
            let_go(fs, fd)
            try:
                fs.unlink(path)
            except OSError:
                pass  # it holds no line; the next rotation begins it anew
            raise
        let_go(fs, fd)
        tail = self._open_tail(number)
        if tail is None:
            raise OSError(errno.EIO, "the new segment cannot be read back", path)
        return tail, len(text)

    def restore(self, end: Mark) -> bool:
        """Write the segment that ``end`` is in anew, if somebody removed it while it was open.

        Whether he did.  Other handles may append to the one that was removed: go on in the next,
        see :meth:`rotate`.  Raises OSError.
        """
        fs, (number, _) = self._fs, unpack(end.position)
        path, tail = self.path(number), self._tail
        if tail is None or tail.number != number or fs.exists(path):
            return False
        made = make_folder(fs, self._layout.journal, self._layout.folder_mode)
        tmp = f"{self._layout.tmp}/journal-{number}"
        raw = read_at(fs, tail.fd, 0, fs.fstat(tail.fd).st_size)
        fd = make_file(fs, tmp, os.O_WRONLY | os.O_TRUNC, self._layout.file_mode)
        try:
            write_at(fs, fd, raw, 0)
            fs.fsync(fd)
        finally:
            let_go(fs, fd)
        fs.rename(tmp, path)
        sync_folder(fs, self._layout.journal)
        if made:
            sync_folder(fs, self._layout.runtime)
        return True

    def _reserve(self, tail: Segment, need: int, *, may_use_reserve: bool) -> None:
        """Have zeros on the disk's books for ``need`` bytes and the reserve behind them."""
        self._size = self._fs.fstat(tail.fd).st_size  # another process may have grown it
        if need + RESERVE_BYTES <= self._size:
            return
        grow = min(max(self._size, SEGMENT_MIN), _GROW_MAX)
        target = need + RESERVE_BYTES + grow
        try:
            at = self._size
            while at < target:
                piece = min(_GROW_MAX, target - at)
                write_at(self._fs, tail.fd, bytes(piece), at)
                at += piece
        except OSError as error:
            self._size = self._fs.fstat(tail.fd).st_size
            if error.errno != errno.ENOSPC or not may_use_reserve or need > self._size:
                raise
            return
        self._size = target

    def _is_full(self, tail: Segment, offset: int, revision: int) -> bool:
        """Whether the retention wants the next segment begun, though this one has room."""
        if offset >= self._most:
            return revision >= tail.header.first
        retention = self._retention
        if retention is None or revision < tail.header.first:
            return False
        commits, seconds = retention.segment_commits, retention.segment_seconds
        if commits is not None and revision - tail.header.first + 1 >= commits:
            return True
        if seconds is None:
            return False
        if self._tail_begun is None:
            self._tail_begun = self.begun(tail.number)
        return self._tail_begun is not None and time.time() - self._tail_begun >= seconds

    def _open_tail(self, number: int) -> Segment | None:
        if self._tail is not None and self._tail.number == number:
            return self._tail
        self.close_tail()
        self._tail = self._open(number, os.O_RDWR)
        self._tail_begun = None
        return self._tail

    # -- reading --------------------------------------------------------------

    def read(self, start: Mark, end: Mark) -> Iterator[tuple[Commit, Mark]]:
        """The commits after ``start`` up to ``end``, each with the mark after it.

        Both are marks that the shared state has told.  Raises Corrupt when a
        line between them is bad, NotFoundError of the system when a segment is gone.
        """
        for payload, mark, path, at in self._objects(start, end):
            yield _commit(payload, path, at), mark

    def keys(self, start: Mark, end: Mark, most: int | None = None) -> set[Key]:
        """The documents that those commits changed, and maybe others; ``most``: stops at so many.

        Raises as :meth:`read`.
        """
        found: set[Key] = set()
        for payload, _, path, at in self._objects(start, end):
            try:
                for key in record.keys_in(payload):
                    found.add(key)
                    if len(found) == most:
                        return found
            except (ValueError, KeyError, TypeError) as error:
                raise record.bad_line(path, at) from error
        return found

    def outlines(self, start: Mark, end: Mark) -> Iterator[record.Outline]:
        """Those commits without their documents; each is used up before the next is asked for.

        Raises as :meth:`read`, also while the ops are gone through.
        """
        for payload, _, path, at in self._objects(start, end):
            try:
                outline = record.outline(payload)
            except (ValueError, KeyError, TypeError) as error:
                raise record.bad_line(path, at) from error
            yield outline._replace(ops=_good(outline.ops, path, at))

    def news(self, start: Mark, end: Mark) -> News:
        """The same, each parsed no further than somebody asks.  Raises as :meth:`read`."""
        told = self._next(start, end)
        if told is not None:
            return News((told,))
        return News(
            [told_by(payload, path, at) for payload, _, path, at in self._objects(start, end)]
        )

    def _next(self, start: Mark, end: Mark) -> Told | None:
        """What a line tells that is all there is between; None for whatever is not so simple.

        For who follows commit by commit, beside a writer, with few calls of functions.
        """
        number, offset = unpack(start.position)
        last, stop = unpack(end.position)
        segment = self._reader
        if segment is None or not segment.number == number == last:
            return None
        if end.revision != start.revision + 1 or not 0 < stop - offset <= _PIECE_BYTES:
            return None
        found = record.plain_line(
            self._fs.pread(segment.fd, stop - offset, offset), segment.header.seed
        )
        if found is None or found[1].revision != end.revision:
            return None
        return plainly_told(*found, self.path(number), offset)

    def _objects(self, start: Mark, end: Mark) -> Iterator[tuple[record.Object, Mark, str, int]]:
        """The objects of those commits, with the mark after each, and where it stands.

        Raises as :meth:`read`.
        """
        number, offset = unpack(start.position)
        last, stop = unpack(end.position)
        if number == 0:
            number = 1
        expected = start.revision + 1
        if number < last and self._open_reader(number) is None:
            number, offset = self._begin_later(number, last, expected)
        while number <= last:
            path = self.path(number)
            segment = self._open_reader(number)
            following = self.header(number + 1) if number < last else None
            if segment is None or (number < last and following is None):
                raise Corrupt(
                    f"{path}: a journal segment from here on is missing or has no good header",
                    path=path,
                )
            # What the next segment counts again is void in this one.
            void = following.first if following is not None else end.revision + 1
            upto = stop if number == last else None
            for line in self._lines(segment, offset, upto, segment.header.seed):
                if line.start == 0 or expected >= void:
                    continue  # the header, or an end that counts no more
                if line.payload is None or record.is_checkpoint(line.payload):
                    continue  # a bad line is noticed by the revision that it swallowed
                revision = _revision(line.payload, path, line.start)
                if revision < expected:
                    continue
                if revision > expected:
                    raise record.bad_line(path, line.start)
                expected += 1
                yield line.payload, Mark(revision, position(number, line.end)), path, line.start
            if expected < void:
                raise record.bad_line(path, stop if number == last else self.size(number))
            number, offset = number + 1, 0

    def lines(self, number: int, start: int, stop: int, seed: int) -> Iterator[record.Line]:
        """The lines of a segment between two places where lines begin; see record.lines.

        ``seed``: of its header, when that was looked at.  Raises FileNotFoundError.
        """
        segment = self._open_reader(number)
        if segment is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(number))
        return self._lines(segment, start, stop, seed)

    def _lines(
        self, segment: Segment, start: int, stop: int | None, seed: int
    ) -> Iterator[record.Line]:
        """The same, to the end where there is no ``stop``: in pieces, and long lines as such."""
        fs, fd = self._fs, segment.fd
        if stop is None:
            stop = fs.fstat(fd).st_size
        at = start
        while at < stop:
            raw = read_at(fs, fd, at, min(_PIECE_BYTES, stop - at))
            size = raw.rfind(b"\n") + 1
            if at + len(raw) < stop and len(raw) == _PIECE_BYTES:
                if not size:
                    line = self._long_line(fd, at, stop, seed)
                    if line is not None:
                        del raw  # whoever is told goes through it meanwhile
                        yield line
                        at = line.end
                        continue
                    raw = read_at(fs, fd, at, stop - at)  # what is no line ends nobody knows where
                else:
                    raw = raw[:size]
            for begin, end, payload in record.lines(raw, seed, 0):
                yield record.Line(at + begin, at + end, payload)
            if not raw:
                return
            at += len(raw)

    def _long_line(self, fd: int, start: int, stop: int, seed: int) -> record.Line | None:
        """A good line that begins here; it is read again whenever its object is asked for."""
        found = record.long_line(partial(self._pieces, fd, start, stop), seed)
        if found is None:
            return None
        size, head = found
        end = start + size
        read = partial(self._pieces, fd, start + record.FRAME, end - 1)
        return record.Line(start, end, record.Long(head, read))

    def _pieces(self, fd: int, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            raw = read_at(self._fs, fd, start, min(_CHUNK_BYTES, stop - start))
            if not raw:
                return
            yield raw
            start += len(raw)

    def _begin_later(self, number: int, last: int, expected: int) -> tuple[int, int]:
        """Where to read on from the end of a segment that was dropped since."""
        for later in range(number + 1, last + 1):
            header = self.header(later)
            if header is not None:
                return (later, 0) if header.first <= expected else (number, 0)
        return number, 0

    def raw(self, number: int) -> bytes | None:
        """The whole of a segment; None where it is not there."""
        fs = self._fs
        try:
            fd = fs.open(self.path(number), os.O_RDONLY | _SAFELY)
        except FileNotFoundError:
            return None
        try:
            return read_at(fs, fd, 0, fs.fstat(fd).st_size)
        finally:
            let_go(fs, fd)

    def size(self, number: int) -> int:
        """How many bytes a segment has.  Raises FileNotFoundError."""
        return self._fs.lstat(self.path(number)).st_size

    def _open_reader(self, number: int) -> Segment | None:
        if self._reader is not None and self._reader.number == number:
            return self._reader
        self.close_reader()
        self._reader = self._open(number, os.O_RDONLY)
        return self._reader

    def _open(self, number: int, flags: int) -> Segment | None:
        if number <= 0:
            return None
        fs = self._fs
        try:
            fd = fs.open(self.path(number), flags | _SAFELY)
        except FileNotFoundError:
            return None
        try:
            header = record.parse_header(fs.pread(fd, 4096, 0))
        except BaseException:
            let_go(fs, fd)
            raise
        if header is None:
            let_go(fs, fd)
            return None
        return Segment(number, fd, header)

    def header(self, number: int) -> record.Header | None:
        """A segment's header, None where there is no good one."""
        segment = self._open(number, os.O_RDONLY)
        if segment is None:
            return None
        let_go(self._fs, segment.fd)
        return segment.header

    def begun(self, number: int) -> float | None:
        """When the first commit of a segment was made; None where there is none."""
        segment = self._open(number, os.O_RDONLY)
        if segment is None:
            return None
        try:
            return record.begun(self._fs.pread(segment.fd, 4096, 0))
        finally:
            let_go(self._fs, segment.fd)

    def close_tail(self) -> None:
        """Have the next append look anew at what it appends to.  Under the write lock."""
        # Forgotten first: an interrupt must not leave a closed one here.
        tail, self._tail = self._tail, None
        self._size = 0
        if tail is not None:
            let_go(self._fs, tail.fd)

    def close_reader(self) -> None:
        """Have the next reading look anew at what it reads."""
        reader, self._reader = self._reader, None
        if reader is not None:
            let_go(self._fs, reader.fd)

    def close(self) -> None:
        """Close the descriptors; they are opened again when needed."""
        try:
            self.close_tail()
        finally:
            self.close_reader()


def _good(ops: Iterable[T], path: str, at: int) -> Iterator[T]:
    """The ops of a line; raises Corrupt where it comes to one that is none."""
    try:
        yield from ops
    except (ValueError, KeyError, TypeError) as error:
        raise record.bad_line(path, at) from error


def _revision(payload: record.Object, path: str, at: int) -> int:
    try:
        return record.revision_of(payload)
    except (ValueError, KeyError, TypeError) as error:
        raise record.bad_line(path, at) from error


def _commit(payload: record.Object, path: str, at: int) -> Commit:
    try:
        return record.parse_commit(payload)[0]
    except (ValueError, KeyError, TypeError) as error:
        raise record.bad_line(path, at) from error
