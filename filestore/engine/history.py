"""Which lines of the journal are about a document: an index of one handle, in memory.

It is made of a segment when that is first asked about, and goes on where the segment
goes on, so a question costs as many looks as there are segments, and one reading for each
commit that is in the answer.  The journal alone is the truth: what the index names
is read there and checked again.
"""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, NamedTuple

from filestore.engine import record
from filestore.engine.journal import Journal
from filestore.engine.state import unpack
from filestore.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from filestore.engine.ground import Ground
    from filestore.engine.state import Mark
    from filestore.model import Commit, Key


class _Place(NamedTuple):
    """A line of the journal."""

    segment: int
    seed: int
    start: int
    stop: int
    revision: int


class _Segment:
    """What is known of one segment: where each revision's line is, and what it is about."""

    __slots__ = ("_keys", "_starts", "_stops", "first", "gap", "last", "number", "offset", "seed")

    def __init__(self, number: int, header: record.Header) -> None:
        self.number = number
        self.seed = header.seed
        self.first = header.first
        self.last = header.first - 1
        self.offset = 0  # how far it has been read
        self.gap = 0  # the newest revision whose line is bad
        self._starts = array("Q")
        self._stops = array("Q")
        # By hash, for names are many and long: what a hash leads to is looked at once more.
        self._keys: dict[int, int | list[int]] = {}

    def take_in(self, journal: Journal, end: int) -> None:
        """Go on with the lines from ``offset`` on, up to where one ends."""
        if end <= self.offset:
            return
        for start, stop, payload in journal.lines(self.number, self.offset, end, self.seed):
            if start == 0 or payload is None or record.is_checkpoint(payload):
                continue  # the header; or a bad line, noticed by the revision that it swallowed
            try:
                revision = record.revision_of(payload)
            except (ValueError, KeyError, TypeError):
                continue
            if revision <= self.last:
                continue
            while self.last < revision - 1:
                self._add(0, 0)
                self.gap = self.last
            self._add(start, stop)
            for name in record.names_in(payload):
                self._name(hash(name), revision)
        self.offset = end

    def _add(self, start: int, stop: int) -> None:
        self._starts.append(start)
        self._stops.append(stop)
        self.last += 1

    def _name(self, name: int, revision: int) -> None:
        known = self._keys.get(name)
        if known is None:
            self._keys[name] = revision
        elif isinstance(known, int):
            self._keys[name] = [known, revision]
        else:
            known.append(revision)

    def places(self, name: int, since: int, until: int) -> list[_Place]:
        """The lines that may be about that name, of revisions after ``since``, before ``until``."""
        known = self._keys.get(name, ())
        return [
            _Place(
                self.number,
                self.seed,
                self._starts[revision - self.first],
                self._stops[revision - self.first],
                revision,
            )
            for revision in ((known,) if isinstance(known, int) else known)
            if since < revision < until
        ]


class History:
    """Looks back, for one handle.  Safe for threads."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._mutex = threading.Lock()
        self._segments: dict[int, _Segment] = {}

    def after_fork(self) -> None:
        self._mutex = threading.Lock()

    def forget(self) -> None:
        """The journal was begun anew."""
        with self._mutex:
            self._segments.clear()

    def horizon(self, revision: int) -> int:
        """The revision before the oldest commit that is kept; ``revision`` is the newest."""
        journal = self._journal()
        for number in journal.numbers():
            header = journal.header(number)
            if header is not None:
                return min(header.first - 1, revision)
        return revision

    def commits(self, key: Key, since: int, end: Mark) -> Iterator[Commit]:
        """The commits after ``since`` and up to ``end`` that changed a document, in order.

        Raises Corrupt for a damaged journal, OSError.
        """
        journal = self._journal()
        try:
            with self._mutex:
                places = self._places(journal, hash(record.name_of(key)), since, end)
            for place in places:
                commit = _read(journal, place, key)
                if commit.ops:
                    yield commit
        finally:
            journal.close()

    def last(self, keys: Iterable[Key], end: Mark) -> dict[Key, bytes | None]:
        """What the newest commit up to ``end`` that changed a document made of it.

        Of those documents only of which such a commit is kept.  Each record is read and parsed
        once, of however many documents it is the newest.  Raises Corrupt, OSError.
        """
        journal = self._journal()
        found: dict[Key, bytes | None] = {}
        try:
            since = self.horizon(end.revision)
            with self._mutex:
                segments = self._segments_between(journal, since, end)
                left = {key: _places(segments, hash(record.name_of(key)), since) for key in keys}
            while left:
                asked: dict[_Place, set[tuple[str, str]]] = {}
                for key, places in list(left.items()):
                    if places:
                        asked.setdefault(places.pop(), set()).add(key)
                    else:
                        del left[key]
                for place, some in sorted(asked.items()):
                    for key, after in _documents(journal, place, some).items():
                        found[key] = after
                        del left[key]
            return found
        finally:
            journal.close()

    def _places(self, journal: Journal, name: int, since: int, end: Mark) -> list[_Place]:
        """The lines that may be about that name, in order."""
        return _places(self._segments_between(journal, since, end), name, since)

    def _segments_between(
        self, journal: Journal, since: int, end: Mark
    ) -> list[tuple[_Segment, int]]:
        """From the newest segment back to where ``since`` is, and where each begins to be void."""
        last, stop = unpack(end.position)
        found: list[tuple[_Segment, int]] = []
        until = end.revision + 1
        numbers = journal.numbers()
        for number in reversed(numbers):
            if number > last:
                continue
            segment = self._segment(journal, number, stop if number == last else None)
            if segment is None:
                if not found:
                    continue  # a rotation that never came to be used
                path = journal.path(number)
                raise Corrupt(f"{path}: the journal segment has no good header", path=path)
            if segment.last < until - 1 or segment.gap > since:
                raise record.bad_line(journal.path(number), segment.offset)
            found.append((segment, until))
            until = min(until, segment.first)  # what a later segment counts again is void
            if segment.first <= since + 1:
                break
        if not found:
            path = journal.path(last)
            raise Corrupt(f"{path}: the journal segment is missing", path=path)
        for number in self._segments.keys() - set(numbers):
            del self._segments[number]
        return found

    def _segment(self, journal: Journal, number: int, stop: int | None) -> _Segment | None:
        segment = self._segments.get(number)
        if segment is None:
            header = journal.header(number)
            if header is None:
                return None
            segment = self._segments[number] = _Segment(number, header)
            stop = journal.size(number) if stop is None else stop
        elif stop is None:
            return self._finished(journal, segment)
        segment.take_in(journal, stop)
        return segment

    def _finished(self, journal: Journal, segment: _Segment) -> _Segment:
        """One that may have gone on since it was the last."""
        following = self._segments.get(segment.number + 1)
        if following is None or segment.last < following.first - 1:
            segment.take_in(journal, journal.size(segment.number))
        return segment

    def _journal(self) -> Journal:
        ground = self._ground
        return Journal(ground.fs, ground.layout, ground.config.id)


def _places(segments: list[tuple[_Segment, int]], name: int, since: int) -> list[_Place]:
    return [
        place
        for segment, until in reversed(segments)
        for place in segment.places(name, since, until)
    ]


def _documents(
    journal: Journal, place: _Place, keys: Container[tuple[str, str]]
) -> dict[Key, bytes | None]:
    for line in journal.lines(place.segment, place.start, place.stop, place.seed):
        if line.payload is not None:
            try:
                return record.documents_after(line.payload, keys)
            except (ValueError, KeyError, TypeError):
                break
    raise record.bad_line(journal.path(place.segment), place.start)


def _read(journal: Journal, place: _Place, key: Key) -> Commit:
    for line in journal.lines(place.segment, place.start, place.stop, place.seed):
        if line.payload is not None:
            try:
                commit, _ = record.parse_commit(line.payload, key)
            except (ValueError, KeyError, TypeError):
                break
            if commit.revision == place.revision:
                return commit
    raise record.bad_line(journal.path(place.segment), place.start)
