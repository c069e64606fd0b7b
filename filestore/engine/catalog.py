"""What each document's file was like when the store last knew it.  Pure: no input, no output.

Comparing the tree with the catalog finds what was edited while nobody watched,
and reads only what was touched.  The catalog is a hint that can be lost: one
that is damaged, of another store or another history is thrown away and made
anew, and what it says of a file counts only as long as the file's signature is
the same.

In memory it is a saved *table*, mapped, and beside it what has changed since.
Grammar of a table, all numbers little-endian::

    table  = header *row text
    header = magic flags:32 rows:32 text-bytes:64 garbage:64 revision:64 time:64
             store:16 bytes  checksum:64                       80 bytes
    row    = modified:64 changed:64 inode:64 size:32 at:32 etag:16 bytes
    text   = *(length:16 name) *NUL                            up to a multiple of 8
    magic  = "fscatlg" and the version, a byte: 1

Rows are in the order of their names, so that one is found by bisection.  A name
is a path below the root, ASCII; ``at`` is where it stands in the text, and
``garbage`` counts the bytes of names that no row has any more.  A row of which
all but name and etag is 0 tells no signature: the file must be read.
``revision`` is that of the newest commit that the rows tell of, and ``time`` that
commit's: a journal with another time at this revision is another history.
``store`` is the hash of the store's id, ``checksum`` the CRC-32 of all but itself;
bit 0 of ``flags`` says that the whole tree was gone through.

Example: an empty table is a header whose only numbers that are not 0 are the
magic, the flags, the store and the checksum.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from filestore.engine.written import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filestore.engine.tree import Signature

MAGIC: Final = b"fscatlg\x01"
_HEADER: Final = struct.Struct("<8sIIQQQd16sQ")
_HEAD: Final = _HEADER.size
_ROW: Final = struct.Struct("<QQQII16s")
_SIZE: Final = _ROW.size
_AT: Final = struct.Struct("<I")
_AT_OFFSET: Final = 28
_TIMES: Final = struct.Struct("<QQ")
_LENGTH: Final = struct.Struct("<H")
_COMPLETE: Final = 1

UNSEEN: Final[Signature] = (0, 0, 0, 0)
"""The signature of a file that must be read to know what it holds."""


def _packed(known: Known) -> bytes:
    """As a row without a name: a tuple of numbers takes four times the memory."""
    (modified, changed, inode, size), etag = known.signature, known.etag
    try:
        return _ROW.pack(modified, changed, inode, size, 0, etag)
    except struct.error:  # of another century, or too large: the file must be read
        return _ROW.pack(*UNSEEN, 0, etag)


def _unpacked(row: bytes | memoryview, at: int = 0) -> Known:
    modified, changed, inode, size, _, etag = _ROW.unpack_from(row, at)
    return Known(etag, (modified, changed, inode, size))


class Point(NamedTuple):
    """A commit: its revision and its time, which tells histories apart."""

    revision: int
    time: float


START: Final = Point(0, 0.0)


def store_hash(store_id: str) -> bytes:
    return hashlib.blake2b(store_id.encode(), digest_size=16).digest()


class Table:
    """A saved catalog, looked up where it lies: in a mapping or in bytes."""

    __slots__ = ("_data", "_text", "complete", "count", "garbage", "point", "store")

    def __init__(self, data: memoryview) -> None:
        """Raises ValueError for what is no table of this version, whole and undamaged."""
        if len(data) < _HEAD:
            raise ValueError("too short")
        rows: int
        text: int
        magic, flags, rows, text, garbage, revision, time, store, checksum = _HEADER.unpack_from(
            data
        )
        if magic != MAGIC:
            raise ValueError("not a catalog of this version")
        if len(data) != _HEAD + rows * _SIZE + text:
            raise ValueError("not as long as it says")
        head = zlib.crc32(data[: _HEAD - 8])
        if checksum != zlib.crc32(data[_HEAD:], head):
            raise ValueError("the checksum is wrong")
        self._data = data
        self._text = _HEAD + rows * _SIZE
        self.count: int = rows
        self.garbage: int = garbage
        self.point = Point(revision, time)
        self.store: bytes = store
        self.complete = bool(flags & _COMPLETE)

    @property
    def text_bytes(self) -> int:
        return len(self._data) - self._text

    def name(self, index: int) -> bytes:
        data = self._data
        at: int = self._text + _AT.unpack_from(data, _HEAD + index * _SIZE + _AT_OFFSET)[0]
        size: int = _LENGTH.unpack_from(data, at)[0]
        return bytes(data[at + 2 : at + 2 + size])

    def known(self, index: int) -> Known:
        return _unpacked(self._data, _HEAD + index * _SIZE)

    def lower(self, name: bytes, start: int = 0) -> int:
        """The first row from ``start`` on that is not before ``name``.

        What is near is found sooner: whoever asks in order pays little.
        """
        low, high, step = start, start, 1
        while high < self.count and self.name(high) < name:
            low, high, step = high + 1, high + step, step * 2
        high = min(high, self.count)
        while low < high:
            middle = (low + high) // 2
            if self.name(middle) < name:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, name: bytes, start: int = 0) -> tuple[int, bool]:
        """Where the name is or would be, and whether it is there."""
        index = self.lower(name, start)
        return index, index < self.count and self.name(index) == name

    def rows(self, start: int, stop: int) -> memoryview:
        """Rows as they lie."""
        return self._data[_HEAD + start * _SIZE : _HEAD + stop * _SIZE]

    @property
    def text(self) -> memoryview:
        return self._data[self._text :]


class Catalog:
    """A table and what has changed since; not safe for threads.

    ``complete``: whether a document that is not in it was not there; else the tree has not
    been gone through since the catalog was begun.  ``point``: the commit that it is of.
    """

    def __init__(self, table: Table | None = None) -> None:
        self._table = table
        self._changed: dict[str, bytes | None] = {}  # as rows
        self.complete = table is not None and table.complete
        self.point = table.point if table is not None else START

    def __len__(self) -> int:
        """About how many documents it knows."""
        return (self._table.count if self._table is not None else 0) + len(self._changed)

    @property
    def changes(self) -> int:
        """How much is in memory only."""
        return len(self._changed)

    def get(self, name: str) -> Known | None:
        if name in self._changed:
            row = self._changed[name]
            return None if row is None else _unpacked(row)
        table = self._table
        if table is None:
            return None
        index, found = table.find(name.encode())
        return table.known(index) if found else None

    def put(self, name: str, known: Known) -> None:
        self._changed[name] = _packed(known)

    def remove(self, name: str) -> None:
        if self._table is None:
            self._changed.pop(name, None)
        else:
            self._changed[name] = None

    def comparison(self, below: str = "") -> Comparison:
        """Begin to compare a part of the tree: ``below`` is a folder with a slash, or all."""
        return Comparison(self._table, self._changed, below)

    def encode(self, store: bytes, settled_ns: int) -> Iterator[bytes | memoryview]:
        """The catalog as a table, in pieces.

        A file that was touched at ``settled_ns`` or later may have been touched again in
        the same tick: its row tells no signature (as in git's index).
        """
        rows, text, garbage = self._merged(settled_ns)
        text.add(bytes(-text.size % 8))
        flags = _COMPLETE if self.complete else 0
        count = rows.size // _SIZE
        head = _HEADER.pack(MAGIC, flags, count, text.size, garbage, *self.point, store, 0)[:-8]
        checksum = zlib.crc32(head)
        for part in (*rows.parts, *text.parts):
            checksum = zlib.crc32(part, checksum)
        yield head + checksum.to_bytes(8, "little")
        yield from rows.parts
        yield from text.parts

    def _merged(self, settled_ns: int) -> tuple[_Pieces, _Pieces, int]:
        """Rows and names; those that did not change are copied as they lie."""
        table = self._table
        rows, text = _Pieces(), _Pieces()
        garbage = 0
        fresh = self._changed
        if table is not None and table.garbage * 4 > table.text_bytes:
            # Too many names that nobody has: write all of them anew.
            everything = {
                table.name(i).decode(): bytes(table.rows(i, i + 1)) for i in range(table.count)
            }
            fresh, table = {**everything, **fresh}, None
        if table is not None:
            text.copy(table.text)
            garbage = table.garbage
        done = 0
        for each in sorted(fresh):  # texts are in the order of their bytes
            row, name = fresh[each], each.encode()
            old = None
            if table is not None:
                index, found = table.find(name, done)
                rows.copy(table.rows(done, index))
                done = index + found
                if found:
                    old = _AT.unpack_from(table.rows(index, done), _AT_OFFSET)[0]
            if row is None:
                garbage += len(name) + 2 if old is not None else 0
                continue
            if old is None:
                old = text.size
                text.add(_LENGTH.pack(len(name)) + name)
            rows.add(_row(row, old, settled_ns))
        if table is not None:
            rows.copy(table.rows(done, table.count))
        return rows, text, garbage


class _Pieces:
    """Bytes put together of what lies somewhere already and of what is made, without an object
    for each of thousands.
    """

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[memoryview | bytearray] = []
        self._made: bytearray | None = None  # the last part, where it may grow

    def copy(self, data: memoryview) -> None:
        """Append what is not to change before it is written."""
        if data.nbytes:
            self._parts.append(data)
            self._made = None
            self.size += data.nbytes

    def add(self, data: bytes) -> None:
        """Append what was made."""
        if self._made is None:
            self._made = bytearray()
            self._parts.append(self._made)
        self._made += data
        self.size += len(data)

    @property
    def parts(self) -> list[memoryview]:
        return [memoryview(part) for part in self._parts]


def _row(row: bytes, at: int, settled_ns: int) -> bytes:
    """The row, with its name's place, and no signature if that may not last."""
    modified, changed = _TIMES.unpack_from(row)
    signature = bytes(_AT_OFFSET) if max(modified, changed) >= settled_ns else row[:_AT_OFFSET]
    return b"%b%b%b" % (signature, _AT.pack(at), row[_AT_OFFSET + 4 :])


Differing: TypeAlias = "tuple[str, Known | None]"
"""A name, and what the catalog says of it."""


class Comparison:
    """One pass over a part of the tree: what is told to :meth:`look` is ticked off."""

    def __init__(self, table: Table | None, changed: dict[str, bytes | None], below: str) -> None:
        self._table = table
        self._changed = changed
        self._below = below
        self._first = self._last = 0
        if table is not None and below:
            prefix = below.encode()
            self._first = table.lower(prefix)
            self._last = table.lower(prefix[:-1] + bytes([prefix[-1] + 1]), self._first)
        elif table is not None:
            self._last = table.count
        self._ticks = bytearray(self._last - self._first)
        self._ticked: set[str] = set()

    def look(
        self, names: list[str], ask: Callable[[list[str]], Iterable[Signature | None]]
    ) -> list[Differing]:
        """Of these files, those that are not what the catalog says, or not in it.

        ``ask`` tells the signatures of files: those that the catalog has not are read anyway.
        """
        table, changed, ticked = self._table, self._changed, self._ticked
        names.sort()
        new: list[Differing] = []
        known: list[Known] = []
        there: list[str] = []
        at = self._first
        for name in names:
            found = False
            if table is not None:
                at, found = table.find(name.encode(), at)
                if found and self._first <= at < self._last:
                    self._ticks[at - self._first] = 1
            row = changed.get(name, b"")
            if row:
                ticked.add(name)
                known.append(_unpacked(row))
                there.append(name)
            elif table is not None and found and row is not None:
                known.append(table.known(at))
                there.append(name)
            else:
                new.append((name, None))
                ticked.add(name)  # it is about to be put among the changed
        if not there:
            return new
        differ: list[Differing] = [
            (name, each)
            for name, each, signature in zip(there, known, ask(there), strict=True)
            if each.signature != signature
        ]
        ticked.update(name for name, _ in differ)
        return sorted([*new, *differ], key=itemgetter(0)) if new else differ

    def missing(self) -> Iterator[Differing]:
        """Those that were not told of: their files are gone."""
        table = self._table
        if table is not None:
            at = self._ticks.find(0)
            while at >= 0:
                name = table.name(self._first + at).decode()
                if name not in self._changed:
                    yield name, table.known(self._first + at)
                at = self._ticks.find(0, at + 1)
        for name in list(self._changed):
            row = self._changed[name]
            if row is not None and name not in self._ticked and name.startswith(self._below):
                yield name, _unpacked(row)
