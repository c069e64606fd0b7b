"""The file or device that is a volume's data: read without its holes, and written with them."""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from filestore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ZEROS: Final = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a volume that is not all zeros."""

    offset: int
    data: bytes


class VolumeFile:
    """A volume's data behind a file object: a regular file, a device, or anything that seeks.

    The object stays its caller's to close.  What it has buffered is written first; where it
    stands afterwards is not told.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.flush()
        self._data = _data_of(file)
        self.size = self._data.size()

    def chunks(self, length: int) -> Iterator[Chunk]:
        """The data in order, in pieces of at most ``length`` bytes, without holes and zeros.

        Pieces end at multiples of ``length``; where the file system does not tell its holes,
        whole pieces of zeros are left out.  Raises StorageError, also when the file gets shorter.
        """
        zeros = bytes(length)
        for begin, end in self._data.regions(0, self.size):
            at = begin
            while at < end:
                data = self._read(at, min(length - at % length, end - at))
                if data != zeros[: len(data)]:
                    yield Chunk(at, data)
                at += len(data)

    def _read(self, offset: int, length: int) -> bytes:
        pieces = []
        while length:
            try:
                piece = self._data.read(offset, length)
            except OSError as error:
                raise StorageError(
                    f"the volume's file cannot be read at {offset}: {error.strerror or error}",
                    errno=error.errno,
                ) from error
            if not piece:
                raise StorageError(
                    f"the volume's file got shorter than {self.size} bytes while it was read:"
                    " back the volume up while nobody changes it",
                    errno=errno.EIO,
                )
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def require_room(self, size: int) -> None:
        """Raise StorageError for a device that is smaller than ``size``."""
        if self.size < size and not self._data.grows:
            raise StorageError(
                f"the volume has {self.size} bytes, and the backup is of one of {size}:"
                " restore to a larger volume",
                errno=errno.ENOSPC,
            )

    def write(self, chunks: Iterable[Chunk], size: int, *, blank: bool) -> None:
        """Make the first ``size`` bytes what ``chunks`` hold, with zeros in between.

        ``blank``: it reads as zeros throughout.  What lies behind ``size`` stays.  A regular
        file gets holes for the zeros, but where a longer one has data.  On the disk on return.
        Raises OSError, and what ``chunks`` does.
        """
        if self._data.grows and self.size <= size:
            # All of it is replaced: then nothing of it need be overwritten with zeros.
            self._data.truncate(0)
            self._data.truncate(size)
            blank = True
        at = 0
        for chunk in chunks:
            if not blank:
                self._blank(at, chunk.offset)
            self._data.write(chunk.offset, chunk.data)
            at = chunk.offset + len(chunk.data)
        if not blank:
            self._blank(at, size)
        self._data.sync()

    def _blank(self, begin: int, end: int) -> None:
        """Write zeros where there may be anything else."""
        for first, last in list(self._data.regions(begin, end)):
            for at in range(first, last, len(_ZEROS)):
                self._data.write(at, _ZEROS[: min(len(_ZEROS), last - at)])


class _Data(Protocol):
    """Bytes at offsets."""

    grows: bool

    def size(self) -> int: ...

    def regions(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Where there may be anything but zeros, in order."""

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None: ...


def _data_of(file: BinaryIO) -> _Data:
    try:
        fd = file.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return _ObjectData(file)
    return _DescriptorData(fd)


class _DescriptorData:
    """A file or device of the system, whose descriptor's offset is left where it was."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.grows = self._tells_holes = stat.S_ISREG(os.fstat(fd).st_mode)

    def size(self) -> int:
        return self._seek(0, os.SEEK_END)

    def regions(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        while begin < end:
            first, last = self._region(begin) if self._tells_holes else (begin, end)
            if first >= end:
                return
            yield first, min(last, end)
            begin = last

    def _region(self, offset: int) -> tuple[int, int]:
        """The first region with data at or behind an offset."""
        try:
            first = self._seek(offset, os.SEEK_DATA)
            return first, self._seek(first, os.SEEK_HOLE)
        except OSError as error:
            size = self.size()
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return size, size
            if error.errno == errno.EINVAL:  # holes are not told here
                return offset, size
            raise

    def _seek(self, offset: int, whence: int) -> int:
        # The file object believes that it knows where its descriptor stands.
        before = os.lseek(self._fd, 0, os.SEEK_CUR)
        try:
            return os.lseek(self._fd, offset, whence)
        finally:
            os.lseek(self._fd, before, os.SEEK_SET)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._fd, left, offset)
            left = left[written:]
            offset += written

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)


class _ObjectData:
    """A file object that is no file of the system."""

    grows = True

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def size(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def regions(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        end = min(end, self.size())
        if begin < end:
            yield begin, end

    def read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)

    def write(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def truncate(self, size: int) -> None:
        self._file.truncate(size)
        if self.size() < size:  # some objects are only cut by it
            self.write(size - 1, b"\0")

    def sync(self) -> None:
        self._file.flush()
