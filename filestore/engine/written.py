"""What bulk commits of this handle wrote: which file, with which content.

Their documents are not kept in memory, for they are many and most are not read soon.  But the
catalog wants to know them for what they are, without reading them.  What is noted is about
that very file and stays true whatever becomes of the document: another file, or the same one
when it was touched, has another signature.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from filestore.engine.tree import FileEntry, Signature

_MOST: Final = 1 << 16
_ROW: Final = struct.Struct("<qqQq16s")  # packed: a tuple of numbers takes three times as much


class Known(NamedTuple):
    """What a document was, and its file when it was that.  ``etag``: the hash's 16 bytes."""

    etag: bytes
    signature: Signature


class Written:
    """Etags and signatures by key, of the latest files up to a number.  Safe for threads."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], bytes] = {}

    def add(self, key: tuple[str, str], entry: FileEntry) -> None:
        """Note what a file holds, if its signature proves it."""
        if entry.racy:
            return
        if len(self._rows) >= _MOST:
            self._rows = {}
        self._rows[key] = _ROW.pack(*entry.signature, bytes.fromhex(entry.etag))

    def get(self, key: tuple[str, str]) -> Known | None:
        row = self._rows.get(key)
        if row is None:
            return None
        *signature, etag = _ROW.unpack(row)
        modified, changed, inode, size = signature
        return Known(etag, (modified, changed, inode, size))

    def drop(self, key: tuple[str, str]) -> None:
        self._rows.pop(key, None)

    def clear(self) -> None:
        self._rows = {}
