"""Whether a document is what it should be: its file, beside what the catalog knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.codec.etag import etag_of
from filestore.collector import paused
from filestore.engine.catalog import UNSEEN
from filestore.engine.tree import signature_of
from filestore.engine.written import Known
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filestore.engine.catalog import Catalog
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.tree import FileEntry, Signature
    from filestore.model import Key


_UNSETTLED: Final = -1


class Suspect(NamedTuple):
    """A document to look at, and what the catalog says of it.

    ``touched``: it must be read, for its signature proves nothing, or is known to be another.
    ``was``: what it was when it was last read.
    """

    name: str
    key: Key
    known: Known | None
    touched: bool
    was: FileEntry | None


class Found(NamedTuple):
    """A document that is not what it should be; ``entry`` None: its file is gone.

    ``known`` is what the catalog says of it.  ``at`` is the revision up to which all was
    published before the file was read, if it was.
    """

    name: str
    key: Key
    entry: FileEntry | None
    was: FileEntry | None
    known: Known | None
    at: int


class Verifier:
    """Looks at documents' files.  What turns out to be right is learnt by the catalog."""

    def __init__(self, ground: Ground, reads: Reads) -> None:
        self._ground = ground
        self._layout = ground.layout
        self._reads = reads

    def look(self, catalog: Catalog, suspects: Sequence[Suspect]) -> Iterator[Found]:
        """Those that differ, as far as can be told without a lock."""
        layout, signature = self._layout, self._ground.tree.signature
        wanted: list[tuple[Key, str]] = []
        read: list[Suspect] = []
        for suspect in suspects:
            path = layout.place(suspect.name, suspect.key)
            if not suspect.touched and suspect.known is not None:
                try:
                    there = signature(path)
                    if there == suspect.known.signature or self._learnt(catalog, suspect, there):
                        continue
                except FilestoreError:
                    continue  # as below
            wanted.append((suspect.key, path))
            read.append(suspect)
        asked, done = catalog.point.revision, 0
        state = self._ground.state
        settled = state is not None and state.published_revision >= asked
        while done < len(wanted):
            for entry in self._load_many(wanted[done:]):
                name, key, known, _, was = read[done]
                done += 1
                if isinstance(entry, FilestoreError):
                    continue  # reads and check() tell; it is no change until it is mended
                at = asked if settled else _UNSETTLED
                if catalog.point.revision != asked:
                    # What was found is recorded meanwhile, and commits taken in.
                    known, at = catalog.get(name), _UNSETTLED
                found = _judge(catalog, Found(name, key, entry, was, known, at))
                if found is not None:
                    yield found

    def _learnt(self, catalog: Catalog, suspect: Suspect, there: Signature | None) -> bool:
        """Learn a document's signature where this handle has just read or written it."""
        name, key, known, _, _ = suspect
        seen = self._reads.seen(key)
        if seen is None or known is None or (seen.etag, seen.signature) != (known.etag, there):
            return False
        catalog.put(name, seen)
        return True

    def look_again(self, catalog: Catalog, edits: Iterable[Found]) -> Iterator[Found]:
        """The same under the write lock, of what differed: all that is committed is published.

        What was read when all was published, and nothing was committed since, needs no other
        look: it was an edit, and if there was another one since, something tells of that.
        """
        at = catalog.point.revision
        for found in edits:
            entry = found.entry
            if found.at == at and entry is not None and not entry.racy:
                yield found
                continue
            now = found
            if found.at != at:
                now = found._replace(known=catalog.get(found.name))
            try:
                if not self._is_as_found(found):
                    now = now._replace(entry=self._load(found.key))
            except FilestoreError:
                continue
            still = now if now is found else _judge(catalog, now)
            if still is not None:
                yield still

    def _is_as_found(self, found: Found) -> bool:
        """Whether the file is the one that was read, or is still not there."""
        entry = found.entry
        if entry is None:
            return self._ground.tree.signature(self._layout.path(found.key)) is None
        if entry.racy:
            return False
        try:
            return signature_of(self._ground.fs.lstat(entry.path)) == entry.signature
        except OSError:
            return False

    def _load_many(self, wanted: list[tuple[Key, str]]) -> list[FileEntry | FilestoreError | None]:
        """Read them where they are now."""
        ground, moves = self._ground, self._layout.moves
        with paused(len(wanted)):
            entries = ground.tree.load_many(wanted)
        if None in entries:
            ground.follow()
            if self._layout.moves != moves:
                return self._load_many([(key, self._layout.path(key)) for key, _ in wanted])
        return entries

    def _load(self, key: Key) -> FileEntry | None:
        """Read one where it is now.  Raises Corrupt, StorageError."""
        (entry,) = self._load_many([(key, self._layout.path(key))])
        if isinstance(entry, FilestoreError):
            raise entry
        return entry

    def was(self, edits: Iterable[Found]) -> dict[Key, tuple[bytes, bytes]]:
        """What the edited documents were: etag and bytes, where they are to be had."""
        was: dict[Key, tuple[bytes, bytes]] = {}
        wanted: dict[Key, str] = {}
        for found in edits:
            known = found.known
            if known is None:
                continue
            etag = known.etag.hex()
            for entry in (found.was, self._reads.known(found.key)):
                if entry is not None and entry.etag == etag:
                    was[found.key] = known.etag, entry.data
                    break
            else:
                wanted[found.key] = etag
        for key, data in self._reads.feed.last(wanted).items() if wanted else ():
            etag = wanted[key]
            if data is not None and etag_of(data) == etag:
                was[key] = bytes.fromhex(etag), data
        return was


def _judge(catalog: Catalog, found: Found) -> Found | None:
    """Compare by etag; what is right is learnt, what is not is returned."""
    entry, known = found.entry, found.known
    if entry is None:
        return None if known is None else found
    if known is None:
        if not catalog.complete and found.was is None:
            learn(catalog, found.name, entry)  # it may have been there all the time
            return None
        return found
    if known.etag != bytes.fromhex(entry.etag):
        return found
    if entry.racy or known.signature != entry.signature:
        learn(catalog, found.name, entry)
    return None


def learn(catalog: Catalog, name: str, entry: FileEntry | None) -> None:
    """Have the catalog know a document as its file is."""
    if entry is None:
        catalog.remove(name)
        return
    signature = UNSEEN if entry.racy else entry.signature
    catalog.put(name, Known(bytes.fromhex(entry.etag), signature))
