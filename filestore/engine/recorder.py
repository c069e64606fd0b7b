"""Making commits of external edits: once each, whoever is the first to see them.

Of all handles that have a store open, in all processes, one is the *recorder*: it
holds a lock on ``.filestore/state``, which goes with its holder.  It alone has
the catalog.  What may have been edited comes to it as *hints*: from events, from
reads that found a file changed, from going through the tree.  A hint says nothing but
where to look: the document is read, and compared by etag with what the journal and the
catalog say that it is.  Only if it differs the write lock is taken, all that is
committed is published, so that what differs still is an edit, and a commit of origin
``external`` is appended.

A recorder that dies leaves files that are not as the catalog says, and the next one
finds them: nothing is forgotten, nothing recorded twice.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.codec import etag_of
from filestore.engine import recover
from filestore.engine.catalog import START, UNSEEN, Catalog, Known, Point, Table, store_hash
from filestore.engine.fs import coarse_time_ns, let_go
from filestore.engine.survey import walk
from filestore.engine.tree import storage_error
from filestore.errors import FilestoreError, LockTimeout
from filestore.model import Key, Op, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.record import Etags
    from filestore.engine.shelf import Shelf
    from filestore.engine.tree import FileEntry
    from filestore.engine.writer import Writer
    from filestore.model import Commit

MOST_DOCUMENTS: Final = 1000
"""So many edits are one commit at most: the lock is held for milliseconds, not for seconds."""

_SAVED: Final = "files"
_MOST_BYTES: Final = 8 << 20
_PATIENCE_SECONDS: Final = 0.2
_OPEN_SECONDS: Final = 0.25  # how long a file that is being written to is waited for
_MOST_UNPROVEN: Final = 50_000
_CHEAP_ROWS: Final = 100_000  # a catalog of so many is quicker written than thought about
_SAVE_REVISIONS: Final = 10_000

_MUCH_NEWS: Final = 256  # more commits are not kept in memory until the next round


class Hint(NamedTuple):
    """Where to look.  ``touched``: the file was written to, so its signature proves nothing."""

    touched: bool
    being_written: bool
    since: float
    was: FileEntry | None


class Found(NamedTuple):
    """A document that is not what it should be; ``entry`` None: its file is gone."""

    name: str
    key: Key
    entry: FileEntry | None
    was: FileEntry | None


class Recorder:
    """The recorder of one handle, elected or not.

    Hints and commits come from any thread; :meth:`round`, :meth:`survey` and what they call
    run in one thread at a time (``mutex``).
    """

    def __init__(self, ground: Ground, reads: Reads, writer: Writer, shelf: Shelf) -> None:
        self._ground = ground
        self._fs = ground.fs
        self._layout = ground.layout
        self._reads = reads
        self._writer = writer
        self._shelf = shelf
        self._store = store_hash(ground.config.id)
        self.mutex = threading.Lock()
        self.stopping = False
        self.heard: Callable[[], float] = lambda: 0.0  # until when all events have become hints
        self.wake: Callable[[], None] | None = None  # called when there is much to take in
        self.passes = 0
        self.recorded = 0  # commits
        self._begin()

    def _begin(self) -> None:
        self._lock_fd: int | None = None
        self._unlock: Callable[[], object] | None = None
        self._catalog: Catalog | None = None
        self._saved = START
        self._unsubscribe: Callable[[], None] | None = None
        self._news: deque[Sequence[Commit] | None] = deque()
        self._hints: dict[str, Hint] = {}
        self._folders: dict[str, bool] = {}  # to be gone through, "" for all
        self._published: set[str] = set()  # names that a commit is about to give to new files
        self._unproven: dict[str, None] = {}  # of which events told no more than such a publishing
        self._pushed_back: list[str] = []
        self._own = 0  # the newest commit that this handle recorded
        self._edits: dict[str, Found] = {}  # to be recorded in the next commit
        self._edited_bytes = 0

    # -- hints, from any thread -----------------------------------------------------

    @property
    def elected(self) -> bool:
        return self._lock_fd is not None

    def hint(
        self, name: str, *, touched: bool, being_written: bool = False, was: FileEntry | None = None
    ) -> None:
        """A document's file may have been edited."""
        if self._lock_fd is None:
            return  # whoever is elected next goes through the whole tree
        old = self._hints.get(name)
        if old is not None:
            touched = touched or old.touched
            was = old.was or was
        since = old.since if old is not None else time.monotonic()
        self._hints[name] = Hint(touched, being_written, since, was)

    def noticed(self, was: FileEntry) -> None:
        """A read found a document that is not what it was."""
        self.hint(self._layout.name(was.path), touched=True, was=was)

    def suspect(self, below: str = "", *, gone: bool = True) -> None:
        """A folder, or the whole tree, may hold anything: have it gone through.

        ``below``: its path below the root and a slash.  ``gone``: documents may be missing, too.
        """
        if self._lock_fd is not None:
            self._folders[below] = gone or self._folders.get(below, False)

    def _observe(self, commits: Sequence[Commit] | None) -> None:
        self._news.append(commits)
        if len(self._news) == _MUCH_NEWS and self.wake is not None:
            self.wake()

    @property
    def news(self) -> bool:
        """Whether there were commits since the last round."""
        return bool(self._news)

    # -- who records ----------------------------------------------------------------

    def elect(self) -> bool:
        """Become the recorder if nobody is; whether this handle is.  Raises OSError."""
        if self._lock_fd is not None:
            return True
        if self._ground.readonly or self._ground.refusal is not None or self._ground.state is None:
            return False
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = self._fs.open(self._layout.state, flags)
        try:
            won = self._fs.lock(fd)
        except BaseException:
            let_go(self._fs, fd)
            raise
        if not won:
            let_go(self._fs, fd)
            return False
        self._lock_fd = fd
        # A handle may be dropped unclosed, and nobody else could be elected.
        unlock = weakref.finalize(self, let_go, self._fs, fd)
        unlock.atexit = False
        self._unlock = unlock
        self._folders[""] = True
        return True

    def _still_elected(self) -> bool:
        """Whether the lock that is held is the one that others would take."""
        if self._lock_fd is None:
            return False
        try:
            there = self._fs.lstat(self._layout.state)
            held = self._fs.fstat(self._lock_fd)
        except OSError:
            return False
        return (there.st_ino, there.st_dev) == (held.st_ino, held.st_dev)

    def resign(self, *, save: bool) -> None:
        """Let another one record; with ``save``, leave it the catalog."""
        with self.mutex:
            if save and self._lock_fd is not None and self._catalog is not None:
                try:
                    self._take_in()
                    if self._worth_saving(closing=True):
                        self._save()
                except (FilestoreError, OSError):
                    pass  # it is made anew
            self._let_go()

    def _let_go(self) -> None:
        unsubscribe, unlock = self._unsubscribe, self._unlock
        self._begin()
        if unsubscribe is not None:
            unsubscribe()
        if unlock is not None:
            unlock()

    def after_fork(self) -> None:
        """In a child: the lock and the catalog are the parent's; closing its descriptor here
        leaves the parent's lock alone.
        """
        self.mutex = threading.Lock()
        unlock = self._unlock
        self._begin()
        self.stopping = False
        if unlock is not None:
            unlock()

    # -- the work, inside mutex -------------------------------------------------------

    def round(self, *, idle: bool = False) -> float | None:
        """Look at what was hinted at, and record; ``idle``: do what can wait as well.

        How many seconds until something is due, None for nothing.
        """
        if not self.elect():
            return None
        heard = self.heard()
        if idle and not self._still_elected():
            self._let_go()
            return 0.0
        catalog = self._known_catalog()
        if "" in self._folders:
            self._folders = {"": True}
        for below in list(self._folders):
            gone = self._folders.pop(below)
            if not self._survey(catalog, below, gone=gone):
                self._folders[below] = True
                return None
            catalog = self._known_catalog()
        self._take_in()
        if self._catalog is None:
            return 0.0
        ready, later = self._ripe()
        self._verify(ready)
        self._record()
        if idle:
            unproven, self._unproven = self._unproven, {}
            self._verify((name, Hint(False, False, 0.0, None)) for name in unproven)
            self._record()
            if self._worth_saving(closing=False):
                self._save()
        state = self._ground.state
        if heard and state is not None and catalog.complete and self._done_until(heard):
            state.set_heard(heard)
        if self._pushed_back:
            for name in self._pushed_back:
                self.hint(name, touched=True)
            self._pushed_back = []
            return 0.1
        return later

    def _done_until(self, heard: float) -> bool:
        """Whether all is recorded that was hinted at until then."""
        return not (self._folders or self._pushed_back or self._edits) and all(
            hint.since > heard for hint in list(self._hints.values())
        )

    def survey(self) -> None:
        """Go through the whole tree now."""
        self._folders[""] = True
        self.round()

    def _ripe(self) -> tuple[list[tuple[str, Hint]], float | None]:
        """The hints to follow now, and in how many seconds there are more."""
        hints = self._hints
        now, ready = time.monotonic(), []
        later: float | None = None
        for name in list(hints):
            hint = hints[name]
            left = hint.since + _OPEN_SECONDS - now if hint.being_written else 0.0
            if left > 0:
                later = left if later is None else min(later, left)
            else:
                ready.append((name, hints.pop(name)))
        return ready, later

    def _survey(self, catalog: Catalog, below: str, *, gone: bool) -> bool:
        """Compare a part of the tree with the catalog; False if it was ended before its end."""
        inside = self._layout.name(f"{self._layout.root}/{below}")
        if gone and inside != below:
            below = f"{below[: below.index('/@')]}/"  # names do not tell the folders of a fan-out
            inside = self._layout.name(f"{self._layout.root}/{below}")
        comparison = catalog.comparison(inside)
        blank = Hint(touched=False, being_written=False, since=0.0, was=None)
        for names in walk(self._fs, self._layout, comparison, below):
            self._take_in()
            if self._catalog is not catalog:
                return True  # it is begun anew, and wants all of it
            if self.stopping:
                return False
            self._verify((name, blank) for name in names)
        if gone:
            self._verify((name, blank) for name in comparison.missing())
        if self.stopping:
            return False
        if not below:
            catalog.complete = True
            self.passes += 1
        return True

    # -- the catalog ----------------------------------------------------------------

    def _known_catalog(self) -> Catalog:
        """The catalog, brought up to what is committed."""
        if self._unsubscribe is None:
            self._news.clear()
            self._unsubscribe = self._reads.subscribe(self._observe)
        self._take_in()
        while self._catalog is None:  # it may be lost again while it is loaded
            self._catalog = self._load()
            self._take_in()
        return self._catalog

    def _load(self) -> Catalog:
        """The saved catalog and what was committed since, or where it is of no use a new one."""
        table = self._table()
        if table is not None:
            catalog = Catalog(table)
            if self._continue(catalog):
                self._saved = catalog.point
                return catalog
        catalog = Catalog()
        for commit in self._reads.changes(0):
            self._learn(catalog, commit)
        self._folders[""] = True
        return catalog

    def _continue(self, catalog: Catalog) -> bool:
        """Take in the commits since it was saved; False where it is of another history."""
        revision, stamp = catalog.point
        expected = revision + 1
        commits = self._reads.changes(max(revision - 1, 0))
        if revision:
            first = next(commits, None)
            if first is None or (first.revision, first.time) != (revision, stamp):
                return False
        for commit in commits:
            if commit.revision != expected:
                return False
            expected += 1
            self._learn(catalog, commit)
        return True

    def start_empty(self) -> None:
        """Note that a new store has no documents, so that what comes is known for new."""
        if not self._ground.made:
            return
        catalog = Catalog()
        catalog.complete = True
        self._write(catalog)

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

    def _take_in(self) -> None:
        """Learn what was committed; forget everything where that is not known."""
        while self._news:
            commits = self._news.popleft()
            if commits is None:
                self._news.clear()
                self._catalog = None
                self._own = 0
                self._folders[""] = True
                return
            if self._catalog is not None:
                for commit in commits:
                    self._learn(self._catalog, commit)

    def _learn(self, catalog: Catalog, commit: Commit) -> None:
        if commit.revision <= catalog.point.revision:
            return
        cut = len(self._layout.root) + 1
        for key, _, after in commit.ops if commit.revision != self._own else ():
            name = self._layout.path(key, 0)[cut:]
            if after is None:
                catalog.remove(name)
            else:
                catalog.put(name, Known(bytes.fromhex(etag_of(after)), UNSEEN))
            self._published.add(name)
        catalog.point = Point(commit.revision, commit.time)

    def _worth_saving(self, *, closing: bool) -> bool:
        catalog = self._catalog
        if catalog is None or not catalog.complete:
            return False
        moved = catalog.point.revision - self._saved.revision
        if not catalog.changes and not moved:
            return False
        if closing and len(catalog) <= _CHEAP_ROWS:
            return True
        return catalog.changes * 16 >= len(catalog) or moved >= _SAVE_REVISIONS

    def _save(self) -> None:
        """Put the catalog where the next recorder finds it, and go on from there."""
        catalog = self._catalog
        assert catalog is not None
        self._write(catalog)
        table = self._table()
        point, complete = catalog.point, catalog.complete
        self._catalog = Catalog(table)
        self._saved = point
        if table is None or (table.point, table.complete) != (point, complete):
            self._catalog = None  # not written, or removed at once: begin anew
            self._folders[""] = True

    def _write(self, catalog: Catalog) -> None:
        self._shelf.save(_SAVED, catalog.encode(self._store, coarse_time_ns()))

    # -- verifying -------------------------------------------------------------------

    def _verify(self, hints: Iterable[tuple[str, Hint]]) -> None:
        """Look at documents, and record those that were edited when they are many."""
        for name, hint in hints:
            if self.stopping:
                self._pushed_back.append(name)
                continue
            found = self._look(name, hint)
            if found is None:
                continue
            self._edits[name] = found
            self._edited_bytes += len(found.entry.data) if found.entry is not None else 0
            if len(self._edits) >= MOST_DOCUMENTS or self._edited_bytes >= _MOST_BYTES:
                self._record()

    def _look(self, name: str, hint: Hint) -> Found | None:
        """Whether a document is not what it should be, as far as can be told without a lock."""
        catalog = self._catalog
        if catalog is None:
            return None
        known = catalog.get(name)
        if name in self._published:
            self._published.discard(name)
            if not hint.touched and hint.since and known is not None:
                # The event is that of the commit's own publishing, most likely: that it was
                # is proven when there is time, not in the middle of writes.
                if len(self._unproven) < _MOST_UNPROVEN:
                    self._unproven[name] = None
                return None
        key = self._layout.named(name)
        if key is None:
            return None
        if self._reads.pending(key) is not None:
            self._pushed_back.append(name)
            return None
        try:
            if known is not None and not hint.touched:
                signature = self._ground.tree.signature(self._layout.path(key))
                if signature == known.signature:
                    return None
            entry = self._load_document(key)
        except FilestoreError:
            return None  # reads and check() tell; it is no change until it is mended
        return self._judge(catalog, Found(name, key, entry, hint.was))

    def _load_document(self, key: Key) -> FileEntry | None:
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
        signature = UNSEEN if entry.racy else entry.signature
        if known is not None and known.etag == etag:
            if known.signature != signature:
                catalog.put(name, Known(etag, signature))
            return None
        if known is None and not catalog.complete and found.was is None:
            catalog.put(name, Known(etag, signature))  # it may have been there all the time
            return None
        return found

    # -- recording -------------------------------------------------------------------

    def _record(self) -> None:
        """Make one commit of what is an edit still when nobody else writes."""
        catalog, edits = self._catalog, list(self._edits.values())
        self._edits, self._edited_bytes = {}, 0
        if catalog is None or not edits:
            return
        was = self._was(catalog, edits)
        try:
            with self._writer.exclusive(_PATIENCE_SECONDS):
                self._record_locked(catalog, edits, was)
        except LockTimeout:
            self._pushed_back += [found.name for found in edits]
        else:
            self._writer.recorded()

    def _record_locked(
        self, catalog: Catalog, edits: list[Found], was: dict[Key, tuple[bytes, bytes]]
    ) -> None:
        ground = self._ground
        state = ground.check_writable()
        if state.lagging:
            try:
                recover.publish_pending(ground, state)
            except OSError as error:
                raise storage_error(error, self._layout.root, None) from error
        self._take_in()
        if self._catalog is not catalog:
            return  # the journal is another: all is looked at anew
        ops: list[Op] = []
        etags: list[Etags] = []
        sure: list[Found] = []
        for found in edits:
            now = self._look_again(catalog, found)
            if now is None:
                continue
            known = catalog.get(now.name)
            if known is None:
                before = None
            else:
                etag, data = was.get(now.key, (b"", b""))
                before = data if etag == known.etag else stand_in(known.etag.hex())
            old = None if known is None else known.etag.hex()
            if now.entry is None:
                ops.append(Op(now.key, before, None))
                etags.append((old, None))
            else:
                ops.append(Op(now.key, before, now.entry.data))
                etags.append((old, now.entry.etag))
            sure.append(now)
        if not ops:
            return
        commit = self._writer.record(ops, etags)
        self.recorded += 1
        self._own = commit.revision
        self._take_in()  # the commit itself; then what it is about
        for now in sure:
            if now.entry is None:
                catalog.remove(now.name)
            else:
                signature = UNSEEN if now.entry.racy else now.entry.signature
                catalog.put(now.name, Known(bytes.fromhex(now.entry.etag), signature))

    def _look_again(self, catalog: Catalog, found: Found) -> Found | None:
        tree, entry = self._ground.tree, found.entry
        try:
            signature = tree.signature(self._layout.path(found.key))
            if entry is None:
                same = signature is None
            else:
                same = not entry.racy and signature == entry.signature
            if not same:
                found = found._replace(entry=self._load_document(found.key))
        except FilestoreError:
            return None
        return self._judge(catalog, found)

    def _was(self, catalog: Catalog, edits: list[Found]) -> dict[Key, tuple[bytes, bytes]]:
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
