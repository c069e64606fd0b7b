"""The file backend: one handle on a store that is a tree of files."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from filestore.engine.cache import DEFAULT_BYTES
from filestore.engine.fs import FileSystem
from filestore.engine.ground import Durability, open_ground
from filestore.engine.lookout import Lookout, green
from filestore.engine.reads import Reads
from filestore.engine.tree import storage_error
from filestore.errors import Closed, FilestoreError, ReadOnly
from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from filestore.backend import Entry, Indexing, Unreadable
    from filestore.engine.reshard import Resharded
    from filestore.engine.shelf import Shelf
    from filestore.engine.watcher import Watcher
    from filestore.engine.works import Works
    from filestore.model import Commit, Edit, Key, Revision
    from filestore.problem import Problem

CLOSING_SECONDS: Final = 1.0
"""How long closing waits for other writers; what it leaves undone is safe in the journal."""

_handles: weakref.WeakSet[FileBackend] = weakref.WeakSet()


class FileBackend:
    """A :class:`filestore.backend.Backend` over a folder.  Safe for threads and processes.

    ``durability``: ``full`` (on the disk when a commit returns), ``normal``
    (survives the death of processes; the last moments before a power cut may be
    lost, each commit whole), ``off`` (no commit waits for the disk).  ``lock_timeout`` in seconds.
    ``cache_bytes``: the memory for documents, see :mod:`filestore.engine.cache`.
    ``file_mode``: the permissions of the documents.  ``background=False`` leaves
    checkpoints, and in ``normal`` the publishing, to explicit calls and
    :meth:`close`.  Raises NotFound, Corrupt, UnsupportedFormat, StorageError,
    LockTimeout.
    """

    get: Callable[[tuple[str, str]], Entry | None]

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        codec: str | None = None,
        fanout: int | None = None,
        durability: str = "full",
        readonly: bool = False,
        create: bool = True,
        lock_timeout: float = 10.0,
        watch: bool = True,
        cache_bytes: int = DEFAULT_BYTES,
        file_mode: int = 0o600,
        fs: FileSystem | None = None,
        background: bool = True,
    ) -> None:
        if cache_bytes < 0:
            raise ValueError(f"cache_bytes must be 0 or more, not {cache_bytes}")
        self._ground = ground = open_ground(
            os.fspath(path),
            fs=fs or FileSystem(),
            codec=codec,
            fanout=fanout,
            durability=durability,
            readonly=readonly,
            create=create,
            lock_timeout=lock_timeout,
            file_mode=file_mode,
        )
        self._closed = False
        self._closing = threading.Lock()
        self._in_background = background
        self._made_works: Works | None = None
        self._made_shelf: Shelf | None = None
        self._lookout: Lookout | None = None
        try:
            self._reads = reads = Reads(ground, cache_bytes)
            if background and not green():
                self._lookout = Lookout(ground, reads, self._watcher, events=watch)
            if ground.made:
                self._works.recorder.ledger.start_empty()
            state = ground.state
            in_order = state is None or (state.in_order and not state.lagging)
            if not in_order and not ground.readonly:
                self._works.recover()
            reads.begin()
        except BaseException as error:
            ground.detach()
            ground.lock.close()
            if isinstance(error, OSError):
                raise storage_error(error, ground.layout.root, None) from error
            raise
        self.get = reads.get  # the hot path, without a call in between
        _handles.add(self)
        if self._lookout is not None:
            self._lookout.start()

    # -- what is made when it is first of use, see filestore.engine.works ---------

    @property
    def _works(self) -> Works:
        works = self._made_works
        return self._make_works() if works is None else works

    def _make_works(self) -> Works:
        with importing(ours=True):
            from filestore.engine.works import Works

            if self._made_works is None:
                self._made_works = Works(
                    self._ground,
                    self._reads,
                    self._shelf,
                    background=self._in_background,
                    events=None if self._lookout is None else self._lookout.events,
                )
                if self._closed:
                    self._made_works.stop()  # close() may have found none, and nothing may start
            return self._made_works

    @property
    def _shelf(self) -> Shelf:
        shelf = self._made_shelf
        return self._make_shelf() if shelf is None else shelf

    def _make_shelf(self) -> Shelf:
        with importing(ours=True):
            from filestore.engine.shelf import Shelf

            if self._made_shelf is None:
                self._made_shelf = Shelf(self._ground, self._reads, self._lookout)
            return self._made_shelf

    def _watcher(self) -> Watcher:
        watcher = self._works.watcher
        assert watcher is not None
        return watcher

    # -- the protocol -------------------------------------------------------------

    @property
    def location(self) -> str:
        return self._ground.layout.root

    @property
    def readonly(self) -> bool:
        # A failed sync is no reason to say so: writing raises what happened.
        return self._ground.readonly or isinstance(self._ground.refusal, ReadOnly)

    @property
    def revision(self) -> Revision:
        return self._reads.revision

    def ids(self, collection: str) -> list[str]:
        return self._reads.ids(collection)

    def get_many(
        self, collection: str, ids: Sequence[str], *, keep: bool = True
    ) -> list[tuple[str, Entry | Unreadable]]:
        return self._reads.get_many(collection, ids, keep=keep)

    @property
    def indexing(self) -> Indexing | None:
        return self._shelf

    def collections(self) -> list[str]:
        return self._reads.collections()

    def exclusive(self, timeout: float | None = None) -> AbstractContextManager[None]:
        self._check_open()
        return self._works.writer.exclusive(timeout)

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None = None, message: str | None = None
    ) -> Commit | None:
        self._check_open()
        return self._works.writer.apply(edits, actor=actor, message=message)

    @property
    def horizon(self) -> Revision:
        self._check_open()
        return self._reads.feed.horizon

    def changes(self, since: Revision, key: Key | None = None) -> Iterator[Commit]:
        self._check_open()
        return self._reads.feed.changes(since, key)

    def subscribe(self, observer: Callable[[Sequence[Commit] | None], None]) -> Callable[[], None]:
        self._check_open()
        return self._reads.subscribe(observer)

    def check(self) -> list[Problem]:
        from filestore.engine import inspection  # few ever ask

        with self._open():
            return inspection.check(self._ground, self._reads)

    def repair(self) -> list[Problem]:
        from filestore.engine import inspection  # few ever ask

        with self._open():
            works = self._works
            return inspection.repair(self._ground, self._reads, works.writer, works.checkpointer)

    def rescan(self) -> Revision:
        with self._open():
            works = self._works
            try:
                works.recorder.rescan(self._ground.lock_timeout)
            except OSError as error:
                if isinstance(error, FilestoreError):
                    raise
                raise storage_error(error, self.location, None) from error
            finally:
                if works.watcher is None or not works.watcher.records:
                    works.recorder.resign(save=True)
            return self.revision

    def checkpoint(self) -> None:
        with self._open():
            self._works.checkpointer.run()

    def reshard(
        self, fanout: int, progress: Callable[[int, int], object] | None = None
    ) -> Resharded:
        """Move every document to its place at another fan-out.

        See :func:`filestore.engine.reshard.reshard`.
        """
        from filestore.engine.reshard import reshard  # once in the life of a store

        self._check_open()
        works = self._works
        return reshard(self._ground, works.writer, works.checkpointer, fanout, progress)

    def stats(self) -> dict[str, Any]:
        with self._open():
            return self._stats()

    def _stats(self) -> dict[str, Any]:
        ground, state = self._ground, self._ground.state
        revision = self.revision
        known = state is not None and state.valid
        cached_documents, cached_bytes = self._reads.cached
        return {
            "location": self.location,
            "format": 1,
            "codec": ground.config.codec,
            "fanout": ground.config.fanout,
            "durability": ground.durability.value,
            "readonly": self.readonly,
            "revision": revision,
            "published_revision": state.published_revision if state and known else revision,
            "checkpoint_revision": state.checkpoint.revision if state and known else None,
            "journal_bytes": self._journal_bytes(),
            "cached_documents": cached_documents,
            "cached_bytes": cached_bytes,
            **self._watching(),
            "trouble": ground.trouble,
        }

    def _watching(self) -> dict[str, Any]:
        works = self._works
        if works.watcher is not None:
            return works.watcher.stats()
        return {
            "watching": False,
            "verifies": "stat",
            "watching_why_not": "green threads" if green() else "background=False",
            "recorder": works.recorder.elected,
            "passes": works.recorder.passes,
            "overflows": 0,
            "external_commits": works.recorder.recorded,
        }

    def _journal_bytes(self) -> int:
        ground = self._ground
        total = 0
        try:
            for number in ground.journal.numbers():
                with contextlib.suppress(FileNotFoundError):  # trimmed meanwhile
                    total += ground.fs.lstat(ground.journal.path(number)).st_size
        except OSError as error:
            raise storage_error(error, ground.layout.journal, None) from error
        return total

    def close(self) -> None:
        """Checkpoint and let go; a second call does nothing.

        What cannot be checkpointed is safe in the journal, so closing does not
        raise for it.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        ground = self._ground
        if self._lookout is not None:
            self._lookout.stop()
        if self._made_works is not None:
            self._made_works.stop()
        try:
            if self._owes_checkpoint:
                works = self._works
                # Who only read must not wait for a writer to do what that one owes.
                wait = min(CLOSING_SECONDS, ground.lock_timeout) if works.writer.wrote else 0.0
                works.checkpointer.run(wait)
        except FilestoreError:
            pass
        finally:
            _handles.discard(self)
            self._reads.close()
            try:
                ground.lock.acquire_threads(ground.lock_timeout, None)
                try:
                    ground.refusal = self._told_closed()  # to a write that has begun
                    ground.detach()
                finally:
                    ground.lock.close()
            finally:
                ground.lock.release(None)

    @property
    def _owes_checkpoint(self) -> bool:
        ground, state = self._ground, self._ground.state
        return (
            not self.readonly
            and not ground.damage
            and ground.durability is not Durability.OFF
            and state is not None
            and state.checkpoint.revision < state.committed.revision
        )

    def _check_open(self) -> None:
        if self._closed:
            raise self._told_closed()

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Raise Closed for what is begun too late, or is cut short by another thread's close()."""
        self._check_open()
        yield
        self._check_open()

    def _told_closed(self) -> Closed:
        return Closed(f"{self._ground.layout.root}: the store is closed")

    def after_fork(self) -> None:
        """In a child: have locks, descriptors and threads of one's own."""
        self._closing = threading.Lock()
        self._ground.following = threading.RLock()
        self._ground.lock.after_fork()
        self._ground.close_journal()
        self._ground.tree.after_fork()
        self._reads.after_fork()
        if self._made_works is not None:
            self._made_works.after_fork()
        if self._lookout is not None:
            self._lookout.after_fork()


def _after_fork() -> None:
    for handle in list(_handles):
        handle.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
