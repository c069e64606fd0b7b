"""The indexes of a store: made when they are first of use, and current whenever they are asked.

An index answers with *candidates*: every document that is in the answer, and
maybe some that are not.  Whoever asked reads them and compares, so an index decides how
quick an answer is, and never what it is.  It rests on four things:

* X1 A document that was written since the index saw it is a candidate.  The backend tells of each
  commit before any read shows it; here it is only *marked*, so that a commit pays
  next to nothing.  The next find reads the marked documents.
* X2 A mark is taken off only by reading the document when its commit is visible.
* X3 A document that could not be read is a candidate until it is written again.
* X4 What the backend says may have been edited unseen is a candidate, or marked.

So a find sees every commit that returned before it began (C1).
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from filestore.backend import Entry
from filestore.codec import decode
from filestore.collector import BULK, paused
from filestore.errors import FilestoreError
from filestore.index.held import Extract, Held
from filestore.index.image import Hashes, build
from filestore.index.keeping import Kept, load, save
from filestore.index.layered import Layered
from filestore.index.saved import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backend import Backend
    from filestore.model import Commit, Revision
    from filestore.query import Computed, Fields, Query, Source

MOST_FIELDS: Final = 32
"""How many fields of one collection are indexed because somebody asked for them."""

_MANY: Final = 256  # candidates; with more, an index of the other fields asked for is worth making
_SALT_BYTES: Final = 16
_WORTH_KEEPING: Final = 1000  # documents whose index is saved as soon as it is made
_MOST_READ: Final = 20_000  # documents that are read for the sake of saving an index

_NONE: Final[Fields] = {}

_all: weakref.WeakSet[Indexes] = weakref.WeakSet()


class Indexes:
    """The indexes of one handle.  Safe for threads; a forked child begins anew."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._indexing = backend.indexing
        self._computed: dict[str, Fields] = {}
        self._held: dict[str, Held] = {}
        self._marking = threading.Lock()  # held for moments; no call of the backend inside
        self._subscribing = threading.Lock()
        self._unsubscribe: Callable[[], None] | None = None
        self._last: Sequence[Commit] = ()
        self._edits = itertools.count(1)
        _all.add(self)

    def define(self, collection: str, computed: Computed) -> None:
        """Have a computed field; one of that name before is replaced."""
        fields = self._computed.get(collection, {})
        self._computed[collection] = {**fields, computed.name: computed}

    def computed(self, collection: str) -> Fields:
        """The computed fields of a collection."""
        return self._computed.get(collection, _NONE)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """The ids of all documents that may be in the answer, ascending.

        None: nobody knows, look at all.  Raises what reading and catching up raise.
        """
        indexing = self._indexing
        if indexing is None or not query.wanted:
            return None
        edited = indexing.edited(collection)
        if edited is None and not indexing.settling:
            return None
        if self._unsubscribe is None:
            self._subscribe()
        held = self._held.get(collection)
        if held is None:
            held = self._held.setdefault(collection, Held(collection))
        with held.lock:
            if held.since is not None:
                self._ask_again(held, told=edited is not None)
            if edited is None:
                if not self._is_large(held):
                    return None  # it is soon looked at, and that sees what was edited meanwhile
                edited = ()
            try:
                found = self._candidates(held, query)
            except Damaged:
                held.forget()
                held.believing = False
                found = self._candidates(held, query)
            if found is None:
                return None
            if held.marks or held.unread or edited:
                return sorted({*found, *held.marks.copy(), *held.unread, *edited})
            layered = held.layered
            if len(found) > 1 and (layered is None or not layered.single):
                return sorted(set(found))
            return found

    def _is_large(self, held: Held) -> bool:
        """Whether an index is used, or made, while there may be edits that were not told."""
        if held.layered is None or held.epoch != held.lost:
            self._restore(held)
        if held.layered is None:
            return len(self._backend.ids(held.collection)) >= _WORTH_KEEPING
        return held.layered.count >= _WORTH_KEEPING

    def _ask_again(self, held: Held, *, told: bool) -> None:
        """Whether an index that was made too early to know of all edits may be believed still."""
        assert self._indexing is not None
        if held.since != self._indexing.listen():
            with self._marking:
                held.lost += 1  # what was edited in between may pass for what was there
        elif told:
            held.since = None

    def _candidates(self, held: Held, query: Query) -> list[str] | None:
        revision = self._backend.revision  # tells what was committed meanwhile
        layered, columns, wanted = held.layered, held.columns, query.wanted
        if layered is not None and len(wanted) == 1 and not held.marks and held.epoch == held.lost:
            source, _, data = wanted[0]
            column = columns.get(source)
            if column is not None:  # the usual case, in less time
                return layered.one(column, data)
        layered = self._current(held, query, revision)
        if layered is None:
            return None
        columns = held.columns
        return layered.candidates(
            [(columns[source], data) for source, _, data in query.wanted if source in columns]
        )

    # -- keeping current -------------------------------------------------------------

    def _current(self, held: Held, query: Query, revision: Revision) -> Layered | None:
        """The index with every commit up to ``revision``, over enough of the fields asked for."""
        if held.layered is None or held.epoch != held.lost:
            self._restore(held)
        layered, columns = held.layered, held.columns
        missing = [source for source, _, _ in query.wanted if source not in columns]
        if layered is not None:
            if held.marks:
                self._read_marked(held, layered, revision)
                if layered.fold() and layered.lower_changed:
                    self._keep(held)
            if not missing or not self._worth_more(held, layered, query):
                return layered
        sources = self._sources(held, missing)
        if not any(source in sources for source, _, _ in query.wanted):
            return None
        since = None
        if self._indexing is not None and self._indexing.edited(held.collection) is None:
            # What is edited before it is read is seen.  What is edited then must be told.
            since = self._indexing.listen()
            if since is None:
                return None
        self._make(held, sources, since)
        return held.layered

    @staticmethod
    def _worth_more(held: Held, layered: Layered, query: Query) -> bool:
        """Whether what is indexed leaves so much to read that the missing fields are needed."""
        sizes = [
            layered.size(held.columns[source], data)
            for source, _, data in query.wanted
            if source in held.columns
        ]
        return not sizes or (min(sizes) > _MANY and len(held.columns) < MOST_FIELDS)

    def _sources(self, held: Held, missing: Sequence[Source]) -> tuple[Source, ...]:
        """What to index: what was, what the settings want, and what is missing."""
        assert self._indexing is not None
        computed = self.computed(held.collection)
        declared = self._indexing.declared.get(held.collection, ())
        sources: dict[Source, None] = dict.fromkeys(
            source
            for source in (*held.columns, *(computed.get(name, name) for name in declared))
            if isinstance(source, str) or computed.get(source.name) == source
        )
        for source in missing:
            if len(sources) < MOST_FIELDS + len(declared):
                sources[source] = None
        return tuple(sources)

    def _make(self, held: Held, sources: tuple[Source, ...], since: float | None) -> None:
        """Make the index anew, by one look at every document."""
        held.forget()
        held.since = since
        epoch = self._track(held)
        salt = os.urandom(_SALT_BYTES)
        ids = self._backend.ids(held.collection)
        ids.sort()
        image = build(self._look(held, ids, sources, salt), len(sources))
        held.columns = {source: column for column, source in enumerate(sources)}
        held.layered = Layered(image, salt)
        held.epoch = epoch
        if len(ids) >= _WORTH_KEEPING:
            self._keep(held)  # at once: who knows how this process ends

    def _track(self, held: Held) -> int:
        """Begin anew to mark what is written; the epoch that this is of."""
        with self._marking:
            epoch = held.lost
            held.marks = {}
            # What was told last may not be visible yet.
            for commit in self._last:
                held.mark(commit)
            held.tracked = True
        return epoch

    def _restore(self, held: Held) -> None:
        """Go on with what an earlier run kept, if the feed tells of all that came since."""
        assert self._indexing is not None
        held.forget()
        if not held.believing:
            return
        epoch = self._track(held)
        kept = load(self._indexing, held.collection, self.computed(held.collection))
        if kept is None or not self._replay(held, kept):
            return
        held.columns = {source: column for column, source in enumerate(kept.sources)}
        held.unread = set(kept.unread)
        held.layered = kept.layered
        held.kept_id, held.kept_revision = kept.id, kept.revision
        held.epoch = epoch

    def _replay(self, held: Held, kept: Kept) -> bool:
        """Mark what was written since; whether that is known, and less than everything."""
        newest, seen = self._backend.revision, kept.revision
        most = _MANY + kept.layered.count // 2
        marks: dict[str, Revision] = {}
        try:
            for commit in self._backend.changes(seen) if newest > seen else ():
                if commit.revision != seen + 1:
                    return False
                seen = commit.revision
                for key, _, _ in commit.ops:
                    if key.collection == held.collection:
                        marks[key.id] = seen
                if len(marks) > most:
                    return False
        except FilestoreError:
            return False  # who reads the feed is told
        if seen < newest:
            return False
        with self._marking:
            for id, revision in marks.items():
                held.marks.setdefault(id, (revision, 0))
        return True

    def _look(
        self, held: Held, ids: Sequence[str], sources: tuple[Source, ...], salt: bytes
    ) -> Iterator[tuple[str, Hashes]]:
        """Every document's hashes; those that cannot be read are noted."""
        assert self._indexing is not None
        extract = Extract(sources, salt)
        for begin in range(0, len(ids), BULK):
            chunk = ids[begin : begin + BULK]
            seen = []
            with paused(len(chunk)):
                for id, entry in self._backend.get_many(held.collection, chunk):
                    if isinstance(entry, Entry):
                        seen.append((id, extract(decode(entry.data))))
                    else:
                        held.unread.add(id)
            yield from seen
        held.unread.update(self._indexing.edited(held.collection) or ())

    def _read_marked(self, held: Held, layered: Layered, revision: Revision) -> None:
        """Read what was written up to ``revision``."""
        assert self._indexing is not None
        due = {id: mark for id, mark in held.marks.copy().items() if mark[0] <= revision}
        ids = list(due)
        extract = Extract(tuple(held.columns), layered.salt)
        for begin in range(0, len(ids), BULK):
            chunk = ids[begin : begin + BULK]
            with paused(len(chunk)):
                found = dict(self._backend.get_many(held.collection, chunk))
                for id in chunk:
                    entry = found.get(id)
                    held.unread.discard(id)
                    if entry is None:
                        layered.put(id, extract.nothing)
                    elif isinstance(entry, Entry):
                        layered.put(id, extract(decode(entry.data)))
                    else:
                        held.unread.add(id)
            # Of what was edited unseen, no commit may ever tell how it was just now.
            held.unread.update(self._indexing.edited(held.collection) or ())
            with self._marking:
                for id in chunk:
                    if held.marks.get(id) == due[id]:
                        del held.marks[id]

    def _keep(self, held: Held) -> None:
        """Save an index, as far as it is not saved."""
        layered, indexing = held.layered, self._indexing
        point = None if indexing is None else indexing.point()
        if layered is None or indexing is None or point is None or held.epoch != held.lost:
            return
        if not indexing.lasting:
            return
        revision, token = point
        if len(held.marks) > _MOST_READ or (
            revision == held.kept_revision and not (layered.changed or held.marks)
        ):
            return
        if any(at <= revision for at, _ in held.marks.copy().values()):
            self._read_marked(held, layered, revision)
        layered.settle()
        kept = Kept(layered, tuple(held.columns), tuple(held.unread), revision, held.kept_id)
        id = save(indexing, held.collection, kept, token)
        held.kept_id, held.kept_revision = (id, revision) if id else ("", -1)

    def save(self) -> None:
        """Keep the indexes for the next run; costs little where little has changed."""
        if self._indexing is None or self._backend.readonly:
            return
        for held in list(self._held.copy().values()):
            with held.lock:
                try:
                    self._keep(held)
                except Damaged:
                    held.forget()
                    held.believing = False

    def _subscribe(self) -> None:
        with self._subscribing:
            if self._unsubscribe is None:
                if self._indexing is not None:
                    self._indexing.on_edit(self._edited)
                self._unsubscribe = self._backend.subscribe(self._observe)

    def _observe(self, commits: Sequence[Commit] | None) -> None:
        """Mark what commits wrote (X1)."""
        with self._marking:
            if commits is None:
                self._last = ()
                for held in self._held.values():
                    held.lost += 1
                return
            self._last = commits
            for commit in commits:
                for key, _, _ in commit.ops:
                    held_or_none = self._held.get(key.collection)
                    if held_or_none is not None and held_or_none.tracked:
                        held_or_none.marks[key.id] = commit.revision, 0

    def _edited(self, collection: str, id: str | None) -> None:
        """Mark what may have been edited from outside; a number of its own tells each apart."""
        if id is None:
            with self._marking:
                for each in self._held.copy().values():
                    each.lost += each.since is None  # one that was made just now is right
            return
        held = self._held.get(collection)
        if held is not None and held.tracked:
            with self._marking:
                revision, _ = held.marks.get(id, (0, 0))
                held.marks[id] = revision, next(self._edits)

    # -- the rest ----------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """What is indexed, for people: by collection the fields, documents and bytes."""
        figures = {}
        for name, held in sorted(self._held.copy().items()):
            layered = held.layered
            if layered is not None:
                figures[name] = {
                    "fields": [
                        source if isinstance(source, str) else source.name
                        for source in held.columns
                    ],
                    "entries": layered.count,
                    "bytes": layered.nbytes,
                }
        return figures

    def close(self) -> None:
        """Hear of no more commits."""
        with self._subscribing:
            end, self._unsubscribe = self._unsubscribe, None
        if end is not None:
            end()

    def after_fork(self) -> None:
        """In a child, whose parent's threads are gone: have locks that nobody holds."""
        self._marking = threading.Lock()
        self._subscribing = threading.Lock()
        self._unsubscribe = None
        self._last = ()
        self._held = {}


def _after_fork() -> None:
    for indexes in list(_all):
        indexes.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
