"""A store in this process's memory: for tests, scratch work, and as the plainest reading
of the :class:`~filestore.backend.Backend` protocol.

Two locks.  The *write lock* is what :meth:`MemoryBackend.exclusive` holds, for as long
as its caller likes.  The *mutex* guards the documents themselves and is held for
a few dictionary operations; it is what makes a commit appear whole (C2), and observers
run inside it so that they hear of a commit before any read shows it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from filestore.backend import Entry, InMemory, one_by_one
from filestore.codec import check_remarks
from filestore.edits import decide, require_distinct
from filestore.engine.names import encode_collection, encode_id
from filestore.errors import Closed, LockTimeout, ReadOnly
from filestore.model import Commit, Key, Op, Origin, only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filestore.backend import Indexing, Unreadable
    from filestore.model import Edit, Revision
    from filestore.problem import Problem

    Observer = Callable[[Sequence[Commit] | None], None]

_INDEXING = InMemory()

HISTORY_COMMITS = 10_000
"""How many commits :meth:`MemoryBackend.changes` can look back at most."""

HISTORY_BYTES = 64 * 1024 * 1024
"""How many bytes of documents those commits may hold together."""


class MemoryBackend:
    """Documents in a dictionary.  Safe for threads; nothing survives :meth:`close`.

    ``lock_timeout`` in seconds.  The feed keeps the newest ``history_commits`` commits,
    fewer when their documents exceed ``history_bytes``.
    """

    def __init__(
        self,
        *,
        readonly: bool = False,
        lock_timeout: float = 10.0,
        history_commits: int = HISTORY_COMMITS,
        history_bytes: int = HISTORY_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._readonly = readonly
        self._lock_timeout = lock_timeout
        self._history_commits = history_commits
        self._history_bytes = history_bytes
        self._clock = clock
        self._write_lock = threading.RLock()
        self._held_since: float | None = None
        self._mutex = threading.Lock()
        self._documents: dict[str, dict[str, Entry]] = {}
        self._revision = 0
        self._commits: deque[Commit] = deque()
        self._commit_bytes = 0
        # Which of the commits changed a document; made when first asked for.
        self._by_key: dict[Key, deque[Commit]] | None = None
        self._observers: list[Observer] = []
        self._closed = False
        _backends.add(self)

    @property
    def location(self) -> str:
        return "memory:"

    @property
    def readonly(self) -> bool:
        return self._readonly

    @property
    def revision(self) -> Revision:
        if self._closed:
            raise _closed()
        return self._revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        collection, id = key
        with self._mutex:
            if self._closed:
                raise _closed()
            documents = self._documents.get(collection)
            entry = None if documents is None else documents.get(id)
        if entry is None:
            _require_key(collection, id)
        return entry

    def get_many(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        keep: bool = True,  # noqa: ARG002  # all of it is in memory
    ) -> list[tuple[str, Entry | Unreadable]]:
        return one_by_one(self.get, collection, ids)

    @property
    def indexing(self) -> Indexing | None:
        return _INDEXING

    def ids(self, collection: str) -> list[str]:
        encode_collection(collection)
        with self._mutex:
            if self._closed:
                raise _closed()
            return list(self._documents.get(collection, ()))

    def collections(self) -> list[str]:
        with self._mutex:
            if self._closed:
                raise _closed()
            return sorted(self._documents)

    @contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        if self._closed:
            raise _closed()
        if self._readonly:
            raise ReadOnly("the store was opened read-only: open it with readonly=False to write")
        patience = self._lock_timeout if timeout is None else timeout
        lock = self._write_lock
        if not lock.acquire(timeout=min(max(patience, 0), threading.TIMEOUT_MAX)):
            raise LockTimeout(
                f"another thread of this process has held the store's write lock for longer"
                f" than {patience:g} s: try again, or wait longer with lock_timeout",
                path=self.location,
                pid=os.getpid(),
                host=os.uname().nodename,
                since=self._held_since,
            )
        outermost = self._held_since is None
        if outermost:
            self._held_since = self._clock()
        try:
            yield
        finally:
            if outermost:
                self._held_since = None
            lock.release()

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None = None, message: str | None = None
    ) -> Commit | None:
        for edit in edits:
            _require_key(*edit.key)
        require_distinct(edits)
        check_remarks(actor, message)
        with self.exclusive():
            current: dict[tuple[str, str], Entry | None]
            current = {edit.key: self.get(edit.key) for edit in edits}
            ops = decide(edits, current, revision=self._revision)
            if not ops:
                return None
            return self._commit(ops, actor, message)

    def _commit(self, ops: tuple[Op, ...], actor: str | None, message: str | None) -> Commit:
        with self._mutex:
            if self._closed:
                raise _closed()
            commit = Commit(self._revision + 1, self._clock(), actor, message, Origin.LOCAL, ops)
            for observer in self._observers:
                observer((commit,))
            for key, _, after in ops:
                if after is not None:
                    self._documents.setdefault(key.collection, {})[key.id] = Entry(after)
                else:
                    documents = self._documents[key.collection]
                    del documents[key.id]
                    if not documents:
                        del self._documents[key.collection]
            self._revision = commit.revision
            self._remember(commit)
        return commit

    def _remember(self, commit: Commit) -> None:
        self._commits.append(commit)
        self._commit_bytes += _size(commit)
        if self._by_key is not None:
            _note(self._by_key, commit)
        while self._commits and (
            len(self._commits) > self._history_commits or self._commit_bytes > self._history_bytes
        ):
            gone = self._commits.popleft()
            self._commit_bytes -= _size(gone)
            if self._by_key is not None:
                _forget(self._by_key, gone)

    @property
    def horizon(self) -> Revision:
        with self._mutex:
            if self._closed:
                raise _closed()
            return self._commits[0].revision - 1 if self._commits else self._revision

    def changes(self, since: Revision, key: Key | None = None) -> Iterator[Commit]:
        with self._mutex:
            if self._closed:
                raise _closed()
            wanted: list[Commit] = []
            for commit in reversed(self._kept(key)):
                if commit.revision <= since:
                    break
                wanted.append(commit)
        if key is None:
            return reversed(wanted)
        return (only(commit, key) for commit in reversed(wanted))

    def _kept(self, key: Key | None) -> Sequence[Commit]:
        if key is None:
            return self._commits
        _require_key(*key)
        if self._by_key is None:
            self._by_key = {}
            for commit in self._commits:
                _note(self._by_key, commit)
        return self._by_key.get(key, ())

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        with self._mutex:
            if self._closed:
                raise _closed()
            # A list of its own for each moment, so that a commit under way goes on with the one
            # it began with; and an object of its own for each subscription of a function.
            entry = partial(observer)
            self._observers = [*self._observers, entry]

        def unsubscribe() -> None:
            with self._mutex:
                self._observers = [each for each in self._observers if each is not entry]

        return unsubscribe

    def check(self) -> list[Problem]:
        if self._closed:
            raise _closed()
        return []

    def repair(self) -> list[Problem]:
        with self.exclusive():
            return []

    def rescan(self) -> Revision:
        return self.revision

    def checkpoint(self) -> None:
        if self._closed:
            raise _closed()

    def stats(self) -> dict[str, Any]:
        with self._mutex:
            if self._closed:
                raise _closed()
            return {
                "backend": "memory",
                "location": self.location,
                "revision": self._revision,
                "collections": len(self._documents),
                "documents": sum(len(each) for each in self._documents.values()),
                "history_commits": len(self._commits),
                "history_bytes": self._commit_bytes,
            }

    def after_fork(self) -> None:
        """In a child, whose copy of the documents is its own: have locks that nobody holds."""
        self._mutex = threading.Lock()
        self._write_lock = threading.RLock()
        self._held_since = None

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            self._observers = []
            self._documents = {}
            self._commits.clear()
            self._by_key = None


def _after_fork() -> None:
    for backend in list(_backends):
        backend.after_fork()


_backends: weakref.WeakSet[MemoryBackend] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)


def _closed() -> Closed:
    return Closed("the store is closed: open it again")


def _note(by_key: dict[Key, deque[Commit]], commit: Commit) -> None:
    for op in commit.ops:
        by_key.setdefault(op.key, deque()).append(commit)


def _forget(by_key: dict[Key, deque[Commit]], commit: Commit) -> None:
    for op in commit.ops:
        commits = by_key[op.key]
        commits.popleft()
        if not commits:
            del by_key[op.key]


def _size(commit: Commit) -> int:
    return sum(len(op.before or b"") + len(op.after or b"") for op in commit.ops)


def _require_key(collection: str, id: str) -> None:
    """Raise InvalidKey where a tree of files would: a key is good on every ground or on none."""
    encode_collection(collection)
    encode_id(id)
