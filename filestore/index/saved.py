"""An index as bytes that are kept between runs, and believed only as far as they were checked.

Grammar, numbers in the machine's byte order::

    file    = magic size:64 length:32 check:32 header *NUL body pages
    magic   = "fsindex" and the version, a byte: 1
    size    = of the file in bytes; length: of the header; check: CRC-32 of size and header
    header  = JSON: {"order": "little" | "big", "collection": C, "revision": R, "token": text,
              "id": hex, "upper_of": hex or null, "salt": hex, "fields": [[name, version], ...],
              "unread": [id, ...], "ids": N, "text": bytes, "entries": [n, ...],
              "pages": CRC-32 of the pages}
    body    = offsets text *column          see filestore.index.image; each padded to 8 bytes
    pages   = *check:32                     CRC-32 of each 8 KiB of the body

``token`` names the commit ``revision``, as the backend knows it: another history has
another.  ``version`` is null for a field of the documents, else that of a computed one.
``unread``: documents that could not be read, which may have any value.

Opening checks the header and the pages' checks; what a look-up touches is checked when
it is first touched, so that a look-up in a million documents reads a dozen pages.
Two files a collection: a lower image, and an upper one of what changed since, which names
the lower by its ``id``.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from filestore.index.image import FEW, Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAGIC: Final = b"fsindex\x01"
_HEAD: Final = struct.Struct("=8sQII")
_SHIFT: Final = 13  # pages of 8 KiB
_PAGE: Final = 1 << _SHIFT
_MANY: Final = 256  # ids that are worth checking all


class Damaged(Exception):
    """The bytes are not those that were saved: never raised to users, who get a new index."""


class Header(NamedTuple):
    """What an index says of itself; see the module."""

    collection: str
    revision: int
    token: str
    id: str
    upper_of: str | None
    salt: bytes
    fields: tuple[tuple[str, str | None], ...]
    unread: tuple[str, ...]


def encode(image: Image, header: Header) -> Iterator[bytes | memoryview]:
    """The bytes of an index file, in parts."""
    body: list[bytes | memoryview] = []
    for part in (image.offsets, memoryview(image.text), *image.columns):
        raw = part.cast("B") if part.format != "B" else part
        body += (raw, bytes(-len(raw) % 8))
    pages = array("I", _checks(body))
    fields = {
        **header._asdict(),
        "salt": header.salt.hex(),
        "order": sys.byteorder,
        "ids": image.count,
        "text": len(image.text),
        "entries": [len(column) for column in image.columns],
        "pages": zlib.crc32(pages),
    }
    trailer = bytes(pages) + bytes(-4 * len(pages) % 8)
    text = orjson.dumps(fields)
    size = _HEAD.size + _padded(len(text)) + sum(len(part) for part in body) + len(trailer)
    yield _HEAD.pack(MAGIC, size, len(text), _check_of(size, text))
    yield text + bytes(-len(text) % 8)
    yield from body
    yield trailer


def decode(data: memoryview) -> tuple[Header, MappedImage]:
    """An index and what it says of itself.  Raises Damaged."""
    if len(data) < _HEAD.size:
        raise Damaged("too short")
    magic, size, length, check = _HEAD.unpack_from(data)
    text = bytes(data[_HEAD.size : _HEAD.size + length])
    if magic != MAGIC or size != len(data):
        raise Damaged("no index of this version, or not as long as it says")
    if len(text) != length or _check_of(size, text) != check:
        raise Damaged("the header's checksum is wrong")
    try:
        return _decode(data, orjson.loads(text), _HEAD.size + _padded(length))
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the header makes no sense: {error}") from error


def _decode(data: memoryview, fields: dict[str, Any], begin: int) -> tuple[Header, MappedImage]:
    if fields["order"] != sys.byteorder:
        raise Damaged("of another machine")
    sizes = [4 * (fields["ids"] + 1), fields["text"], *(8 * count for count in fields["entries"])]
    starts = []
    at = 0
    for size in sizes:
        starts.append(at)
        at += _padded(size)
    count = (at + _PAGE - 1) >> _SHIFT
    pages = data[begin + at : begin + at + 4 * count].cast("I")
    if len(pages) != count or zlib.crc32(pages) != fields["pages"]:
        raise Damaged("the checksum of the checksums is wrong")
    header = Header(
        fields["collection"],
        fields["revision"],
        fields["token"],
        fields["id"],
        fields["upper_of"],
        bytes.fromhex(fields["salt"]),
        tuple((name, version) for name, version in fields["fields"]),
        tuple(fields["unread"]),
    )
    if len(header.fields) != len(fields["entries"]):
        raise Damaged("more columns than fields, or fewer")
    return header, MappedImage(data[begin : begin + at], sizes, starts, pages)


class MappedImage(Image):
    """An image in bytes that others could have touched: each page is checked when it is used."""

    __slots__ = ("_body", "_pages", "_sizes", "_sound", "_starts")

    def __init__(
        self, body: memoryview, sizes: Sequence[int], starts: Sequence[int], pages: memoryview
    ) -> None:
        parts = [body[start : start + size] for start, size in zip(starts, sizes, strict=True)]
        super().__init__(parts[0].cast("I"), parts[1], [column.cast("Q") for column in parts[2:]])
        self._body = body
        self._sizes = sizes
        self._starts = starts
        self._pages = pages
        self._sound = bytearray(len(pages))

    def only(self, columns: Iterable[int]) -> Image:
        """The same with some of the columns, in this order."""
        kept = [0, 1, *(column + 2 for column in columns)]
        if kept == list(range(len(self._sizes))):
            return self
        return MappedImage(
            self._body,
            [self._sizes[part] for part in kept],
            [self._starts[part] for part in kept],
            self._pages,
        )

    def whole(self) -> Image:
        self.check()
        return Image(self.offsets, bytes(self.text), self.columns)

    def span(self, column: int, digest: int) -> tuple[int, int]:
        low = self._bisect(column, digest << 32, 0)
        entries = self.columns[column]
        high, most = low, min(low + FEW, len(entries))
        self._check(column + 2, 8 * low, 8 * most)
        while high < most and entries[high] >> 32 == digest:
            high += 1
        if high == low + FEW:
            high = self._bisect(column, (digest + 1) << 32, high)
        return low, high

    def found(self, column: int, digest: int) -> list[str]:
        return self.several(column, digest)

    def _bisect(self, column: int, wanted: int, low: int) -> int:
        entries = self.columns[column]
        high = len(entries)
        while high - low > _PAGE >> 3:
            middle = (low + high) // 2
            self._check(column + 2, 8 * middle, 8 * middle + 8)
            if entries[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        self._check(column + 2, 8 * low, 8 * high)
        return bisect_left(entries, wanted, low, high)

    def rows(self, column: int, low: int, high: int) -> list[int]:
        self._check(column + 2, 8 * low, 8 * high)
        rows = super().rows(column, low, high)
        if rows and max(rows) >= self.count:
            raise Damaged("a row that is not there")
        return rows

    def ids(self, rows: Iterable[int]) -> list[str]:
        rows = list(rows)
        if len(rows) > _MANY:
            self._check(0, 0, self._sizes[0])
            self._check(1, 0, self._sizes[1])
        else:
            for row in rows:
                self._check(0, 4 * row, 4 * row + 8)
                self._check(1, self.offsets[row], self.offsets[row + 1])
        return super().ids(rows)

    def check(self) -> None:
        for part, size in enumerate(self._sizes):
            self._check(part, 0, size)

    def _check(self, part: int, begin: int, end: int) -> None:
        """Check the pages that bytes of a part stand in.  Raises Damaged."""
        if begin >= end:
            return
        start = self._starts[part]
        for page in range((start + begin) >> _SHIFT, ((start + end - 1) >> _SHIFT) + 1):
            if not self._sound[page]:
                raw = self._body[page << _SHIFT : (page + 1) << _SHIFT]
                if zlib.crc32(raw) != self._pages[page]:
                    raise Damaged(f"the checksum of page {page} is wrong")
                self._sound[page] = 1


def _check_of(size: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(size.to_bytes(8, sys.byteorder)))


def _checks(parts: Iterable[bytes | memoryview]) -> Iterator[int]:
    """The CRC-32 of each page of the parts joined."""
    check, room = 0, _PAGE
    for part in parts:
        at = 0
        while at < len(part):
            piece = part[at : at + room]
            check = zlib.crc32(piece, check)
            at += len(piece)
            room -= len(piece)
            if not room:
                yield check
                check, room = 0, _PAGE
    if room < _PAGE:
        yield check


def _padded(size: int) -> int:
    return (size + 7) & ~7
