"""After a crash: what the journal holds, and what of it the files still lack.  Pure but for
reading the segments.

Two kinds of crash are told apart.  A *process* died: memory is intact, the
shared state is exact, and only what lies between its published and committed
marks may be missing from the tree.  The *machine* stopped: the state is gone,
and everything past the last checkpoint is looked at.

J3: replaying any suffix from a checkpoint gives the same tree, because the
outcome for a key depends only on its last commit, and only on whether its file
holds one of the values that the journal names (J4: anything else is an
external edit, and wins).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.codec.etag import etag_of
from filestore.engine import record
from filestore.engine.journal import SEGMENT_MIN
from filestore.engine.state import Mark, position, unpack
from filestore.model import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filestore.engine.journal import Journal
    from filestore.model import Commit, Key

_NO_LIMIT: Final = 1 << 30  # more segments than there will ever be
_CONFLICT_MARK: Final = b"<<<<<<< "


class Damage(NamedTuple):
    """Commits that the journal had on the disk and that cannot be read any more.

    ``first`` to ``last``: their revisions, 0 where unknown.  ``past``: they may
    lie past the checkpoint, so that a document may have lost a change; others
    are only missing in the history.
    """

    path: str
    offset: int
    first: int
    last: int
    reason: str
    past: bool


class Scan(NamedTuple):
    """What a journal holds.

    ``end``: the last good commit and where to append.  ``loose``: bytes stand
    after it that count for nothing.  ``commits``: those past the checkpoint.
    """

    end: Mark
    checkpoint: Mark
    commits: list[Commit]
    damage: list[Damage]
    loose: bool

    @property
    def lost(self) -> list[Damage]:
        """The damage that makes the store refuse writes."""
        return [damage for damage in self.damage if damage.past]


class Content(NamedTuple):
    """What a file holds: its canonical bytes, or with None its raw ones that are no document."""

    data: bytes | None
    raw: bytes


class Step(NamedTuple):
    """Give a key this content (None: no file); ``save``: keep what is there elsewhere first."""

    key: Key
    after: bytes | None
    save: bool


def scan(
    journal: Journal, store_id: str, *, limit: Mark | None = None, whole: bool = False
) -> Scan:
    """Read the journal from its last checkpoint on, trusting nothing.

    ``limit``: as far as the shared state says it goes, where others may be
    appending.  ``whole``: from its beginning.
    """
    last, stop = unpack(limit.position) if limit is not None else (_NO_LIMIT, 0)
    numbers = [number for number in journal.numbers() if number <= last]
    headers: dict[int, record.Header] = {}
    damage: list[Damage] = []
    for number in numbers:
        header = journal.header(number)
        if header is None:
            if number != numbers[-1] or _has_lines(journal, number):
                damage.append(_bad(journal, number, "it has no good header"))
            continue  # or else a rotation that did not come to an end
        if header.store != store_id:
            damage.append(_bad(journal, number, "it is of another store"))
        elif header.segment != number:
            damage.append(_bad(journal, number, f"it is a copy of segment {header.segment}"))
        else:
            headers[number] = header
    if not headers:
        return Scan(Mark(0, 0), Mark(0, 0), [], damage, loose=False)
    known = sorted(headers)
    checkpoint = headers[known[-1]].checkpoint
    start = known[0]
    if not whole:
        start = max((n for n in known if headers[n].first <= checkpoint + 1), default=start)
    reader = _Reader(journal, headers, checkpoint, {last: stop})
    reader.read([number for number in known if number >= start])
    found = [*damage, *reader.damage]
    if not reader.damage:
        # The segments that count follow each other without a gap: a bad one among them,
        # or before them, cost nothing but history.
        found = [one._replace(past=_number_of(one) > known[-1]) for one in found]
    return Scan(reader.end, reader.checkpoint, reader.commits(), found, reader.loose)


class _Reader:
    """Reads segments in order, and judges what is not as it should be."""

    def __init__(
        self,
        journal: Journal,
        headers: Mapping[int, record.Header],
        checkpoint: int,
        stops: Mapping[int, int],
    ) -> None:
        self._journal = journal
        self._headers = headers
        self._stops = stops
        self._commits: list[tuple[Commit, Mark]] = []
        self._gap: Damage | None = None
        self._sound = False  # whether what made the gap is whole lines, which no crash leaves
        self._damage: list[Damage] = []
        self.end = Mark(0, 0)
        self.checkpoint = Mark(checkpoint, 0)
        self.loose = False

    def read(self, numbers: Sequence[int]) -> None:
        first = self._headers[numbers[0]]
        self.end = Mark(first.first - 1, position(first.segment, 0))
        if first.first > self.checkpoint.revision + 1:
            path = self._journal.path(first.segment - 1)
            self._missing(path, 0, self.checkpoint.revision + 1, first.first - 1, "it is missing")
        for number in numbers:
            if not self._segment(number):
                break
        if self._gap is not None and self._sound:
            lost = self.end.revision + 1
            self._missing(self._gap.path, self._gap.offset, lost, lost, self._gap.reason)
        if first.first <= self.checkpoint.revision + 1:
            # A checkpoint that was written later than the header: what lies before was dropped.
            self._damage = [one for one in self._damage if one.last >= first.first or not one.last]

    def commits(self) -> list[Commit]:
        return [commit for commit, _ in self._commits if commit.revision > self.checkpoint.revision]

    @property
    def damage(self) -> list[Damage]:
        return [one._replace(past=one.last > self.checkpoint.revision) for one in self._damage]

    def _segment(self, number: int) -> bool:
        """Read one; False where the journal ends before it does."""
        header = self._headers[number]
        path = self._journal.path(number)
        self._begin(header, path)
        raw = self._journal.raw(number) or b""
        for start, stop, payload in record.lines(raw[: self._stops.get(number)], header.seed, 0):
            at = position(number, stop)
            if start == 0:
                self.end = Mark(self.end.revision, at)
                continue
            if payload is None:
                self._bad_line(path, start, "the line is bad", sound=False)
            elif record.is_checkpoint(payload):
                self._checkpoint(payload, path, start, at)
            elif not self._commit(payload, path, start, at):
                return False
        if number == self._end_segment and len(raw) < SEGMENT_MIN:
            # No power cut does that: it was synced at its full size before any commit.
            lost = self.end.revision + 1
            self._missing(path, len(raw), lost, lost, "the file was cut short")
        return True

    @property
    def _end_segment(self) -> int:
        """The segment of the last commit."""
        return unpack(self._commits[-1][1].position)[0] if self._commits else 0

    def _begin(self, header: record.Header, path: str) -> None:
        if header.first <= self.end.revision:
            # It was begun after a failed sync: what stood in its place is void.
            self._commits = [pair for pair in self._commits if pair[1].revision < header.first]
            last = self._commits[-1][1] if self._commits else Mark(header.first - 1, 0)
            self.end = Mark(header.first - 1, last.position)
        elif header.first > self.end.revision + 1:
            gap = self._gap or Damage(path, 0, 0, 0, "commits before it are missing", past=True)
            first, last_lost = self.end.revision + 1, header.first - 1
            self._missing(gap.path, gap.offset, first, last_lost, gap.reason)
            self.end = Mark(last_lost, self.end.position)
        self._gap = None
        self.loose = False

    def _commit(self, payload: record.Object, path: str, start: int, at: int) -> bool:
        """Take in a commit; False where nothing from here on counts."""
        try:
            commit, synced = record.parse_commit(payload)
        except (ValueError, KeyError, TypeError):
            self._bad_line(path, start, "the line is no commit", sound=True)
            return True
        expected = self.end.revision + 1
        if commit.revision < expected:
            self.loose = True
            return True  # seen before
        if commit.revision > expected:
            if synced < expected:
                # Nothing from the gap on had reached the disk when the machine stopped.
                self.loose = True
                return False
            gap = self._gap or Damage(path, start, 0, 0, "commits are missing", past=True)
            self._missing(gap.path, gap.offset, expected, commit.revision - 1, gap.reason)
        self._gap = None
        self.loose = False
        self.end = Mark(commit.revision, at)
        self._commits.append((commit, self.end))
        return True

    def _checkpoint(self, payload: record.Object, path: str, start: int, at: int) -> None:
        try:
            revision = record.checkpoint_revision(payload)
        except ValueError:
            self._bad_line(path, start, "the line is no checkpoint", sound=True)
            return
        if revision > self.end.revision:
            gap = self._gap or Damage("", 0, 0, 0, "commits are missing", past=False)
            self._missing(gap.path, gap.offset, self.end.revision + 1, revision, gap.reason)
            self._gap = None
            self.end = Mark(revision, at)
        elif self._gap is None:
            self.end = Mark(self.end.revision, at)
            self.loose = False
        if revision >= self.checkpoint.revision:
            self.checkpoint = Mark(revision, at)

    def _bad_line(self, path: str, start: int, reason: str, *, sound: bool) -> None:
        self.loose = True
        self._sound = sound or (self._sound and self._gap is not None)
        if self._gap is None:
            self._gap = Damage(path, start, 0, 0, reason, past=True)

    def _missing(self, path: str, offset: int, first: int, last: int, reason: str) -> None:
        self._damage.append(Damage(path, offset, first, last, reason, past=True))


def _has_lines(journal: Journal, number: int) -> bool:
    return b'{"revision":' in (journal.raw(number) or b"")


def _bad(journal: Journal, number: int, reason: str) -> Damage:
    return Damage(journal.path(number), 0, 0, 0, reason, past=True)


def _number_of(damage: Damage) -> int:
    return int(damage.path.rpartition("/")[2].removesuffix(".log"))


class Wanted(NamedTuple):
    """What the journal says of one key: the last value, and those before it."""

    key: Key
    after: bytes | None
    earlier: frozenset[bytes | None]

    def named(self, data: bytes | None) -> bool:
        """Whether the records name this as an earlier value, be it only by its etag."""
        return data in self.earlier or (
            data is not None and stand_in(etag_of(data)) in self.earlier
        )


def wanted(commits: Iterable[Commit]) -> list[Wanted]:
    """What replaying commits, oldest first, makes of each key."""
    values: dict[Key, list[bytes | None]] = {}
    for commit in commits:
        for key, before, after in commit.ops:
            chain = values.setdefault(key, [before])
            chain.append(before)
            chain.append(after)
    return [Wanted(key, chain[-1], frozenset(chain[:-1])) for key, chain in values.items()]


def decide(want: Wanted, found: Content | None, *, rebooted: bool) -> Step | None:
    """What one file still needs, None where nothing; ``found`` None: there is no file.

    Without a reboot a file is whole, whatever it holds, and one that is gone
    was either never published or taken away by hand after it was: the caller
    asks only about commits that may be unpublished.
    """
    if found is None:
        if want.after is None:
            return None
        return Step(want.key, want.after, save=False)
    if found.data is None:
        if (
            not rebooted
            or found.raw.startswith(_CONFLICT_MARK)
            or b"\n" + _CONFLICT_MARK in found.raw
        ):
            return None  # an edit half done: it stays, and reads of it raise Corrupt
        return Step(want.key, want.after, save=bool(found.raw.strip(b"\0")))
    if found.data == want.after or not want.named(found.data):
        return None
    return Step(want.key, want.after, save=False)
