"""An index that does not change: ids, and for each field the ids by the hash of its value.

It is one run of bytes, in memory or mapped from a file, that is bisected where it lies
and never loaded.  A document costs its id, 4 bytes, and 8 bytes a field.  The parts::

    offsets   4 bytes for each id and one more: where it begins in the text
    text      the ids' UTF-8, in the order of the ids
    column    for each field: 8 bytes for each document that has it, ``hash << 32 | row``, sorted

A *row* is an id's place in that order.  Numbers have the machine's byte order.  Only the hash
of a value is kept, so what is found is a *candidate*: it has to be read and compared.
Nothing that has the value is missing.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_MOST: Final = 1 << 32  # ids, and bytes of their text
ROW: Final = _MOST - 1
_BITS: Final = 32  # of a hash
_BUCKET_BITS: Final = 4  # a bucket has 8 to 16 entries
_NUMBER: Final = struct.Struct("<I").unpack
FEW: Final = 8  # entries of a run that are counted one by one

Hashes: TypeAlias = "tuple[int | None, ...]"
"""Of one document: the hash of each field's value, None where it has no such field."""


def hashing(salt: bytes) -> Callable[[bytes], int]:
    """What makes 32 bits of a value's canonical bytes.

    Whoever names volumes must not be able to make them all collide: hence the salt of 16 bytes.
    """
    copy = blake2b(digest_size=4, salt=salt).copy

    def hashed(data: bytes) -> int:
        state = copy()
        state.update(data)
        digest: int = _NUMBER(state.digest())[0]
        return digest

    return hashed


class Image:
    """See the module.  Safe for threads."""

    __slots__ = ("_buckets", "_shift", "columns", "count", "offsets", "text")

    def __init__(
        self, offsets: memoryview, text: bytes | memoryview, columns: Sequence[memoryview]
    ) -> None:
        """``text``: as bytes, ids are cut out of it in a third of the time."""
        self.offsets = offsets
        self.text = text
        self.columns = tuple(columns)
        self.count = max(0, len(offsets) - 1)
        # Where the hashes of each bucket begin in a column: hashes are spread evenly, so that a
        # bisection begins within some entries of its end, and touches little memory.
        self._shift = _BITS - max(0, self.count.bit_length() - _BUCKET_BITS)
        self._buckets: list[array[int] | None] = [None] * len(self.columns)

    @property
    def nbytes(self) -> int:
        """The bytes of all parts."""
        guides = sum(len(starts) * starts.itemsize for starts in self._buckets if starts)
        return guides + len(self.text) + sum(part.nbytes for part in (self.offsets, *self.columns))

    def span(self, column: int, digest: int) -> tuple[int, int]:
        """Where in a column the candidates for a value's hash begin and end."""
        entries = self.columns[column]
        low = high = bisect_left(entries, digest << 32)
        most, end = low + FEW, len(entries)
        while high < end and entries[high] >> 32 == digest:
            high += 1
            if high == most:
                return low, bisect_left(entries, (digest + 1) << 32, high)
        return low, high

    def rows(self, column: int, low: int, high: int) -> list[int]:
        """The rows there, ascending."""
        return [entry & ROW for entry in self.columns[column][low:high].tolist()]

    def ids(self, rows: Iterable[int]) -> list[str]:
        """The ids in these rows."""
        offsets, text = self.offsets, self.text
        if isinstance(text, bytes):
            return [text[offsets[row] : offsets[row + 1]].decode() for row in rows]
        return [str(text[offsets[row] : offsets[row + 1]], "utf-8") for row in rows]

    def found(self, column: int, digest: int) -> list[str]:
        """The candidates for a value's hash, ascending."""
        entries = self.columns[column]
        starts = self._buckets[column] or self._guide(column)
        bucket = digest >> self._shift
        low = bisect_left(entries, digest << 32, starts[bucket], starts[bucket + 1])
        rows: list[int] = []
        for entry in entries[low : low + FEW].tolist():
            if entry >> 32 != digest:
                break
            rows.append(entry & ROW)
        return self.several(column, digest) if len(rows) == FEW else self.ids(rows)

    def _guide(self, column: int) -> array[int]:
        """Make a column's buckets, when it is first asked."""
        entries, shift, low = self.columns[column], self._shift + 32, 0
        starts = array("I", [0])
        for bucket in range(1, 1 << (_BITS - self._shift)):
            low = bisect_left(entries, bucket << shift, low)
            starts.append(low)
        starts.append(len(entries))
        self._buckets[column] = starts
        return starts

    def several(self, column: int, digest: int) -> list[str]:
        """The same, however many there are."""
        low, high = self.span(column, digest)
        if low == high:
            return []
        return self.ids(self.rows(column, low, high))

    def all_ids(self) -> list[str]:
        """Every id, ascending."""
        text = bytes(self.text)
        return [
            str(text[begin:end], "utf-8")
            for begin, end in itertools.pairwise(self.offsets.tolist())
        ]

    def check(self) -> None:
        """Look at every byte; for an image whose bytes somebody else may have touched."""

    def whole(self) -> Image:
        """The same, with every byte looked at, and quicker for it."""
        return self


def build(documents: Iterable[tuple[str, Hashes]], columns: int, *, bare: bool = False) -> Image:
    """An image of documents, each id once and ascending.

    Ids without any of the fields are left out unless ``bare``.
    Raises OverflowError for more than an image can hold: 4 GiB of ids.
    """
    ids: list[bytes] = []
    entries: list[list[int]] = [[] for _ in range(columns)]
    for id, hashes in documents:
        row, kept = len(ids), bare
        for column, digest in zip(entries, hashes, strict=True):
            if digest is not None:
                column.append(digest << 32 | row)
                kept = True
        if kept:
            ids.append(id.encode())
    return _assemble(ids, entries)


def merge(older: Image, newer: Image, *, bare: bool) -> Image:
    """Both in one; what ``newer`` says of an id counts alone.

    ``bare``: keep ids without fields, which say that what an image below has of them is over.
    """
    older.check()
    newer.check()
    columns = len(older.columns)
    new_ids = newer.all_ids()
    ids = older.all_ids()
    over = set(new_ids)
    kept = {id: (0, row) for row, id in enumerate(ids) if id not in over}
    kept.update((id, (1, row)) for row, id in enumerate(new_ids))
    if not bare:
        named = (_named(older), _named(newer))
        kept = {id: place for id, place in kept.items() if named[place[0]][place[1]]}
    moved = (array("q", [-1]) * len(ids), array("q", [-1]) * len(new_ids))
    ordered = sorted(kept)
    for row, id in enumerate(ordered):
        which, was = kept[id]
        moved[which][was] = row
    entries: list[list[int]] = []
    for column in range(columns):
        merged: list[int] = []
        for image, to in zip((older, newer), moved, strict=True):
            merged += [
                (entry & ~ROW) | to[entry & ROW]
                for entry in image.columns[column].tolist()
                if to[entry & ROW] >= 0
            ]
        entries.append(merged)
    return _assemble([id.encode() for id in ordered], entries)


def _named(image: Image) -> bytearray:
    """Which rows some column has."""
    named = bytearray(image.count)
    for column in image.columns:
        for entry in column.tolist():
            named[entry & ROW] = 1
    return named


def _assemble(ids: list[bytes], entries: list[list[int]]) -> Image:
    text = b"".join(ids)
    if len(ids) >= _MOST or len(text) >= _MOST:
        raise OverflowError("an index holds at most 4 GiB of ids")
    offsets = array("I", [0])
    offsets.extend(itertools.accumulate(map(len, ids)))
    ids.clear()
    columns = []
    for column in entries:
        column.sort()
        columns.append(memoryview(array("Q", column)))
        column.clear()
    return Image(memoryview(offsets), text, columns)
