"""Reads from memory that are never stale (C1, C2).

Three things decide what a read returns.  The *word* in the shared state: when
it has moved, the journal's new commits say which entries to drop.  *Pending*
values: a commit is visible before its files are published, so until they are,
its documents are read from its record.  The *signature* of the file: where no
events tell of edits from outside, one is found by one lstat a read, and a file that
was touched in the tick of the clock in which it was read is read again.

Events that wait in the kernel are noticed by the readers themselves: one look in
20 microseconds, so that one who edits a file and then reads sees it, without
waiting for the thread that hears.  Where few wait, the reader hears them itself.

While events do tell, an *era* is running, and an entry of this era is as the file
is: it was read, or its signature compared, in this era, and no event has come since.
An event puts a doubted copy in the entry's place, so that whoever still
holds the old one can't vouch for it.  A new era begins whenever events may have been
missed, and makes every entry prove itself again.

A file that was read while the word moved may belong to a later commit than the
reader knows, so the read begins again.
"""

from __future__ import annotations

import stat
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from filestore.backend import Entry, one_by_one
from filestore.engine.cache import DEFAULT_BYTES, Cache
from filestore.engine.listing import Listings
from filestore.engine.state import COMMITTED, FILES, LAYOUTS, Mark
from filestore.engine.tree import FileEntry, signature_of, storage_error
from filestore.engine.written import Known, Written
from filestore.errors import Closed, Corrupt, FilestoreError, StorageError
from filestore.importing import importing
from filestore.model import ANY, Key, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableSequence, Sequence

    from filestore.backend import Unreadable
    from filestore.engine.feed import Feed
    from filestore.engine.ground import Ground
    from filestore.engine.news import Told
    from filestore.engine.state import State
    from filestore.engine.tree import Swap
    from filestore.model import Commit, Edit

_NOT_SEEN: Final = -1
_NO_ERA: Final = -1
QUIET_SECONDS: Final = 20e-6
"""How long nobody asks again whether events have come: less than it takes to save a file."""

_PENDING_SWEEP: Final = 256
_SEVERAL: Final = 8  # documents from which on they are read together,
_TOGETHER: Final = 64  # and no more in one go: a commit beside it makes them be read again


_Pending: TypeAlias = "tuple[int, Entry | Told | None]"
"""A revision, and what it made of a document or who tells; None for a delete."""


class Reads:
    """The cache of one handle, and how far in the journal it is."""

    __slots__ = (  # and thereby the quickest attributes there are, for gets
        "_at",
        "_closed",
        "_doubts",
        "_entries",
        "_entry_of",
        "_era",
        "_eras",
        "_feed",
        "_fs",
        "_generation",
        "_ground",
        "_layouts",
        "_listings",
        "_lstat",
        "_observers",
        "_pending",
        "_quiet_until",
        "_seen",
        "_settled",
        "_state",
        "_told",
        "_unheard",
        "_words",
        "asleep",
        "edited",
        "hearing",
        "mutex",
        "noticed",
        "publishing_many",
        "since",
        "written",
    )

    def __init__(self, ground: Ground, cache_bytes: int = DEFAULT_BYTES) -> None:
        self._ground = ground
        self._fs = ground.fs
        self._lstat = ground.fs.lstat
        self._entries: Cache[FileEntry] = Cache(cache_bytes)
        self._entry_of = self._entries.get
        self.written = Written()
        self.publishing_many = False  # whether a bulk commit of this handle gets its files
        self._listings = Listings()  # inside ``mutex``
        self._pending: dict[tuple[str, str], _Pending] = {}
        # The last commits of others, by the document that they changed: of those in memory.
        self._told: dict[tuple[str, str], Told] = {}
        self._observers: list[Callable[[Sequence[Commit] | None], None]] = []
        self.mutex = threading.RLock()
        self._words: MutableSequence[int] | memoryview = [_NOT_SEEN] * (COMMITTED + 1)
        self._state: State | None = None
        self._generation = _NOT_SEEN
        self._layouts = _NOT_SEEN
        self._settled = _NOT_SEEN
        self._seen = 0
        self._at = Mark(0, 0)
        self._feed: Feed | None = None
        self._closed = False
        self._era = _NO_ERA
        self._eras = 0
        self._doubts = 0  # how often an event has told of a file
        self._unheard: Callable[[], bool] = lambda: True  # whether events wait in the kernel
        self._quiet_until = 0.0
        self.since = monotonic()  # from when on every edit is told of, while an era is running
        self.hearing = False  # whether events were taken from the kernel and not told yet
        # Told of each document that a read finds edited, with what it was; from any thread.
        self.noticed: Callable[[FileEntry], None] | None = None
        # Told of each document that an event, or a read, says may have been edited.
        self.edited: Callable[[tuple[str, str]], None] | None = None
        self.asleep: Callable[[], None] | None = None  # starts to watch; in a child of a fork

    @property
    def feed(self) -> Feed:
        """The commits that are kept, for those who look back."""
        feed = self._feed
        return self._make_feed() if feed is None else feed

    def _make_feed(self) -> Feed:
        with importing(ours=True):
            from filestore.engine.feed import Feed

            if self._feed is None:
                self._feed = Feed(self._ground, self)
            return self._feed

    # -- where this handle is ---------------------------------------------------

    def begin(self) -> None:
        """Start from the shared state, or without one from the journal's tail."""
        with self.mutex:
            state = self._ground.state
            if state is None or not state.valid or self._ground.damage:
                self._begin_alone()
                return
            self._ground.stop_reading()
            self._state = state
            self._generation = state.generation
            self._entries.clear()
            self.written.clear()
            self._listings.clear()
            self._pending.clear()
            self._told.clear()
            self._at = state.published
            self._seen = self._at.revision
            self._words = state.words
            self._follow()
            self._catch_up()

    def _begin_alone(self) -> None:
        """Read the tree as recovery would make it, in memory only."""
        with importing(ours=True):  # of all who read, the fewest have it to do
            from filestore.engine import recover, recovery

        ground = self._ground
        try:
            found = recovery.scan(ground.journal, ground.config.id)
        except OSError as error:
            raise storage_error(error, ground.layout.journal, None) from error
        ground.damage = found.lost
        self._state = None
        self._words = [_NOT_SEEN] * (COMMITTED + 1)
        self._follow()
        self._seen = found.end.revision
        self._at = found.end
        self._listings.clear()
        self._pending.clear()
        self._told.clear()
        for want in recovery.wanted(found.commits):
            try:
                step, _ = recover.lacking(ground, want, rebooted=True)
            except StorageError:
                continue  # it is told by who reads the document
            if step is not None:
                entry = None if step.after is None else Entry(step.after)
                self._pending[want.key] = (1 << 63, entry)
        ground.overlay = found.commits

    def _follow(self) -> int:
        """See where documents are; how often they have moved."""
        layouts = self._words[LAYOUTS]
        self._ground.follow()
        self._layouts = layouts
        return self._ground.layout.moves

    @property
    def revision(self) -> int:
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        return self._seen

    @property
    def mark(self) -> Mark:
        """The newest revision, and where its record or a later line of the journal ends."""
        with self.mutex:
            self.catch_up()
            return self._at

    @property
    def end(self) -> tuple[Mark, bool]:
        """The newest revision that was taken in, and where; whether others may commit after it."""
        with self.mutex:
            return self._at, self._state is not None

    @property
    def cached(self) -> tuple[int, int]:
        """How many documents are in memory, and how many bytes they take."""
        return len(self._entries), self._entries.bytes

    def catch_up(self) -> None:
        """Take in what was committed elsewhere.  Raises Closed, Corrupt."""
        if self._words[COMMITTED] != self._seen:
            self._catch_up()

    def _catch_up(self) -> None:
        with self.mutex:
            if self._closed:
                raise Closed(f"{self._ground.layout.root}: the store is closed")
            state = self._state
            if state is None:
                self._try_attach()
                return
            if state.generation != self._generation:
                self._forget()
                return
            end = state.committed
            if end.revision == self._seen:
                return
            try:
                news = self._ground.journal.news(self._at, end)
            except (Corrupt, OSError) as error:
                if self._at.revision < state.checkpoint.revision:
                    self._forget()  # others wrote more than is kept: the files tell it all
                    return
                if state.generation == self._generation and state.committed == end:
                    if isinstance(error, OSError):
                        raise storage_error(error, self._ground.layout.journal, None) from error
                    raise
                self._forget()  # it was begun anew meanwhile
                return
            published = state.published_revision
            # Observers first: nobody may read what they were not told of.
            self._tell(news)
            for told in news.told:
                if told.origin is Origin.EXTERNAL:
                    self._take_in_edits(told.ops)
                else:
                    self._take_in(told, published)
            self._at = end
            self._seen = end.revision
            self._settle(published)

    def _try_attach(self) -> None:
        """For a handle on its own: has somebody brought the store to order meanwhile?"""
        ground = self._ground
        if ground.state is None and (ground.readonly or ground.refusal is not None):
            ground.attach_readonly()
        state = ground.state
        if state is not None and state.valid:
            ground.damage = []
            self._forget()

    def _forget(self) -> None:
        """Drop everything: what was known was before a recovery."""
        if self._feed is not None:
            self._feed.forget()
        self.begin()
        self._tell(None)

    def behind(self, state: State) -> bool:
        """Whether there is something to take in from this state; under the write lock.

        From here on this handle knows where documents are.  Raises RecoveryNeeded.
        """
        self._follow()
        self._ground.check_writable()
        return (
            self._state is not state
            or state.generation != self._generation
            or self._words[COMMITTED] != self._seen
        )

    def recovered(self) -> None:
        """The store was brought to order; under the write lock."""
        with self.mutex:
            state = self._ground.state
            if self._state is not state or state is None or state.generation != self._generation:
                self._forget()
            else:
                self.catch_up()

    def _take_in(self, told: Told, published: int) -> None:
        """Forget what another's commit has changed; keep what may not be in its file yet."""
        entries, pending, revision = self._entries, self._pending, told.revision
        committed, last = self._listings.committed, self._told
        for key, _, after in told.ops:
            if key in entries or key in last:
                last[key] = told
            entries.drop(key)
            committed(*key, there=after is not None)
        if len(last) > FILES:
            for old in list(last)[:-FILES]:
                last.pop(old, None)  # a reader may take it this moment
        if revision > published:
            pending.update((key, (revision, value)) for key, value in told.values())
        elif pending:
            for key, _, _ in told.ops:
                pending.pop(key, None)

    def _take_in_edits(self, ops: Iterable[tuple[Key, bool, object]]) -> None:
        """Have reads look at what was edited from outside; see :class:`record.Outline`.

        It is in the files already.  What the caller last saw is kept, for a blind put.
        """
        listings = self._listings
        for key, _, after in ops:
            self._pending.pop(key, None)
            self._doubt(key)
            if not listings.agrees(*key, there=after is not None):
                listings.drop(key.collection)

    def _settle(self, published: int) -> None:
        """Forget pending values that are in their files, now and then."""
        if len(self._pending) < _PENDING_SWEEP or published == self._settled:
            return
        self._settled = published
        settled = [key for key, (revision, _) in self._pending.items() if revision <= published]
        for key in settled:
            del self._pending[key]

    def note(self, commits: Sequence[Commit], swaps: dict[Key, Swap], at: Mark) -> None:
        """Take in this handle's own commits; inside ``mutex``, as they become visible."""
        self._tell(commits)
        entries, pending, revision = self._entries, self._pending, at.revision
        committed = self._listings.committed
        for key, swap in swaps.items():
            entries.drop(key)
            committed(*key, there=swap.after is not None)
            pending[key] = (revision, swap.after)
        self._at = at
        self._seen = revision
        if len(pending) >= _PENDING_SWEEP and self._state is not None:
            self._settle(self._state.published_revision)

    def note_external(self, commit: Commit, at: Mark) -> None:
        """Take in a commit of edits that this handle has found; inside ``mutex``."""
        self._tell([commit])
        self._take_in_edits((op.key, op.before is not None, op.after) for op in commit.ops)
        self._at = at
        self._seen = at.revision

    def moved(self, at: Mark) -> None:
        """The journal's end moved with no commit; under the write lock, all seen."""
        with self.mutex:
            if self._seen == at.revision:
                self._at = at

    def published(
        self, key: Key, revision: int, entry: FileEntry | None, *, keep: bool = True
    ) -> None:
        """A document of this handle's own commit is in its file.

        ``keep`` it in memory, or only what tells its file from others.
        """
        with self.mutex:
            pending = self._pending
            if (hit := pending.get(key)) is not None and hit[0] == revision:
                del pending[key]
                if entry is None:
                    return
                if keep:
                    self._entries[key] = entry
                else:
                    self.written.add(key, entry)

    def _tell(self, commits: Sequence[Commit] | None) -> None:
        for observer in self._observers:
            observer(commits)

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        if self.asleep is not None:
            self.asleep()
        with self.mutex:
            self.catch_up()
            # Copied, never changed in place: it may be walked at this moment.
            self._observers = [*self._observers, observer]

        def end() -> None:
            with self.mutex:
                self._observers = [one for one in self._observers if one is not observer]

        return end

    # -- reads --------------------------------------------------------------------

    def get(self, key: tuple[str, str]) -> Entry | None:
        """The document as it is now."""
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        if (
            self._pending
            and (hit := self._pending.get(key)) is not None
            and self._unpublished(hit[0])
        ):
            return _value(key, hit)
        entry_of = self._entry_of  # called as a name: quicker than as an attribute
        entry = entry_of(key)
        if entry is not None:
            era = self._era
            if entry.era == era and not self.hearing:
                entry.used = True
                if monotonic() < self._quiet_until:
                    return entry
                # The listener may take events between the looks at it and into the kernel, and
                # put another entry in this one's place.
                if self._hears() and entry_of(key) is entry and self._era == era:
                    return entry
            if self.asleep is not None:
                self.asleep()
            if not entry.racy:
                try:
                    status = self._lstat(entry.path)
                except OSError:
                    return self._load(key)
                if (
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_ino,
                    status.st_size,
                ) == entry.signature:
                    entry.used = True
                    if era > 0 and status.st_nlink == 1:
                        entry.era = era  # a doubt since the look is about another object
                    return entry
        return self._load(key)

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        """Documents as they are now; see Backend."""
        get = self.get if keep else self._get_once
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        read: dict[str, Entry] = {}
        if len(ids) >= _SEVERAL:
            entries = self._entries
            absent = [id for id in ids if (collection, id) not in entries]
            if len(absent) >= _SEVERAL:
                read = self._read_many(collection, absent, keep=keep)
        hears = self._hears()
        if not hears and not read:
            return one_by_one(get, collection, ids)
        era, pending = self._era, self._pending  # from here on: what was told before is in them
        found: list[tuple[str, Entry | Unreadable]] = []
        entry_of = self._entry_of
        for id in ids:
            if read and id in read:
                found.append((id, read[id]))
                continue
            key = collection, id
            entry = entry_of(key) if hears else None
            if entry is None or entry.era != era or (pending and key in pending):
                found += one_by_one(get, collection, (id,))
            else:
                entry.used = True
                found.append((id, entry))
        return found

    def _read_many(self, collection: str, ids: Sequence[str], *, keep: bool) -> dict[str, Entry]:
        """Documents that are not in memory, read together: that takes four fifths of the time.

        Those of which anything is unusual, or beside which there was a commit, are left out.
        """
        if self.asleep is not None:
            self.asleep()
        read: dict[str, Entry] = {}
        layout, tree, entries = self._ground.layout, self._ground.tree, self._entries
        for begin in range(0, len(ids), _TOGETHER):
            seen, era, doubts = self._seen, self._era, self._doubts
            keys = [Key(collection, id) for id in ids[begin : begin + _TOGETHER]]
            wanted = [(key, layout.path(key)) for key in keys if key not in self._pending]
            loaded = tree.load_many(wanted)
            if self._words[LAYOUTS] != self._layouts:
                break  # they may be elsewhere
            with self.mutex:  # as in _load
                if self._state is not None and not (self._words[COMMITTED] == seen == self._seen):
                    continue
                for (key, _), entry in zip(wanted, loaded, strict=False):
                    if not isinstance(entry, FileEntry):
                        continue
                    if era > 0:
                        if doubts == self._doubts:
                            entry.era = 0 if entry.linked else era
                        else:
                            entry.racy = True
                    if keep or entries.get(key) is not None:
                        self.remember(key, entry)
                    read[key.id] = entry
        return read

    def _get_once(self, key: tuple[str, str]) -> Entry | None:
        """The document as it is now; what is not in memory does not get there."""
        if self._entry_of(key) is not None:
            return self.get(key)
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        return self._load(key, keep=False)

    def _hears(self) -> bool:
        """Whether all that was edited up to this moment has been told."""
        if self._era < 0 or self.hearing:
            return False
        # The time before the look: what comes after that is not to be passed over for longer.
        now = monotonic()
        if now >= self._quiet_until:
            # In this order: whoever takes events from the kernel says first that it is about to.
            if self._unheard() or self.hearing:
                return False
            self._quiet_until = now + QUIET_SECONDS
        return True

    def _unpublished(self, revision: int) -> bool:
        state = self._state
        return state is None or state.published_revision < revision

    def _load(self, key: tuple[str, str], *, keep: bool = True) -> Entry | None:
        named = Key(*key)
        if self.asleep is not None:
            self.asleep()
        while True:
            seen, era, doubts = self._seen, self._era, self._doubts
            hit = self._pending.get(key)  # once more: a commit may have come since it was looked at
            if hit is not None and self._unpublished(hit[0]):
                return _value(key, hit)
            layout = self._ground.layout
            moves = layout.moves
            try:
                path = layout.path(named)
                loaded = self._as_told(key, path) or self._ground.tree.load(named, path)
            except Corrupt:
                if self._follow() != moves:
                    continue
                old = self._entries.get(key)
                self._entries.drop(key)
                if old is not None and self.noticed is not None:
                    self.noticed(old)
                if old is not None and self.edited is not None:
                    self.edited(key)
                raise
            if (
                loaded is None or self._words[LAYOUTS] != self._layouts
            ) and self._follow() != moves:
                continue
            with self.mutex:  # what is remembered must be of the revision that is said to be seen
                if self._state is None or self._words[COMMITTED] == seen == self._seen:
                    if loaded is not None and era > 0:
                        if doubts == self._doubts:
                            loaded.era = 0 if loaded.linked else era
                        else:
                            loaded.racy = True  # the event may have been about this file
                    if keep or self._entries.get(key) is not None:
                        self.remember(named, loaded)
                    return loaded
            self.catch_up()

    def _as_told(self, key: tuple[str, str], path: str) -> FileEntry | None:
        """A document as somebody has just committed it, if its file is as he left it.

        Nothing is read: for a document that was in memory before, so no link led to it.
        """
        state, told = self._state, self._told.pop(key, None)
        if state is None or told is None:
            return None
        signature = state.file(told.revision)
        found = None if signature is None else told.only_document()
        if signature is None or found is None:
            return None
        try:
            status = self._lstat(path)
        except OSError:
            return None
        if signature_of(status) != signature:
            return None
        data, etag = found
        entry = FileEntry(data, path, signature, racy=False, etag=etag)
        entry.linked = status.st_nlink > 1
        return entry

    def holds(self, edit: Edit) -> bool:
        """Whether an edit changes nothing, as far as can be told without the write lock.

        Nothing is read: what this handle has not seen it cannot vouch for.
        """
        key, after, expected = edit
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        entry = self._entries.get(key)
        return (
            entry is not None
            and entry.data == after
            and (expected is ANY or expected == entry.etag)
            and not (self._pending and key in self._pending)
            and self._stands(key, entry)
        )

    def _stands(self, key: Key, entry: FileEntry) -> bool:
        """Whether an entry is as its file is, for all that :meth:`get` would ask."""
        era = self._era
        if entry.era == era and self._hears() and self._entry_of(key) is entry and self._era == era:
            return True
        if entry.racy:
            return False
        try:
            status = self._lstat(entry.path)
        except OSError:
            return False
        if signature_of(status) != entry.signature:
            return False
        if era > 0 and status.st_nlink == 1:
            entry.era = era  # as in get
        return True

    def _is_current(self, entry: FileEntry) -> bool:
        try:
            return signature_of(self._lstat(entry.path)) == entry.signature
        except OSError:
            return False

    def _is_as_written(self, key: Key) -> bool:
        written = self.written.get(key)
        if written is None:
            return False
        try:
            return signature_of(self._lstat(self._ground.layout.path(key))) == written.signature
        except (OSError, FilestoreError):
            return False

    def known(self, key: Key) -> FileEntry | None:
        """What this handle last saw in the file, if the journal has not changed it since."""
        return self._entries.get(key)

    def seen(self, key: Key) -> Known | None:
        """A file as this handle last saw or wrote it, where its signature proves its content."""
        entry = self._entries.get(key)
        if entry is None:
            return self.written.get(key)
        return None if entry.racy else Known(bytes.fromhex(entry.etag), entry.signature)

    def pending(self, key: Key) -> tuple[int, Entry | None] | None:
        """A committed value that may not be in its file yet."""
        hit = self._pending.get(key)
        if hit is None or not self._unpublished(hit[0]):
            return None
        return hit[0], _value(key, hit)

    def remember(self, key: Key, entry: FileEntry | None) -> None:
        """What the file was found to hold."""
        old = self._entries.get(key)
        if entry is None:
            self._entries.drop(key)
        else:
            self._entries[key] = entry
        if old is not None and (entry is None or entry.data != old.data):
            if self.noticed is not None:
                self.noticed(old)
            if self.edited is not None:
                self.edited(key)

    # -- events -------------------------------------------------------------------

    def trust(self, unheard: Callable[[], bool], *, anew: bool) -> None:
        """From now on, until :meth:`distrust`, every edit is told by :meth:`suspect`.

        ``unheard`` tells whether there are events that nobody has read; from any thread.
        ``anew``: edits may have been missed.
        """
        with self.mutex:
            self._unheard = unheard
            if self._era == _NO_ERA or anew:
                self.since = monotonic()
            self._eras += 1
            self._doubts += 1
            self._era = self._eras

    def distrust(self) -> None:
        """Events may be missing: have every read look at its file."""
        with self.mutex:
            self._doubts += 1
            self._era = _NO_ERA

    @property
    def trusting(self) -> bool:
        return self._era > 0

    def suspect(self, key: Key, *, touched: bool) -> tuple[FileEntry | None, bool]:
        """An event tells of a document's file; what was known of it, and whether it is so still.

        ``touched``: it was written to.  Otherwise it only took its name, as every publishing
        makes it, and an unchanged signature vouches for it.
        """
        with self.mutex:  # first: who reads, or lists, at this moment must not vouch for it
            self._listings.told += 1
            entry = self._entries.get(key)
            if entry is None:
                self._doubts += 1
        if self._listings.knows(key.collection):
            self._compare(key)
        if entry is None:
            if not touched and self._is_as_written(key):
                return None, True
            if self.edited is not None:
                self.edited(key)
            return None, False
        if not touched and self._is_current(entry):
            return entry, True
        with self.mutex:
            self._doubt(key)
        if self.edited is not None:
            self.edited(key)
        return entry, False

    def _compare(self, key: Key) -> None:
        """Keep a listing only while it says of a file what there is."""
        there: bool | None
        try:
            there = stat.S_ISREG(self._lstat(self._ground.layout.path(key)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        except (OSError, FilestoreError):
            there = None
        with self.mutex:
            listings = self._listings
            if there is None or not listings.agrees(*key, there=there):
                listings.drop(key.collection)

    def _doubt(self, key: tuple[str, str]) -> None:
        self._doubts += 1
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = entry.doubted()

    def ids(self, collection: str) -> list[str]:
        """The ids in a collection."""
        if self._words[COMMITTED] != self._seen:
            self._catch_up()
        if self._hears() and self._words[LAYOUTS] == self._layouts:
            with self.mutex:
                known = self._listings.get(collection, (self._era, self._ground.layout.moves))
            if known is not None:
                return known
        told, era, moves = self._listings.told, self._era, self._ground.layout.moves
        listing, unpublished = self._listing(lambda: self._ground.layout.ids(self._fs, collection))
        changed = {key[1]: there for key, there in unpublished if key[0] == collection}
        if changed:
            present = dict.fromkeys(listing)
            for id, there in changed.items():
                if there:
                    present[id] = None
                else:
                    present.pop(id, None)
            listing = list(present)
        with self.mutex:
            listings = self._listings
            now = listings.told, self._era, self._ground.layout.moves
            if era > 0 and now == (told, era, moves):
                listings.keep(collection, listing, (era, moves))
        return listing

    def collections(self) -> list[str]:
        """The names of the collections that have documents, sorted."""
        while True:
            seen = self.revision
            found, unpublished = self._listing(lambda: self._ground.layout.collections(self._fs))
            touched = {key[0] for key, _ in unpublished}
            if not touched:
                return found
            names = set(found) - touched
            names.update(name for name in touched if self.ids(name))
            if self.revision == seen:
                return sorted(names)

    def _listing(
        self, scan: Callable[[], list[str]]
    ) -> tuple[list[str], list[tuple[tuple[str, str], bool]]]:
        """What the folders say, and what to correct it by: both of one revision.

        The corrections are taken first: what is published during the scan is
        in them, and to correct what is right already does no harm.
        """
        while True:
            self.catch_up()
            moves = self._follow()
            with self.mutex:
                seen = self._seen
                unpublished = [
                    (key, value is not None)
                    for key, (revision, value) in self._pending.items()
                    if self._unpublished(revision)
                ]
            try:
                found = scan()
            except OSError as error:
                where = error.filename or self._ground.layout.root
                raise storage_error(error, where, None) from error
            if self._follow() != moves:
                continue  # it may have been scanned while it was emptied
            if self._state is None or self._words[COMMITTED] == seen == self._seen:
                return found, unpublished

    # -- the end ------------------------------------------------------------------

    def after_fork(self) -> None:
        self.mutex = threading.RLock()
        self.publishing_many = False
        self._entries.after_fork()
        self._observers = []
        if self._feed is not None:
            self._feed.after_fork()
        self._era = _NO_ERA  # the events are the parent's
        self.hearing = False

    def close(self) -> None:
        with self.mutex:
            self._closed = True
            self._era = _NO_ERA
            self._words = [_NOT_SEEN] * (COMMITTED + 1)
            self._state = None
            self._entries.clear()
            self.written.clear()
            self._listings.clear()
            self._pending.clear()
            self._told.clear()
            self._observers = []


def _value(key: tuple[str, str], pending: _Pending) -> Entry | None:
    """A document that may not be in its file yet.  Raises Corrupt."""
    value = pending[1]
    return value if value is None or isinstance(value, Entry) else value.value(key)
