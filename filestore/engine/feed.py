"""The commits of one handle's store that are still kept: since when, of which document.

Told is no more than the handle has taken in, so that the feed and the reads agree.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from filestore.engine.history import History
from filestore.engine.journal import Journal
from filestore.engine.record import Outline, outline_of
from filestore.engine.state import Mark
from filestore.engine.tree import storage_error
from filestore.errors import Corrupt, HistoryGone
from filestore.model import Commit, only

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from filestore.engine.ground import Ground
    from filestore.model import Key

T = TypeVar("T", Commit, Outline)


class Follower(Protocol):
    """Who knows how far the handle has followed the journal."""

    mutex: threading.RLock

    @property
    def end(self) -> tuple[Mark, bool]:
        """The newest revision that was taken in, and where; whether others may commit after it."""

    def catch_up(self) -> None:
        """Take in what was committed elsewhere."""


class Feed:
    """See the module.  Safe for threads."""

    def __init__(self, ground: Ground, reads: Follower) -> None:
        self._ground = ground
        self._reads = reads
        self._history = History(ground)

    @property
    def horizon(self) -> int:
        """The oldest revision that can be gone back to."""
        self._reads.catch_up()
        end, overlay = self._end()
        revision = end.revision
        if overlay is not None:
            return overlay[0].revision - 1 if overlay else revision
        if self._ground.retention.nothing:
            return revision
        try:
            return self._history.horizon(revision)
        except OSError as error:
            raise storage_error(error, self._ground.layout.journal, None) from error

    def last(self, keys: Iterable[Key]) -> dict[Key, bytes | None]:
        """What the newest commits that are kept made of documents; None for a delete."""
        end, _ = self._reads.end
        try:
            return self._history.last(keys, end)
        except (Corrupt, OSError):
            return {}

    def _end(self) -> tuple[Mark, list[Commit] | None]:
        """How far to tell; all that can be told, None where the journal tells it."""
        with self._reads.mutex:
            end, shared = self._reads.end
            if not shared and self._ground.damage:
                return end, list(self._ground.overlay)
            return end, None

    def changes(self, since: int, key: Key | None = None) -> Iterator[Commit]:
        """The commits after a revision that the journal still keeps.

        Raises HistoryGone where some are dropped that come after one that was told.
        """
        self._reads.catch_up()
        end, overlay = self._end()
        if overlay is not None:
            for commit in overlay:
                if commit.revision > since:
                    told = commit if key is None else only(commit, key)
                    if told.ops:
                        yield told
            return
        if key is not None:
            self._ground.layout.path(key)  # raises InvalidKey
        yield from self._following(since, end, partial(self._kept, key=key))

    def outlines(self, since: int) -> Iterator[Outline]:
        """The same without their documents; each is used up before the next is asked for."""
        self._reads.catch_up()
        end, overlay = self._end()
        if overlay is not None:
            yield from (outline_of(commit) for commit in overlay if commit.revision > since)
        else:
            yield from self._following(since, end, self._outlined)

    def _following(
        self, since: int, end: Mark, read: Callable[[int, Mark], Iterator[T]]
    ) -> Iterator[T]:
        at = since
        while at < end.revision:
            try:
                for commit in read(at, end):
                    at = commit.revision
                    yield commit
                return
            except (Corrupt, OSError) as error:
                at = self._dropped(since, at, error)

    def _dropped(self, since: int, at: int, error: Corrupt | OSError) -> int:
        """Up to where the journal was trimmed since somebody began to read it after ``at``.

        Raises HistoryGone if he was told of anything by then; the error if it is not to blame.
        """
        with self._journal() as journal:
            kept = _start(journal, at).revision
        if kept <= at:
            if isinstance(error, OSError):
                raise storage_error(error, self._ground.layout.journal, None) from error
            raise error
        if at > since:
            raise HistoryGone(
                f"{self._ground.layout.root}: the commits after revision {at} were dropped while "
                f"they were read; {kept} is the oldest revision that can be gone back to",
                revision=kept,
            ) from error
        return kept

    def _kept(self, since: int, end: Mark, key: Key | None) -> Iterator[Commit]:
        if key is not None:
            yield from self._history.commits(key, since, end)
            return
        with self._journal() as journal:
            for commit, _ in journal.read(_start(journal, since), end):
                yield commit

    def _outlined(self, since: int, end: Mark) -> Iterator[Outline]:
        with self._journal() as journal:
            yield from journal.outlines(_start(journal, since), end)

    @contextmanager
    def _journal(self) -> Iterator[Journal]:
        """The journal, for one reading."""
        journal = Journal(self._ground.fs, self._ground.layout, self._ground.config.id)
        try:
            yield journal
        finally:
            journal.close()

    def forget(self) -> None:
        """The journal was begun anew."""
        self._history.forget()

    def after_fork(self) -> None:
        self._history.after_fork()


def _start(journal: Journal, since: int) -> Mark:
    """A mark at or before the commit after ``since``, or at the oldest that is kept."""
    best: Mark | None = None
    for number in reversed(journal.numbers()):
        header = journal.header(number)
        if header is None:
            if best is None:
                continue  # a rotation that never came to be used
            break
        best = Mark(max(header.first - 1, since), number << 40)
        if header.first <= since + 1:
            break
    return best or Mark(since, 0)
