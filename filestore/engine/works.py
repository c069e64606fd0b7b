"""What a handle does beyond reading: who writes, checkpoints, records and watches, put together.

Made when the first of them is wanted, for these are most of the engine's modules, and
whoever opens a store to read a few documents needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.engine import recover
from filestore.engine.background import Background
from filestore.engine.checkpoint import Checkpointer
from filestore.engine.ground import Durability
from filestore.engine.recorder import Recorder
from filestore.engine.watcher import Watcher
from filestore.engine.writer import Writer
from filestore.errors import FilestoreError, LockTimeout, RecoveryNeeded

if TYPE_CHECKING:
    from filestore.engine.ground import Ground
    from filestore.engine.reads import Reads
    from filestore.engine.shelf import Shelf


class Works:
    """Those of one handle.

    ``background``: whether checkpoints are made without being asked for.  ``events``: whether
    the watcher may listen; None for no watcher.
    """

    def __init__(
        self, ground: Ground, reads: Reads, shelf: Shelf, *, background: bool, events: bool | None
    ) -> None:
        self._ground = ground
        self.writer = Writer(ground, reads, self._committed)
        self.checkpointer = Checkpointer(ground, reads, self.writer)
        scratch = ground.durability is Durability.OFF
        self.background = (
            Background(ground, self.checkpointer) if background and not scratch else None
        )
        self.recorder = Recorder(ground, reads, self.writer, shelf)
        self.watcher: Watcher | None = None
        if events is not None:
            self.watcher = Watcher(ground, reads, self.recorder, events=events)
            shelf.watcher = self.watcher

    def _committed(self) -> None:
        if self.background is not None:
            self.background.committed()

    def recover(self) -> None:
        """Bring the store to order if nobody else is about to; readers need not wait for it."""
        ground, state = self._ground, self._ground.state
        if state is None:
            return
        wait = ground.lock_timeout if not state.valid else 0.0
        try:
            with self.writer.exclusive(wait):
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

    def stop(self) -> None:
        """End all threads."""
        if self.watcher is not None:
            self.watcher.stop()
        if self.background is not None:
            self.background.stop()

    def after_fork(self) -> None:
        """In a child: threads and locks of one's own."""
        self.writer.after_fork()
        self.checkpointer.after_fork()
        if self.background is not None:
            self.background.after_fork()
        if self.watcher is not None:
            self.watcher.after_fork()
