"""Whether a document is what it should be: its file, beside what the catalog knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from filestore.codec import etag_of
from filestore.engine.catalog import UNSEEN, Known
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filestore.engine.catalog import Catalog
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.tree import FileEntry
    from filestore.model import Key


class Found(NamedTuple):
    """A document that is not what it should be; ``entry`` None: its file is gone."""

    name: str
    key: Key
    entry: FileEntry | None
    was: FileEntry | None


class Verifier:
    """Looks at documents' files.  What turns out to be right is learnt by the catalog."""

    def __init__(self, ground: Ground, reads: Reads) -> None:
        self._ground = ground
        self._layout = ground.layout
        self._reads = reads

    def look(
        self, catalog: Catalog, name: str, key: Key, *, touched: bool, was: FileEntry | None
    ) -> Found | None:
        """What differs, as far as can be told without a lock.

        ``touched``: the file was written to, so its signature proves nothing.
        """
        known = catalog.get(name)
        try:
            if known is not None and not touched:
                signature = self._ground.tree.signature(self._layout.path(key))
                if signature == known.signature:
                    return None
            entry = self._load(key)
        except FilestoreError:
            return None  # reads and check() tell; it is no change until it is mended
        return self._judge(catalog, Found(name, key, entry, was))

    def look_again(self, catalog: Catalog, found: Found) -> Found | None:
        """The same under the write lock, of what differed: all that is committed is published."""
        tree, entry = self._ground.tree, found.entry
        try:
            signature = tree.signature(self._layout.path(found.key))
            if entry is None:
                same = signature is None
            else:
                same = not entry.racy and signature == entry.signature
            if not same:
                found = found._replace(entry=self._load(found.key))
        except FilestoreError:
            return None
        return self._judge(catalog, found)

    def _load(self, key: Key) -> FileEntry | None:
        """Read it where it is now.  Raises Corrupt, StorageError."""
        layout = self._layout
        while True:
            moves = layout.moves
            entry = self._ground.tree.load(key, layout.path(key))
            if entry is None:
                self._ground.follow()
                if layout.moves != moves:
                    continue
            return entry

    def _judge(self, catalog: Catalog, found: Found) -> Found | None:
        """Compare by etag; what is right is learnt, what is not is returned."""
        name, entry = found.name, found.entry
        known = catalog.get(name)
        if entry is None:
            return None if known is None else found
        etag = bytes.fromhex(entry.etag)
        if known is not None and known.etag == etag:
            learn(catalog, found)
            return None
        if known is None and not catalog.complete and found.was is None:
            learn(catalog, found)  # it may have been there all the time
            return None
        return found

    def was(self, catalog: Catalog, edits: Iterable[Found]) -> dict[Key, tuple[bytes, bytes]]:
        """What the edited documents were: etag and bytes, where they are to be had."""
        was: dict[Key, tuple[bytes, bytes]] = {}
        wanted: dict[Key, str] = {}
        for found in edits:
            known = catalog.get(found.name)
            if known is None:
                continue
            etag = known.etag.hex()
            for entry in (found.was, self._reads.known(found.key)):
                if entry is not None and entry.etag == etag:
                    was[found.key] = known.etag, entry.data
                    break
            else:
                wanted[found.key] = etag
        for key, etag in wanted.items():
            data = self._reads.last(key)
            if data is not None and etag_of(data) == etag:
                was[key] = bytes.fromhex(etag), data
        return was


def learn(catalog: Catalog, found: Found) -> None:
    """Have the catalog know a document as it was found."""
    entry = found.entry
    if entry is None:
        catalog.remove(found.name)
        return
    signature = UNSEEN if entry.racy else entry.signature
    known = Known(bytes.fromhex(entry.etag), signature)
    if catalog.get(found.name) != known:
        catalog.put(found.name, known)
