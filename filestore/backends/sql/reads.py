"""Reads from memory that are never stale (C1).

Every read asks the database for the newest revision, which is one row.  While it is the one
that the handle has *seen*, what the cache holds is what the database holds.  Otherwise the
handle catches up first: it tells its observers the commits in between, drops what they changed,
and only then says that it has seen them.  So whatever a read shows, observers know.

What is not in the cache is read together with the revision that it belongs to, in one
statement; it is kept only when that is the revision seen.  Lists of ids are read first and
caught up with afterwards: then observers have been told of everything that is in them.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from filestore.backend import Entry
from filestore.backends.sql import naming
from filestore.backends.sql.schema import PAGE
from filestore.codec.etag import etag_of
from filestore.engine.cache import Cache
from filestore.engine.names import encode_collection, encode_id
from filestore.errors import Corrupt
from filestore.model import Commit, Key, Op, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from filestore.backends.sql.schema import Statements
    from filestore.backends.sql.session import Session, Sessions
    from filestore.model import Etag, Revision

    Observer = Callable[[Sequence[Commit] | None], None]


class Held(Entry):
    """A document in the cache; ``used`` since that last asked."""

    __slots__ = ("used",)

    def __init__(self, data: bytes, etag: Etag | None = None) -> None:
        super().__init__(data, etag)
        self.used = False


class Reads:
    """The cache of one handle, and how far in the commits it is."""

    def __init__(
        self, sessions: Sessions, statements: Statements, shown: str, cache_bytes: int
    ) -> None:
        self._sessions = sessions
        self._statements = statements
        self._shown = shown
        self._entries: Cache[Held] = Cache(cache_bytes)
        # Documents that could not be read, by collection: for the indexes.
        self.unread: dict[str, set[str]] = {}
        self._seen = 0
        self._observers: list[Observer] = []
        self.mutex = threading.RLock()

    # -- where this handle is ---------------------------------------------------

    def begin(self, revision: Revision) -> None:
        """Start from a revision that was just read."""
        self._seen = revision

    @property
    def revision(self) -> Revision:
        return self.catch_up()

    @property
    def seen(self) -> Revision:
        """The revision that the cache is at; no look at the database."""
        return self._seen

    @property
    def cached(self) -> tuple[int, int]:
        """How many documents are in memory, and their bytes."""
        return len(self._entries), self._entries.bytes

    def catch_up(self) -> Revision:
        """Take in what was committed before the call; returns the revision seen then."""
        return self._sessions.ask(self._caught_up)

    def _caught_up(self, session: Session) -> Revision:
        revision: int = session.row(self._statements.revision)[0]
        if revision != self._seen:
            self.take_in(session, revision)
        return self._seen

    def take_in(self, session: Session, revision: Revision) -> None:
        """Catch up with a revision that ``session`` can see."""
        with self.mutex:
            if revision < self._seen:
                # Another thread was quicker, or somebody put an older copy in its place.
                revision = session.row(self._statements.revision)[0]
            if revision < self._seen:
                self._forget()
                self._seen = revision
            while self._seen < revision:
                if self._observers:
                    self._tell(session, revision)
                else:
                    self._drop_changed(session, revision)

    def _tell(self, session: Session, revision: Revision) -> None:
        """Tell observers of all commits up to ``revision``."""
        for commit in self._read_commits(session.rows, self._seen, revision):
            if commit.revision != self._seen + 1:
                break
            self._announce((commit,))
            for op in commit.ops:
                self._discard(op.key)
            self._seen = commit.revision
        if self._seen < revision:  # some are not kept any more
            self._forget()
            self._seen = revision

    def _drop_changed(self, session: Session, revision: Revision) -> None:
        if self._entries:
            rows = session.rows(self._statements.keys_since, self._seen)
            if len(rows) > PAGE:
                self._entries.clear()
            for _, collection, id, whole in rows:
                self._discard(_key(collection, id, whole))
        self._seen = revision

    def _forget(self) -> None:
        """What changed cannot be told."""
        self._entries.clear()
        for observer in self._observers:
            observer(None)

    def _announce(self, commits: Sequence[Commit]) -> None:
        for observer in self._observers:
            observer(commits)

    def committed(self, commits: Sequence[Commit], session: Session) -> None:
        """Take in commits of this handle, which ``session`` made."""
        with self.mutex:
            if self._seen != commits[0].revision - 1:
                if self._seen < commits[-1].revision:
                    self.take_in(session, commits[-1].revision)
                return
            self._announce(commits)
            for commit in commits:
                for key, _, after in commit.ops:
                    self._discard(key)
                    if after is not None:
                        self._entries[key] = Held(after)
            self._seen = commits[-1].revision

    # -- the cache ----------------------------------------------------------------

    def _discard(self, key: tuple[str, str]) -> None:
        self._entries.drop(key)
        if self.unread:
            self.unread.get(key[0], set()).discard(key[1])

    def known(self, key: tuple[str, str]) -> Entry | None:
        """What the cache holds; true at the revision seen."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
        return entry

    # -- documents ------------------------------------------------------------------

    def get(self, key: tuple[str, str]) -> Entry | None:
        return self._sessions.ask(partial(self._get, key))

    def _get(self, key: tuple[str, str], session: Session) -> Entry | None:
        revision: int = session.row(self._statements.revision)[0]
        if revision != self._seen:
            self.take_in(session, revision)
        entry = self.known(key)
        if entry is not None:
            return entry
        collection, id = columns(*key)
        row = session.row(self._statements.get, collection, naming.short(id))
        revision = row[0]
        try:
            entry = None if row[1] is None else entry_of(key, row[1], row[2], self._shown)
        except Corrupt:
            self.unread.setdefault(key[0], set()).add(key[1])
            raise
        with self.mutex:
            if revision > self._seen:
                self.take_in(session, revision)
            if revision == self._seen and entry is not None and key not in self._entries:
                self._entries[key] = entry
        return entry

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Corrupt]]:
        return self._sessions.ask(partial(self._get_many, collection, ids, keep))

    def _get_many(
        self, collection: str, ids: Sequence[str], keep: bool, session: Session
    ) -> list[tuple[str, Entry | Corrupt]]:
        revision = self._caught_up(session)
        known: dict[str, Entry | Corrupt] = {}
        missing = []
        for id in ids:
            entry = self.known((collection, id))
            if entry is None:
                missing.append(id)
            else:
                known[id] = entry
        if missing:
            loaded = load(session, self._statements, collection, missing, self._shown)
            known.update(loaded)
            for id, one in loaded.items():
                if isinstance(one, Corrupt):
                    self.unread.setdefault(collection, set()).add(id)
            with self.mutex:
                # Between the two looks nothing was committed: what was read is of that revision.
                after: int = session.row(self._statements.revision)[0]
                if after != self._seen:
                    self.take_in(session, after)
                if keep and after == revision:
                    for id, one in loaded.items():
                        if isinstance(one, Held) and (collection, id) not in self._entries:
                            self._entries[collection, id] = one
        return [(id, known[id]) for id in ids if id in known]

    # -- lists --------------------------------------------------------------------------

    def ids(self, collection: str) -> list[str]:
        encode_collection(collection)
        return self._sessions.ask(partial(self._ids, naming.column(collection)))

    def _ids(self, collection: str, session: Session) -> list[str]:
        found = ids_of(session.rows(self._statements.ids, collection))
        self._caught_up(session)
        return found

    def collections(self) -> list[str]:
        return self._sessions.ask(self._collections)

    def _collections(self, session: Session) -> list[str]:
        rows = session.rows(self._statements.collections)
        self._caught_up(session)
        return sorted(naming.text(name) for (name,) in rows)

    # -- commits ------------------------------------------------------------------------

    @property
    def horizon(self) -> Revision:
        """The revision before the oldest commit that is kept."""

        def ask(session: Session) -> Revision:
            _, first, _ = session.row(self._statements.history)
            return self._caught_up(session) if first is None else int(first) - 1

        return self._sessions.ask(ask)

    def changes(self, since: Revision, key: Key | None) -> Iterator[Commit]:
        """The commits after ``since``, a page at a time, up to the newest of now."""

        def rows(statement: Any, *values: Any) -> list[Any]:
            return self._sessions.ask(lambda session: session.rows(statement, *values))

        if key is None:
            return self._read_commits(rows, since, self.catch_up())
        return self._read_commits_of(rows, Key(*key), columns(*key), since, self.catch_up())

    def _read_commits_of(
        self,
        rows: Callable[..., list[Any]],
        key: Key,
        names: tuple[str, str],
        since: Revision,
        to: Revision,
    ) -> Iterator[Commit]:
        collection, id = names
        more = since < to
        while more:
            page = rows(self._statements.changes_of, collection, naming.short(id), since, to)
            more = len(page) == PAGE
            for revision, before, after, *head in page:
                since = revision
                yield _commit(revision, tuple(head), [Op(key, _bytes(before), _bytes(after))])

    def commits(self, session: Session, since: Revision, to: Revision) -> Iterator[Commit]:
        """The same by one connection: of one moment where that is in a transaction."""
        return self._read_commits(session.rows, since, to)

    def _read_commits(
        self, rows: Callable[..., Iterable[Any]], since: Revision, to: Revision
    ) -> Iterator[Commit]:
        head: tuple[Any, ...] = ()
        ops: list[Op] = []
        at, position = since + 1, -1
        more = at <= to
        while more:
            page = list(rows(self._statements.changes, at, position, to))
            more = len(page) == PAGE
            for revision, place, collection, id, whole, before, after, *rest in page:
                if ops and revision != at:
                    yield _commit(at, head, ops)
                    ops = []
                at, position, head = revision, place, tuple(rest)
                ops.append(Op(_key(collection, id, whole), _bytes(before), _bytes(after)))
        if ops:
            yield _commit(at, head, ops)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        # Of its own, so that a function that subscribes twice is told twice.
        entry = partial(observer)
        self.catch_up()
        with self.mutex:
            self._observers = [*self._observers, entry]

        def unsubscribe() -> None:
            with self.mutex:
                self._observers = [each for each in self._observers if each is not entry]

        return unsubscribe

    def close(self) -> None:
        with self.mutex:
            self._observers = []
            self._entries.clear()

    def forget(self) -> None:
        """Have nothing in memory: all is read anew."""
        with self.mutex:
            self._entries.clear()

    def after_fork(self) -> None:
        """In a child, another thread of whose parent may have been in the midst of it."""
        self.mutex = threading.RLock()
        self._entries.after_fork()
        self._entries.clear()


def columns(collection: str, id: str) -> tuple[str, str]:
    """A key as columns hold it, the id whole.  Raises InvalidKey, as a tree of files would."""
    encode_collection(collection)
    encode_id(id)
    return naming.column(collection), naming.column(id)


def ids_of(rows: Iterable[Any]) -> list[str]:
    return [naming.text(id if whole is None else whole) for id, whole in rows]


def load(
    session: Session, statements: Statements, collection: str, ids: Sequence[str], shown: str
) -> dict[str, Entry | Corrupt]:
    """Those of the documents that are there, from the database."""
    names = {naming.short(columns(collection, id)[1]): id for id in ids}
    name = naming.column(collection)
    found: dict[str, Entry | Corrupt] = {}
    for statement, chunk in statements.get_many.deal(list(names)):
        for short, data, etag in session.rows(statement, name, *chunk):
            id = names[short]
            try:
                found[id] = entry_of((collection, id), data, etag, shown)
            except Corrupt as error:
                found[id] = error
    return found


def entry_of(key: tuple[str, str], data: str, etag: str, shown: str) -> Held:
    """A row as a document.  Raises Corrupt for one that filestore did not write so."""
    raw = data.encode()
    if etag_of(raw) != etag:
        raise Corrupt(
            f"{shown}: {key[0]}/{key[1]} was changed by something else than filestore, past its"
            " history: filestore repair takes in what is a document, the rest is to be"
            " restored or deleted by hand",
            key=Key(*key),
            path=shown,
        )
    return Held(raw, etag)


def _commit(revision: int, head: tuple[Any, ...], ops: list[Op]) -> Commit:
    time, actor, message, origin = head
    return Commit(
        revision,
        time,
        None if actor is None else naming.text(actor),
        None if message is None else naming.text(message),
        Origin(origin),
        tuple(ops),
    )


def _key(collection: str, id: str, whole: str | None) -> Key:
    return Key(naming.text(collection), naming.text(id if whole is None else whole))


def _bytes(data: str | None) -> bytes | None:
    return None if data is None else data.encode()
