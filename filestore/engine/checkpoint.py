"""Making the documents themselves durable, so that the journal is only history.

Syncing files needs no lock: whatever a file holds when it is synced is what
its last commit, or somebody's editor, gave it.  So the write lock is taken
twice, shortly: to see how far the published documents go, and to write down
that they are safe.  A name is durable only when its folder was synced, and the
folder's own name when the one above it was.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Final

from filestore.engine import record, recover
from filestore.engine.compaction import Compactor
from filestore.engine.fs import MANY, SyncFailed, let_go, sync_file_system, sync_folder
from filestore.engine.ground import poison
from filestore.engine.journal import Journal
from filestore.engine.state import Flag, Mark, position
from filestore.engine.tree import storage_error

if TYPE_CHECKING:
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.state import State
    from filestore.engine.writer import Writer
    from filestore.model import Key

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class Checkpointer:
    """Checkpoints of one handle, one at a time."""

    def __init__(self, ground: Ground, reads: Reads, writer: Writer) -> None:
        self._ground = ground
        self._reads = reads
        self._writer = writer
        self._compactor = Compactor(ground)
        self._one_at_a_time = threading.Lock()

    def after_fork(self) -> None:
        self._one_at_a_time = threading.Lock()

    def publish(self, wait: float | None = None) -> None:
        """Sync the journal and give the files what they lack (``normal`` puts both off)."""
        if not self._ground.check_writable().lagging:
            return
        with self._writer.exclusive(wait):
            state = self._ground.check_writable()
            if state.lagging:
                self._restore_journal(state)
                try:
                    recover.publish_pending(self._ground, state)
                except OSError as error:
                    raise storage_error(error, self._ground.layout.root, None) from error

    def run(self, wait: float | None = None) -> None:
        """Checkpoint what is committed now; ``wait`` for the lock, None for its usual timeout.

        Raises StorageError, RecoveryNeeded, LockTimeout.
        """
        with self._one_at_a_time:
            begun = self._begin(wait)
            if begun is None:
                return
            start, end = begun
            keys = self._keys(start, end, MANY + 1)
            if len(keys) <= MANY:
                self.sync(keys)
            elif not self._sync_all():
                self.sync(self._keys(start, end, None))
            self._write_down(end, wait)

    def _begin(self, wait: float | None) -> tuple[Mark, Mark] | None:
        with self._writer.exclusive(wait):
            ground = self._ground
            state = ground.check_writable()
            self._restore_journal(state)
            committed, checkpoint = state.committed, state.checkpoint
            if checkpoint.revision >= committed.revision:
                return None
            try:
                if state.synced < committed.revision:
                    self._sync_journal(state, committed)
                if state.lagging:
                    recover.publish_pending(ground, state)
            except OSError as error:
                raise storage_error(error, ground.layout.root, None) from error
            return checkpoint, state.committed

    def _restore_journal(self, state: State) -> None:
        """Put back what this handle still has open of a journal that somebody removed."""
        ground, end = self._ground, state.committed
        try:
            if ground.journal.restore(end):
                tail, offset = ground.journal.rotate(end, checkpoint=state.checkpoint.revision)
                self._moved(state, Mark(end.revision, position(tail.number, offset)))
        except SyncFailed as error:
            raise poison(ground, state, error) from error
        except OSError as error:
            raise storage_error(error, ground.layout.journal, None) from error

    def _moved(self, state: State, end: Mark) -> None:
        """The journal goes on elsewhere; nothing was committed."""
        published = state.published_revision == end.revision
        state.set_committed(end)
        if published:
            state.set_published(end)
        self._reads.moved(end)

    def _sync_journal(self, state: State, committed: Mark) -> None:
        try:
            self._ground.journal.sync_segment(committed.position >> 40)
        except SyncFailed as error:
            raise poison(self._ground, state, error) from error
        state.set_synced(committed.revision)

    def _keys(self, start: Mark, end: Mark, most: int | None) -> set[Key]:
        ground = self._ground
        journal = Journal(ground.fs, ground.layout, ground.config.id)
        try:
            return journal.keys(start, end, most)
        except OSError as error:
            raise storage_error(error, ground.layout.journal, None) from error
        finally:
            journal.close()

    def sync(self, keys: set[Key]) -> None:
        """Put the files, and the names of files and folders, on the disk."""
        if len(keys) > MANY and self._sync_all():
            return
        layout = self._ground.layout
        paths = [layout.path(key) for key in keys]
        try:
            folders = {layout.root}
            for path in paths:
                folders.update(layout.folders(os.path.dirname(path)))
                self._sync_file(path)
            for folder in sorted(folders, reverse=True):
                self._sync_folder(folder)
        except OSError as error:
            raise self._failed(error) from error

    def _sync_all(self) -> bool:
        """Put all that is on the file system on the disk; whether that could be done."""
        try:
            return sync_file_system(self._ground.fs, self._ground.layout.root)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> Exception:
        """What to raise when the disk refused to sync."""
        ground = self._ground
        if error.errno not in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            return storage_error(error, ground.layout.root, None)
        with self._writer.exclusive():
            return poison(ground, ground.check_writable(), error)

    def _sync_file(self, path: str) -> None:
        fs = self._ground.fs
        try:
            fd = fs.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _GONE:
                return  # deleted since, or something that is no document of ours
            raise
        try:
            fs.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a pipe or the like
                raise
        finally:
            let_go(fs, fd)

    def _sync_folder(self, path: str) -> None:
        try:
            sync_folder(self._ground.fs, path)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def _write_down(self, end: Mark, wait: float | None) -> None:
        ground = self._ground
        with self._writer.exclusive(wait):
            state = ground.check_writable()
            committed = state.committed
            if state.checkpoint.revision >= end.revision:
                return  # another process was quicker
            try:
                (at,) = ground.journal.append(
                    [record.checkpoint_payload(end.revision)],
                    committed,
                    checkpoint=state.checkpoint.revision,
                    may_use_reserve=True,
                )
                ground.journal.sync()
                self._moved(state, Mark(committed.revision, at))
                state.set_checkpoint(end)
            except SyncFailed as error:
                raise poison(ground, state, error) from error
            except OSError as error:
                state.set_flags(state.flags | Flag.DIRTY)  # half a line may stand there
                raise storage_error(error, ground.layout.journal, None) from error
            try:
                self._compactor.run(committed.revision, end.revision)
            except OSError as error:
                raise storage_error(error, ground.layout.journal, None) from error
