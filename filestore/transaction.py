"""Writes that are kept aside until they are committed together.

A transaction holds the store's write lock from its first moment, as SQLite's
``BEGIN IMMEDIATE`` does: no other writer of the store comes between what it reads and what it
writes.  Only an edit from outside (an editor, git) can, and that is why
whatever it read and then changed is committed with the etag that was read as
``expected``.  What it only read needs no such check: such an edit is recorded after
the transaction, which is an order in which both can have happened.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filestore import overlay
from filestore.backend import Entry, one_by_one
from filestore.collection import Collection, Collections
from filestore.collector import paused
from filestore.drafts import Drafts
from filestore.edits import etag_in, stale
from filestore.errors import Closed, FilestoreError
from filestore.model import ANY, Edit, Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filestore.backend import Backend, Unreadable
    from filestore.index import Indexes
    from filestore.model import Commit, Expected, Revision
    from filestore.query import Fields, Query


class Transaction(Collections):
    """The store as it will be when this transaction has committed (C2).

    Made by :meth:`filestore.Store.transaction`; used like the store, in the thread that
    began it and until its block ends, after which everything raises Closed.
    Reads see its own writes and, for the rest, the documents as they are now.
    """

    def __init__(
        self,
        backend: Backend,
        indexes: Indexes,
        *,
        actor: str | None = None,
        message: str | None = None,
    ) -> None:
        self._backend = backend
        self._indexes = indexes
        self._applied = 0
        self._owner = threading.get_ident(), _forks.count
        self._ended = False
        self._doomed = False
        self._actor = actor
        self._message = message
        self._made: Revision | None = None
        self._drafts = Drafts()
        self._seen: dict[tuple[str, str], Entry | None] = {}

    def __getitem__(self, collection: str) -> Collection:
        """The collection of that name; it need not have documents yet."""
        self._require_active()
        return Collection(self, collection)

    def collections(self) -> list[str]:
        """The names of the collections that have documents, sorted."""
        self._require_active()
        touched = {collection for collection, _ in self._drafts.entries}
        return overlay.collections(self._backend.collections(), touched, self.ids)

    @property
    def location(self) -> str:
        """Where the store is, for people."""
        return self._backend.location

    @property
    def readonly(self) -> bool:
        """Always false: a read-only store begins no transaction."""
        return self._backend.readonly

    @property
    def revision(self) -> Revision:
        """The store's newest revision; this transaction has none before it commits."""
        self._require_active()
        return self._backend.revision

    @property
    def moment(self) -> object:
        """A ground's property: another whenever reads may give something else."""
        return self._backend.revision, self._applied

    def get(self, key: tuple[str, str]) -> Entry | None:
        """A document as this transaction sees it; a ground's method, see Backend."""
        self._require_active()
        drafts = self._drafts.entries
        if key in drafts:
            return drafts[key]
        entry = self._backend.get(key)
        self._seen.setdefault(key, entry)
        return entry

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        """Documents as this transaction sees them; a ground's method, see Backend."""
        return one_by_one(self.get, collection, ids)

    def computed(self, collection: str) -> Fields:
        """A ground's method."""
        return self._indexes.computed(collection)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        """A ground's method: what is committed, and whatever is written here."""
        self._require_active()
        found = self._indexes.candidates(collection, query)
        if found is None:
            return None
        return overlay.candidates(found, self._drafts.candidates(collection, query))

    def ids(self, collection: str) -> list[str]:
        """The ids as this transaction sees them; a ground's method, see Backend."""
        self._require_active()
        return overlay.ids(self._backend.ids(collection), self._drafts.listed(collection))

    def apply(self, edits: Sequence[Edit]) -> Commit | None:
        """Take the edits into the transaction, all or none; a ground's method, see Backend."""
        self._require_active()
        decided: list[tuple[Key, Entry | None]] = []
        conflicts: list[Key] = []
        for edit in edits:
            if edit.expected is ANY and not callable(edit.after):
                # Not looked at, so that the commit tells whether somebody edited it unseen.
                decided.append((edit.key, None if edit.after is None else Entry(edit.after)))
                continue
            current = self.get(edit.key)
            if edit.expected is not ANY and edit.expected != etag_in(current):
                conflicts.append(edit.key)
                continue
            before = None if current is None else current.data
            after = edit.after(before) if callable(edit.after) else edit.after
            if after != before:
                decided.append((edit.key, None if after is None else Entry(after)))
        if conflicts:
            raise stale(conflicts)
        self._applied += 1
        for key, entry in decided:
            self._drafts.put(key, entry)
        return None

    @contextmanager
    def nested(self, actor: str | None, message: str | None) -> Iterator[Transaction]:
        """A block within the transaction: its writes are taken back when it raises."""
        self._require_active()
        mark, before = self._drafts.mark, (self._actor, self._message)
        self._actor = self._actor if self._actor is not None else actor
        self._message = self._message if self._message is not None else message
        try:
            yield self
        except BaseException:
            self._actor, self._message = before
            self._applied += 1
            self._drafts.take_back(mark)
            raise

    def commit(self, default_actor: str | None) -> Commit | None:
        """Carry out the writes; for the store, which holds the write lock meanwhile."""
        self._require_active()
        if not self._drafts.entries:
            return None
        # A bulk load's many objects are no garbage, and soon gone.
        with paused(len(self._drafts.entries)):
            edits = [
                Edit(key, None if entry is None else entry.data, self._expected(key))
                for key, entry in self._drafts.entries.items()
            ]
            # All that is needed of its many writes is in the edits.
            self._drafts, self._seen = Drafts(), {}
            commit = self._backend.apply(
                edits,
                actor=self._actor if self._actor is not None else default_actor,
                message=self._message,
            )
        self._made = None if commit is None else commit.revision
        return commit

    @property
    def made(self) -> Revision | None:
        """The revision that it made; None before it has committed, and if it changed nothing."""
        return self._made

    def _expected(self, key: tuple[str, str]) -> Expected:
        return etag_in(self._seen[key]) if key in self._seen else ANY

    def doom(self) -> None:
        """Refuse everything from now on, the commit too: the store is being closed."""
        self._doomed = True

    def end(self) -> None:
        """Refuse everything from now on: the block has ended."""
        self._ended = True

    @property
    def mine(self) -> bool:
        """Whether the calling thread, of this process, is the one that began the transaction."""
        return (threading.get_ident(), _forks.count) == self._owner

    @property
    def ended(self) -> bool:
        """Whether its block has ended."""
        return self._ended

    def _require_active(self) -> None:
        if self._ended or self._doomed:
            raise Closed(
                "the transaction has ended: begin another"
                if self._ended
                else "the store was closed inside the transaction, which was discarded"
            )
        if not self.mine:
            raise FilestoreError(
                "a transaction is for the thread that began it:"
                " use the store itself in other threads and in forked processes"
            )


class _Forks:
    """How many forks lie between this process and the first that imported this module.

    A child has threads of the same numbers, but none of its parent's transactions.  Asking the
    system for the process at each write would take a tenth of a bulk load's puts.
    """

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.count += 1


_forks: Final = _Forks()
