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

from filestore.engine import record
from filestore.engine.state import Mark, position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filestore.engine.journal import Journal
    from filestore.model import Commit, Key

_CONFLICT_MARK: Final = b"<<<<<<< "


class Damage(NamedTuple):
    """Commits that the journal had on the disk and that cannot be read any more."""

    path: str
    offset: int
    first: int
    last: int
    reason: str


class Scan(NamedTuple):
    """What a journal holds.

    ``end``: the last good commit and where to append.  ``loose``: bytes stand
    after it that count for nothing.  ``commits``: those past the checkpoint.
    ``damage`` past the checkpoint makes the store refuse writes.
    """

    end: Mark
    checkpoint: Mark
    commits: list[Commit]
    damage: list[Damage]
    loose: bool


class Content(NamedTuple):
    """What a file holds: its canonical bytes, or with None its raw ones that are no document."""

    data: bytes | None
    raw: bytes


class Step(NamedTuple):
    """Give a key this content (None: no file); ``save``: keep what is there elsewhere first."""

    key: Key
    after: bytes | None
    save: bool


def scan(journal: Journal, store_id: str) -> Scan:
    """Read the journal from its last checkpoint on, trusting nothing."""
    numbers = journal.numbers()
    headers: dict[int, record.Header] = {}
    damage: list[Damage] = []
    for number in numbers:
        header = journal.header(number)
        if header is None:
            if number == numbers[-1] and number - 1 in headers:
                continue  # a rotation that did not come to an end: no line is in it
            if number == numbers[-1] == numbers[0] and not _has_lines(journal, number):
                continue  # the same, of the first segment
            damage.append(_bad_segment(journal, number, "it has no good header"))
        elif header.store != store_id:
            damage.append(_bad_segment(journal, number, "it is of another store"))
        elif header.segment != number:
            damage.append(_bad_segment(journal, number, f"it is a copy of {header.segment:08d}"))
        else:
            headers[number] = header
    if not headers:
        return Scan(Mark(0, 0), Mark(0, 0), [], damage, loose=False)
    known = sorted(headers)
    checkpoint = headers[known[-1]].checkpoint
    start = max((n for n in known if headers[n].first <= checkpoint + 1), default=known[0])
    reader = _Reader(journal, headers, checkpoint)
    reader.read([number for number in known if number >= start])
    return Scan(
        reader.end, reader.checkpoint, reader.commits(), damage + reader.damage, reader.loose
    )


class _Reader:
    """Reads segments in order, and judges what is not as it should be."""

    def __init__(
        self, journal: Journal, headers: Mapping[int, record.Header], checkpoint: int
    ) -> None:
        self._journal = journal
        self._headers = headers
        self._commits: list[tuple[Commit, Mark]] = []
        self._gap: Damage | None = None
        self.end = Mark(0, 0)
        self.checkpoint = Mark(checkpoint, 0)
        self.damage: list[Damage] = []
        self.loose = False

    def read(self, numbers: Sequence[int]) -> None:
        first = self._headers[numbers[0]]
        self.end = Mark(first.first - 1, position(first.segment, 0))
        if first.first > self.checkpoint.revision + 1:
            self.damage.append(
                Damage(
                    self._journal.path(first.segment - 1),
                    0,
                    self.checkpoint.revision + 1,
                    first.first - 1,
                    "the segment is missing",
                )
            )
        for number in numbers:
            if not self._segment(number):
                return

    def commits(self) -> list[Commit]:
        return [commit for commit, _ in self._commits if commit.revision > self.checkpoint.revision]

    def _segment(self, number: int) -> bool:
        """Read one; False where the journal ends before it does."""
        header = self._headers[number]
        path = self._journal.path(number)
        if header.first <= self.end.revision:
            # It was begun after a failed sync: what stood in its place is void.
            self._commits = [pair for pair in self._commits if pair[1].revision < header.first]
            self._gap = None
            last = self._commits[-1][1] if self._commits else Mark(header.first - 1, 0)
            self.end = Mark(header.first - 1, last.position)
        elif header.first > self.end.revision + 1:
            self._missing(path, 0, self.end.revision + 1, header.first - 1, "commits are missing")
            self.end = Mark(header.first - 1, self.end.position)
        self.loose = False
        raw = self._journal.raw(number) or b""
        for start, stop, payload in record.lines(raw, header.seed, 0):
            if start == 0:
                self.end = Mark(self.end.revision, position(number, stop))
                continue
            if payload is None:
                if self._gap is None:
                    self._gap = Damage(path, start, self.end.revision + 1, 0, "the line is bad")
                self.loose = True
                continue
            if record.is_checkpoint(payload):
                self._checkpointed(record.checkpoint_revision(payload), position(number, stop))
                continue
            try:
                commit, synced = record.parse_commit(payload)
            except (ValueError, KeyError, TypeError):
                self._gap = self._gap or Damage(
                    path, start, self.end.revision + 1, 0, "the line is no commit"
                )
                self.loose = True
                continue
            expected = self.end.revision + 1
            if commit.revision < expected:
                self.loose = True
                continue  # seen before
            if commit.revision > expected:
                if synced < expected:
                    # Nothing from the gap on had reached the disk when the machine stopped.
                    self.loose = True
                    return False
                gap = self._gap or Damage(path, start, 0, 0, "commits are missing")
                self._missing(gap.path, gap.offset, expected, commit.revision - 1, gap.reason)
            self._gap = None
            self.loose = False
            self.end = Mark(commit.revision, position(number, stop))
            self._commits.append((commit, self.end))
        return True

    def _checkpointed(self, revision: int, at: int) -> None:
        if self._gap is not None and revision >= self._gap.first:
            gap = self._gap
            self._missing(gap.path, gap.offset, gap.first, revision, gap.reason)
            self._gap = None
        if revision > self.end.revision:
            self.end = Mark(revision, at)
        elif self._gap is None:
            self.end = Mark(self.end.revision, at)
            self.loose = False
        if revision >= self.checkpoint.revision:
            self.checkpoint = Mark(revision, at)

    def _missing(self, path: str, offset: int, first: int, last: int, reason: str) -> None:
        self.damage.append(Damage(path, offset, first, last, reason))


def _has_lines(journal: Journal, number: int) -> bool:
    return bool((journal.raw(number) or b"").strip(b"\0"))


def _bad_segment(journal: Journal, number: int, reason: str) -> Damage:
    return Damage(journal.path(number), 0, 0, 0, reason)


class Wanted(NamedTuple):
    """What the journal says of one key: the last value, and those before it."""

    key: Key
    after: bytes | None
    earlier: frozenset[bytes | None]


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
    if found.data == want.after or found.data not in want.earlier:
        return None
    return Step(want.key, want.after, save=False)
