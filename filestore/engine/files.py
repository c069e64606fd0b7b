"""The file backend: one handle on a store that is a tree of files."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from filestore.engine import inspection, recover
from filestore.engine.background import Background
from filestore.engine.cache import DEFAULT_BYTES
from filestore.engine.checkpoint import Checkpointer
from filestore.engine.fs import FileSystem
from filestore.engine.ground import Durability, open_ground
from filestore.engine.reads import Reads
from filestore.engine.recorder import Recorder
from filestore.engine.reshard import Resharded, reshard
from filestore.engine.shelf import Shelf
from filestore.engine.tree import storage_error
from filestore.engine.watcher import Watcher, green
from filestore.engine.writer import Writer
from filestore.errors import Closed, FilestoreError, LockTimeout, ReadOnly, RecoveryNeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from filestore.backend import Entry, Indexing, Unreadable
    from filestore.model import Commit, Edit, Key, Problem, Revision

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
        self._watcher: Watcher | None = None
        self._closing = threading.Lock()
        try:
            self._reads = reads = Reads(ground, cache_bytes)
            self._shelf = Shelf(ground, reads)
            self._writer = Writer(ground, reads, self._committed)
            self._checkpointer = Checkpointer(ground, reads, self._writer)
            scratch = ground.durability is Durability.OFF
            self._background = (
                Background(ground, self._checkpointer) if background and not scratch else None
            )
            self._recorder = Recorder(ground, reads, self._writer, self._shelf)
            self._recorder.ledger.start_empty()
            self._recover_if_needed()
            reads.begin()
        except BaseException as error:
            ground.detach()
            ground.lock.close()
            if isinstance(error, OSError):
                raise storage_error(error, ground.layout.root, None) from error
            raise
        self.get = reads.get  # the hot path, without a call in between
        _handles.add(self)
        if background and not green():
            self._watcher = Watcher(ground, reads, self._recorder, events=watch)
            self._shelf.watcher = self._watcher
            self._watcher.start()

    def _recover_if_needed(self) -> None:
        """Bring the store to order if nobody else is about to; readers need not wait for it."""
        ground, state = self._ground, self._ground.state
        if state is None or ground.readonly or not (not state.in_order or state.lagging):
            return
        wait = ground.lock_timeout if not state.valid else 0.0
        try:
            with self._writer.exclusive(wait):
                if ground.durability is not Durability.NORMAL:
                    recover.publish_pending(ground, ground.check_writable())
        except LockTimeout:
            if not state.valid:
                raise
        except RecoveryNeeded:
            pass  # reads go on; writes and check() tell
        except FilestoreError as error:
            if not state.valid:
                ground.damage = ground.damage or []
            ground.trouble = str(error)

    def _committed(self) -> None:
        if self._background is not None:
            self._background.committed()

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
        return self._writer.exclusive(timeout)

    def apply(
        self, edits: Sequence[Edit], *, actor: str | None = None, message: str | None = None
    ) -> Commit | None:
        self._check_open()
        return self._writer.apply(edits, actor=actor, message=message)

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
        with self._open():
            return inspection.check(self._ground, self._reads)

    def repair(self) -> list[Problem]:
        with self._open():
            return inspection.repair(self._ground, self._reads, self._writer, self._checkpointer)

    def rescan(self) -> Revision:
        with self._open():
            try:
                self._recorder.rescan(self._ground.lock_timeout)
            except OSError as error:
                if isinstance(error, FilestoreError):
                    raise
                raise storage_error(error, self.location, None) from error
            finally:
                if self._watcher is None or not self._watcher.records:
                    self._recorder.resign(save=True)
            return self.revision

    def checkpoint(self) -> None:
        with self._open():
            self._checkpointer.run()

    def reshard(
        self, fanout: int, progress: Callable[[int, int], object] | None = None
    ) -> Resharded:
        """Move every document to its place at another fan-out.

        See :func:`filestore.engine.reshard.reshard`.
        """
        self._check_open()
        return reshard(self._ground, self._writer, self._checkpointer, fanout, progress)

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
        if self._watcher is not None:
            return self._watcher.stats()
        return {
            "watching": False,
            "verifies": "stat",
            "watching_why_not": "green threads" if green() else "background=False",
            "recorder": self._recorder.elected,
            "passes": self._recorder.passes,
            "overflows": 0,
            "external_commits": self._recorder.recorded,
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
        if self._watcher is not None:
            self._watcher.stop()
        if self._background is not None:
            self._background.stop()
        try:
            if self._owes_checkpoint:
                # Who only read must not wait for a writer to do what that one owes.
                wrote = self._writer.wrote
                self._checkpointer.run(min(CLOSING_SECONDS, ground.lock_timeout) if wrote else 0.0)
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
        self._ground.journal.close()
        self._ground.tree.after_fork()
        self._reads.after_fork()
        self._writer.after_fork()
        self._checkpointer.after_fork()
        if self._background is not None:
            self._background.after_fork()
        if self._watcher is not None:
            self._watcher.after_fork()


def _after_fork() -> None:
    for handle in list(_handles):
        handle.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
