"""Who records: one of all handles that have a store open, in all processes.

It holds a lock on ``.filestore/state``, which goes with its holder.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final

from filestore.engine.fs import let_go

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.engine.ground import Ground

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Election:
    """Whether one handle is the recorder."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._fd: int | None = None
        self._unlock: Callable[[], object] | None = None

    @property
    def won(self) -> bool:
        """Whether this handle is elected; from any thread."""
        return self._fd is not None

    @property
    def possible(self) -> bool:
        """Whether this handle may record."""
        ground = self._ground
        return not ground.readonly and ground.refusal is None and ground.state is not None

    def stand(self) -> bool:
        """Become the recorder if nobody is; whether this handle is now.  Raises OSError."""
        fs = self._ground.fs
        fd = fs.open(self._ground.layout.state, _FLAGS)
        try:
            won = fs.lock(fd)
        except BaseException:
            let_go(fs, fd)
            raise
        if not won:
            let_go(fs, fd)
            return False
        self._fd = fd
        # A handle may be dropped unclosed, and nobody else could be elected.
        unlock = weakref.finalize(self, let_go, fs, fd)
        unlock.atexit = False
        self._unlock = unlock
        return True

    def holds(self) -> bool:
        """Whether the lock that is held is the one that others would take."""
        if self._fd is None:
            return False
        fs = self._ground.fs
        try:
            there = fs.lstat(self._ground.layout.state)
            held = fs.fstat(self._fd)
        except OSError:
            return False
        return (there.st_ino, there.st_dev) == (held.st_ino, held.st_dev)

    def resign(self) -> None:
        """Let another one be elected.

        In a child of a fork this closes its descriptor, and leaves the parent's lock alone.
        """
        self._fd, unlock = None, self._unlock
        self._unlock = None
        if unlock is not None:
            unlock()
