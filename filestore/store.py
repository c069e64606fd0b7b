"""The store as its users see it, over any backend.

What a process that opens a store to read some documents has no use for is imported by the
calls that have: a command that runs for a moment would spend most of it on imports.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from filestore.closing import Closing
from filestore.collection import Collection, Collections
from filestore.errors import Conflict, FilestoreError
from filestore.importing import importing
from filestore.joined import Joined
from filestore.model import Edit, Key
from filestore.query import Computed
from filestore.transaction import Transaction
from filestore.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.backend import Backend
    from filestore.blame import Blame
    from filestore.change import Change
    from filestore.index import Indexes
    from filestore.integrations.git.commits import StoreGit
    from filestore.model import Commit, Document, Revision
    from filestore.moment import Moment
    from filestore.past import Past, PastGround
    from filestore.plan import Documents, Plan
    from filestore.problem import Problem
    from filestore.subscription import Subscription
    from filestore.unrecorded import Unrecorded


class Store(Collections, Closing):
    """Named collections of documents, with transactions, snapshots and a change feed.

    Get one from :func:`filestore.open`; use it as a context manager, or call :meth:`close`.
    ``store["volumes"]`` is the collection of that name.  Safe for threads and, where
    the backend allows it, for any number of processes.  A call that raises
    has changed nothing; after :meth:`close` every call raises Closed.

    Durability: what a call that has returned wrote is as durable as the ``durability``
    that the store was opened with says; see :func:`filestore.open`.
    """

    def __init__(self, backend: Backend, *, actor: str | None = None) -> None:
        self._backend = backend
        self._ground = Joined(backend, actor)
        self._collections: dict[str, Collection] = {}
        self._closed = False
        # No lock of their own, which a fork might leave held: each use is one atomic call.
        self._views: set[Moment] = set()
        self._subscriptions: set[Subscription] = set()
        self._git: StoreGit | None = None

    @property
    def _indexes(self) -> Indexes:
        return self._ground.indexes

    def __getitem__(self, collection: str) -> Collection:
        """The collection of that name; it need not have documents yet.

        Components joined by ``/`` make nested folders: ``driver_data/lvm1``.  Raises InvalidKey.
        """
        found = self._collections.get(collection)
        if found is None:
            found = self._collections[collection] = Collection(self._ground, collection)
        return found

    def collections(self) -> list[str]:
        """The names of the collections that have documents, sorted."""
        transaction = self._ground.joined()
        return (self._backend if transaction is None else transaction).collections()

    @property
    def location(self) -> str:
        """Where the store is, for people: a path, a URL, ``memory:``."""
        return self._backend.location

    @property
    def readonly(self) -> bool:
        """Whether every write raises ReadOnly."""
        return self._backend.readonly

    @property
    def revision(self) -> Revision:
        """The number of the newest commit, of any process; 0 in a new store."""
        return self._backend.revision

    @property
    def in_transaction(self) -> bool:
        """Whether the calling thread is inside a transaction of this store."""
        return self._ground.joined() is not None

    @property
    def horizon(self) -> Revision:
        """The oldest revision that :meth:`at` can show: every later commit is kept."""
        return self._backend.horizon

    @contextmanager
    def transaction(
        self, *, message: str | None = None, actor: str | None = None
    ) -> Iterator[Transaction]:
        """Everything written inside the ``with`` block commits at once or not at all.

        The block holds the store's write lock: what it reads stays true until it commits, and
        other writers wait, so keep it short.  It belongs to its thread: every use of
        this store in the thread takes part in it (``tx["volumes"]`` and ``store["volumes"]``
        are the same there), and other threads see nothing of it before it has committed.

        When the block raises, nothing is written.  When it changes nothing, no revision is
        made.  A transaction inside another joins it: it commits with the outermost
        block; when the inner block raises, only what was written inside it is taken back, so
        the outer block may catch the error and go on.  ``message`` and ``actor`` are kept with
        the commit; those of the outermost block that gives them count, and without
        any the actor is the store's.

        Raises LockTimeout and ReadOnly on entry; on exit Conflict when a document that the block
        read and wrote was edited from outside meanwhile, and what writes raise.
        """
        outer = self._ground.joined()
        if outer is not None:
            with outer.nested(actor, message):
                yield outer
            return
        transaction: Transaction | None = None
        try:
            with self._backend.exclusive():
                transaction = Transaction(
                    self._backend, self._indexes, actor=actor, message=message
                )
                try:
                    self._ground.begin(transaction)
                    yield transaction
                    transaction.commit(self._ground.actor)
                finally:
                    self._ground.end(transaction)
        finally:
            # Once more, for an interrupt may have cut the first time short: a transaction that is
            # over and still joined would swallow whatever the thread writes from here on.
            if transaction is not None:
                self._ground.end(transaction)
            if self._closed:
                self._backend.close()

    def snapshot(self, *, keep: bool = True) -> View:
        """A view of this moment's revision, to be read at leisure; a context manager.

        Takes no lock and copies nothing.  Inside a transaction it shows what was committed
        before, without the transaction's own writes.  ``keep``: whether documents that are
        found or iterated over in it stay in memory (``cache_bytes``) for later reads; say False
        for going through all of them once.
        """
        view = View(self._backend, self._indexes, self._views.discard, keep=keep)
        self._views.add(view)
        return view

    def at(self, *, revision: Revision | None = None, git: str | None = None) -> Past:
        """The store as it was, to be read at leisure; a context manager.

        ``revision``: after that commit; 0 is the empty store.  A document costs as the number
        of its own later changes, a listing as the number of all later changes.  Inside
        a transaction it shows what was committed.

        ``git``: in a commit of the git repository that the store's folder is in: ``HEAD~1``, a
        branch, a tag.  Read from git's objects; no file of the work tree is looked at.

        Raises HistoryGone for a revision that is no longer kept, NotFound for one that is not
        made yet or that git does not know, GitError.
        """
        with importing(ours=True):
            from filestore.past import Kept, Past

        ground: PastGround
        if git is not None and revision is None:
            ground = self.git.past(git, self._indexes.computed)
        elif revision is not None and git is None:
            ground = Kept(self._backend, self._indexes, revision)
        else:
            raise TypeError("say which moment: at(revision=...) or at(git=...)")
        past = Past(ground, self._views.discard)
        self._views.add(past)
        return past

    @property
    def git(self) -> StoreGit:
        """The git repository that the store's folder is in: committing to it.

        Nothing is ever done in git but by calls of this.
        """
        if self._git is None:
            # It brings subprocess with it, for those who keep their store in git.
            from filestore.integrations.git.commits import StoreGit

            self._git = StoreGit(self, self._backend)
        return self._git

    def blame(self, collection: str, id: str) -> list[Blame]:
        """Every field of a document with the commit that gave it its value, by path.

        Costs as the number of the document's changes.  Raises NotFound, Corrupt.
        """
        with importing(ours=True):
            from filestore.blame import blame

        while True:
            revision = self._backend.revision
            document = self[collection][id]
            if self._backend.revision == revision:
                break  # else the document may be newer than what is told of it
        changes = self.changes(self.horizon, collection, id)
        return blame(document, (each for each in changes if each.revision <= revision))

    def undo(
        self, revision: Revision, *, message: str | None = None, actor: str | None = None
    ) -> Revision | None:
        """Take one commit back, in a new commit; returns the revision that this made.

        What later commits changed in other fields stays; documents that the commit
        deleted come back.  None when everything is as before that commit already, and inside a
        transaction, which has no revision before it commits.  An undo can be undone.
        ``message`` is "undo of revision N" if none is given.

        Raises Conflict when what the commit changed has been changed again since: its
        ``disputes`` name the documents, fields and revisions.  HistoryGone when the commit is no
        longer kept, NotFound when there is none of that number, and what writes raise.
        """
        with importing(ours=True):
            from filestore.past import commit_of
            from filestore.undo import undo

        told = message if message is not None else f"undo of revision {revision}"
        with self.transaction(message=told, actor=actor) as tx:
            commit = commit_of(self._backend, revision)

            def now(key: Key) -> bytes | None:
                entry = tx.get(key)
                return None if entry is None else entry.data

            def later(key: Key) -> Iterator[Commit]:
                return self._backend.changes(revision, key)

            tx.apply([Edit(op.key, after) for op, after in undo(commit, now, later)])
        return tx.made

    def unrecorded(self) -> Iterator[Unrecorded]:
        """Documents that were edited by hand and that no commit tells of yet, by key.

        Costs as the history is long.  See :func:`filestore.unrecorded.unrecorded`.
        """
        with importing(ours=True):
            from filestore.unrecorded import unrecorded

        return unrecorded(self._backend)

    def plan(self, wanted: Documents, *, delete: bool = False) -> Plan:
        """What it takes to give this store the documents of ``wanted``; changes nothing.

        ``wanted`` is another store, a moment of one, or a dict of dicts of documents.  ``delete``:
        what is not there goes, in the collections that are there; else it stays.
        Raises InvalidDocument for what cannot be stored, and what reading raises.
        """
        with importing(ours=True):
            from filestore.plan import make

        with self.snapshot() as view:
            return make(view.revision, view, wanted, delete=delete)

    def apply(
        self, plan: Plan, *, message: str | None = None, actor: str | None = None
    ) -> Revision | None:
        """Carry out a plan as one commit; returns the revision that this made.

        None where the plan changes nothing, and inside a transaction.  Raises Conflict, which
        names them, when documents that the plan has seen are not as it saw them: make it anew.
        """
        with self.transaction(message=message, actor=actor) as tx:
            seen = {step.key: step.etag for step in plan.steps}
            stale = []
            for key, etag in {**plan.unchanged, **seen}.items():
                entry = tx.get(key)
                if (None if entry is None else entry.etag) != etag:
                    stale.append(key)
            if stale:
                more = f" and {len(stale) - 5} more" if len(stale) > 5 else ""
                raise Conflict(
                    f"the plan is stale: {', '.join(map(str, stale[:5]))}{more} changed since"
                    " it was made; make it anew",
                    keys=stale,
                )
            tx.apply([Edit(step.key, step.after) for step in plan.steps])
        return tx.made

    def changes(
        self, since: Revision = 0, collection: str | None = None, id: str | None = None
    ) -> Iterator[Change]:
        """What commits after revision ``since`` changed, in order.

        ``collection`` and ``id`` keep to the documents so named.  Ends with the newest commit;
        begin again after the last change's revision, or use :meth:`watch`.  Commits that the
        store no longer keeps are left out: the first revision tells.  Raises HistoryGone where
        commits are dropped that follow one that was told already: begin again.
        """
        with importing(ours=True):
            from filestore.subscription import changes_of

        key = Key(collection, id) if collection is not None and id is not None else None
        return (
            change
            for commit in self._backend.changes(since, key)
            if any(_names(op.key, collection, id) for op in commit.ops)
            for change in changes_of(commit)
            if _names(change.key, collection, id)
        )

    def watch(
        self,
        callback: Callable[[Change], object],
        *,
        since: Revision | None = None,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> Subscription:
        """Call ``callback`` with every change from now on, or after revision ``since``.

        Changes of this and of other processes, in order, each once, after the commit. The
        callback runs in a thread of its own with no lock held and may use the store; what it
        raises goes to ``on_error``, by default :data:`threading.excepthook`, and the next change
        is delivered all the same.  Ends with the subscription's ``close()`` or the store's.
        """
        with importing(ours=True):
            from filestore.subscription import Subscription

        subscription = Subscription(
            self._backend,
            callback,
            since=since,
            on_error=on_error,
            on_close=self._subscriptions.discard,
        )
        self._subscriptions.add(subscription)
        return subscription

    def define(
        self, collection: str, field: str, function: Callable[[Document], Any], *, version: str
    ) -> None:
        """Let ``find`` take a computed field, as if the collection's documents had it.

        ``function`` makes its value of a document, None for none, and must depend on nothing
        else.  It gets documents that people have edited, so it must take any; it must
        not change them, nor use the store.  Give another ``version`` whenever the function
        changes.  For this handle; it hides a field of the documents that has the same name.
        """
        self._indexes.define(collection, Computed(field, function, version))

    def check(self) -> list[Problem]:
        """Look at everything and say what is wrong; changes nothing."""
        return self._backend.check()

    def repair(self) -> list[Problem]:
        """Mend what can be mended without losing a document; returns what is left."""
        return self._backend.repair()

    def rescan(self) -> Revision:
        """Look for files edited from outside now, record the edits, and tell the newest revision.

        It need not be called: a store that is watched notices by itself.  All edits made before
        the call are recorded when it returns.  Where another process records for all, that one is
        asked, and answers within about a second.  In a store that may not be written nothing
        is recorded.  Raises LockTimeout where that takes longer than the lock timeout.
        """
        return self._backend.rescan()

    def checkpoint(self) -> None:
        """Make the documents' own files durable, so that the journal is only history.

        Also keeps the indexes for the next run, as closing does.
        """
        self._backend.checkpoint()
        self._ground.keep_indexes()

    def stats(self) -> dict[str, Any]:
        """Figures for people and monitoring: the backend's, open views and subscriptions."""
        figures = self._backend.stats()
        figures["indexes"] = self._indexes.stats()
        figures["views"] = len(self._views)
        figures["subscriptions"] = len(self._subscriptions)
        return figures

    def close(self) -> None:
        """Release everything; idempotent.

        Waits for a watcher's callback that is running, unless called by it.  A transaction of
        this thread is discarded: the end of its block raises Closed.  A batch of commits to git
        makes its last one first; what that raises is raised once all is released.
        """
        try:
            if self._git is not None:
                self._git.close()
        finally:
            self._close()

    def _close(self) -> None:
        self._closed = True
        subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.end()
        # Two callbacks that close the store must not wait for each other.
        if not any(subscription.mine for subscription in subscriptions):
            for subscription in subscriptions:
                subscription.wait()
        for view in list(self._views):
            view.close()
        transaction = self._ground.joined()
        if transaction is None:
            # What cannot be kept is made anew by whoever needs it.
            with suppress(FilestoreError):
                self._ground.keep_indexes()
            self._backend.close()
        else:
            # Its block still holds the write lock, and closes the backend after that.
            transaction.doom()

    def __repr__(self) -> str:
        return f"<Store {self.location}{' (closed)' if self._closed else ''}>"


def _names(key: Key, collection: str | None, id: str | None) -> bool:
    return (collection is None or key.collection == collection) and (id is None or key.id == id)
