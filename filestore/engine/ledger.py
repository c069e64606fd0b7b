"""The catalog as a recorder keeps it: loaded, brought up to what is committed, and saved."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from filestore.codec.etag import etag_of
from filestore.engine.catalog import START, UNSEEN, Catalog, Point, Table, store_hash
from filestore.engine.fs import coarse_time_ns
from filestore.engine.news import outlines
from filestore.engine.pace import Pace
from filestore.engine.written import Known
from filestore.model import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.record import Outline
    from filestore.engine.shelf import Shelf
    from filestore.model import Commit, Etag, Key

Moves: TypeAlias = "tuple[int, int]"
"""How often files were moved to a name, and from it."""

_SAVED: Final = "files"
_MOVES: Final = {each: each for each in ((1, 0), (1, 1), (0, 1))}  # a bulk commit's are all alike
_CHEAP_ROWS: Final = 100_000  # a catalog of so many is quicker written than thought about
_SHARE: Final = 16  # so much of the catalog may be in memory only,
_CLOSING_SHARE: Final = 256  # and so much be learnt again after opening
_SAVE_REVISIONS: Final = 10_000
_RETRY_SECONDS: Final = 60.0
_MOST_UNSEEN: Final = 50_000
_MUCH_NEWS: Final = 256  # more commits are not kept in memory until the next round


class Ledger:
    """The catalog of one recorder.

    News comes from any thread; all else is for one thread at a time, the recorder's.
    ``lost`` is called when what is known is of no use any more: the tree must be gone through.
    """

    def __init__(
        self, ground: Ground, reads: Reads, shelf: Shelf, lost: Callable[[], None]
    ) -> None:
        self._ground = ground
        self._layout = ground.layout
        self._made = ground.made
        self._reads = reads
        self._shelf = shelf
        self._lost = lost
        self._store = store_hash(ground.config.id)
        self.pace = Pace()
        self.wake: Callable[[], None] | None = None  # called when there is much to take in
        self.begin()

    def begin(self) -> None:
        """Know nothing; see :meth:`let_go`."""
        self.catalog: Catalog | None = None
        self.learnt = 0  # how many commits of others the catalog was told of
        self.own = 0  # the newest commit that this handle recorded
        # How often files are about to be moved to a name and from it, by publishing commits.
        self.published: dict[str, Moves] = {}
        self._unseen: dict[str, Key] = {}
        self._saved = START
        self._not_before = 0.0  # when saving may be tried again, by the steady clock
        self._unsubscribe: Callable[[], None] | None = None
        self._news: deque[Sequence[Commit] | None] = deque()

    def let_go(self) -> None:
        """Forget all, and hear of no more commits."""
        unsubscribe = self._unsubscribe
        self.begin()
        if unsubscribe is not None:
            unsubscribe()

    # -- loading ----------------------------------------------------------------------

    def known(self) -> Catalog:
        """The catalog, brought up to what is committed."""
        if self._unsubscribe is None:
            self._news.clear()
            self._unsubscribe = self._reads.subscribe(self._observe)
        self.take_in()
        while self.catalog is None:  # it may be lost again while it is loaded
            self.catalog = self._load()
            self.take_in()
        return self.catalog

    def _load(self) -> Catalog:
        """The saved catalog and what was committed since, or where it is of no use a new one."""
        table = self._table()
        if table is not None:
            catalog = Catalog(table)
            if self._continue(catalog):
                self._saved = catalog.point
                return catalog
        # What was edited before will be taken for what was there: no index of before is right.
        if (state := self._ground.state) is not None:
            state.set_heard(0.0)
        self._shelf.disown(_SAVED)
        catalog = Catalog()
        for commit in self._reads.feed.outlines(0):
            self._learn(catalog, commit)
            self.pace()
        self._lost()
        return catalog

    def _continue(self, catalog: Catalog) -> bool:
        """Take in the commits since it was saved; False where it is of another history."""
        revision, stamp = catalog.point
        expected, newest = revision + 1, self._reads.revision
        commits = self._reads.feed.outlines(max(revision - 1, 0))
        if revision:
            first = next(commits, None)
            if first is None or (first.revision, first.time) != (revision, stamp):
                return False
        for commit in commits:
            if commit.revision != expected:
                return False
            expected += 1
            self._learn(catalog, commit)
            self.pace()
        return expected > newest

    def _table(self) -> Table | None:
        """What was saved, where it is whole and of this store."""
        saved = self._shelf.load(_SAVED)
        if saved is None:
            return None
        try:
            table = Table(saved)
        except ValueError:
            return None
        return table if table.store == self._store else None

    # -- commits ----------------------------------------------------------------------

    def _observe(self, commits: Sequence[Commit] | None) -> None:
        self._news.append(commits)
        if len(self._news) == _MUCH_NEWS and self.wake is not None:
            self.wake()

    @property
    def news(self) -> bool:
        """Whether there were commits since they were last taken in; from any thread."""
        return bool(self._news)

    def take_in(self) -> None:
        """Learn what was committed; forget everything where that is not known."""
        while self._news:
            commits = self._news.popleft()
            if commits is None:
                self._news.clear()
                self.catalog = None
                self.own = 0
                self._lost()
                return
            if self.catalog is not None:
                for commit in outlines(commits):
                    self._learn(self.catalog, commit)

    def _learn(self, catalog: Catalog, commit: Outline) -> None:
        if commit.revision <= catalog.point.revision:
            return
        cut = len(self._layout.root) + 1
        published = self.published
        if commit.revision != self.own:
            self.learnt += 1
        for key, before, after in commit.ops if commit.revision != self.own else ():
            name = self._layout.path(key, 0)[cut:]
            if after is None:
                catalog.remove(name)
            else:
                known = self._known_of(key, after)
                catalog.put(name, known)
                if known.signature == UNSEEN and len(self._unseen) < _MOST_UNSEEN:
                    self._unseen[name] = key
            if commit.origin is not Origin.EXTERNAL:
                came, left = published.get(name, (0, 0))
                moves = came + (after is not None), left + before
                published[name] = _MOVES.get(moves, moves)
        catalog.point = Point(commit.revision, commit.time)

    def _known_of(self, key: Key, after: Etag | bytes) -> Known:
        """A document that was committed, and the file where this handle has seen it there."""
        entry = self._reads.known(key)
        if entry is None or after != (entry.data if isinstance(after, bytes) else entry.etag):
            etag = bytes.fromhex(etag_of(after) if isinstance(after, bytes) else after)
            written = self._reads.written.get(key)
            return written if written is not None and written.etag == etag else Known(etag, UNSEEN)
        return Known(bytes.fromhex(entry.etag), UNSEEN if entry.racy else entry.signature)

    def _see(self, catalog: Catalog) -> None:
        """Know the signatures of files that had not got their names when that was learnt."""
        unseen, self._unseen = self._unseen, {}
        for name, key in unseen.items():
            known = catalog.get(name)
            if known is None or known.signature != UNSEEN:
                continue
            seen = self._reads.seen(key)
            if self._reads.pending(key) is not None:
                self._unseen[name] = key
            elif seen is not None and seen.etag == known.etag:
                catalog.put(name, seen)
                self._reads.written.drop(key)

    # -- saving -----------------------------------------------------------------------

    def start_empty(self) -> None:
        """Note that a new store has no documents, so that what comes is known for new."""
        if not self._made:
            return
        catalog = Catalog()
        catalog.complete = True
        self._write(catalog)

    def worth_saving(self, *, closing: bool) -> bool:
        """Whether the next recorder would lose more than saving costs."""
        catalog = self.catalog
        if catalog is None or not catalog.complete:
            return False
        if not closing and monotonic() < self._not_before:
            return False
        moved = catalog.point.revision - self._saved.revision
        if not catalog.changes and not moved:
            return False
        if closing and len(catalog) <= _CHEAP_ROWS:
            return True
        share = _CLOSING_SHARE if closing else _SHARE
        return (
            catalog.changes * share >= len(catalog)
            or moved >= _SAVE_REVISIONS
            or self._falls_behind(catalog)
        )

    def _falls_behind(self, catalog: Catalog) -> bool:
        """Whether the journal may soon keep no commit of the time when it was saved.

        Then what was saved would be of no use, and each document be read.
        """
        horizon = self._reads.feed.horizon
        if not horizon or self._ground.retention.nothing:
            return False
        return self._saved.revision <= horizon + (catalog.point.revision - horizon) // 4

    def save(self) -> None:
        """Put the catalog where the next recorder finds it, and go on from there.

        One that cannot be written is kept in memory.
        """
        catalog = self.catalog
        assert catalog is not None
        self._see(catalog)
        if not self._write(catalog):
            self._not_before = monotonic() + _RETRY_SECONDS
            return
        table = self._table()
        point, complete = catalog.point, catalog.complete
        self.catalog = Catalog(table)
        self._saved = point
        if table is None or (table.point, table.complete) != (point, complete):
            self.catalog = None  # removed at once: begin anew
            self._lost()

    def _write(self, catalog: Catalog) -> bool:
        return self._shelf.save(_SAVED, catalog.encode(self._store, coarse_time_ns()))
