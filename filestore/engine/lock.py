"""The write lock of a store: one writer at a time, in any thread or process.

The lock is filelock's native one on ``.filestore/lock``, taken on a descriptor
that stays open, so that taking it costs two system calls and no open.  A lock
file can be deleted or replaced while it is held, and then two processes would
hold two locks; the root folder cannot be without moving the store, so it is
locked as well, second.  Nobody waits inside the system: a blocked call could
not be timed out, and would stop an event loop that shares the thread.

The system frees the lock when its holder dies.  Who holds it is written to the
shared state, for people and for the next writer: a name that is still there
when the lock is free is a holder that died in the middle.

L1: this is the only lock that is held across a system call that can block.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from filestore.engine.fs import let_go, make_file
from filestore.errors import LockTimeout

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem
    from filestore.engine.layout import Layout
    from filestore.engine.state import State

_NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP, errno.EISDIR})
_FIRST_PAUSE: Final = 0.00005
_LONGEST_PAUSE: Final = 0.002  # what a waiter may lose when the holder goes


class WriteLock:
    """The lock as one handle sees it.

    Calling sequence, where an interrupt may come between any two steps::

        try:
            lock.acquire_threads(timeout, state)
            lock.acquire(timeout, state)
            ...                                  # recover, lock.sign(state), write
        finally:
            try:
                lock.release(state)
            except BaseException:
                lock.release(state)
                raise
    """

    def __init__(self, fs: FileSystem, layout: Layout) -> None:
        self._fs = fs
        self._layout = layout
        self._host = os.uname().nodename.encode()[:64].ljust(64, b"\0")
        self._pid = os.getpid()
        self._threads = threading.RLock()  # of which releasing tells whether it was ours
        self._owner: int | None = None
        self._signed = False
        self._lock_fd: int | None = None
        self._guard_fd: int | None = None

    @property
    def owned(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    def open(self) -> None:
        """Open what is locked.  Raises OSError."""
        fs, layout = self._fs, self._layout
        if self._lock_fd is None:
            self._lock_fd = make_file(fs, layout.lock, os.O_RDWR, layout.file_mode)
        if self._guard_fd is None:
            self._guard_fd = fs.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def acquire_threads(self, timeout: float, state: State | None) -> None:
        """Exclude the other threads of this handle.  Raises LockTimeout."""
        threads = self._threads
        if not threads.acquire(False) and not threads.acquire(
            timeout=max(0.0, min(timeout, threading.TIMEOUT_MAX))
        ):
            raise self._timed_out(timeout, state)
        self._owner = threading.get_ident()

    def acquire(self, timeout: float, state: State | None) -> None:
        """Exclude everybody else, the other threads being excluded.

        The shared state is told who holds the lock only by :meth:`sign`: the
        caller must first look whether the last holder died.  Raises LockTimeout,
        OSError.
        """
        try:
            if not self._try():
                self._wait(timeout, state)
        except BaseException:
            self._give()
            raise

    def release(self, state: State | None) -> None:
        """Give back what this thread holds, be it all, a part or nothing.

        An interrupt may cut it short: then call it again.
        """
        if self._owner == threading.get_ident():
            if self._signed:
                # First: once the lock is given back, the name there may be another's.
                self._signed = False
                if state is not None:
                    state.clear_holder()
            self._give()
            self._owner = None
        try:
            self._threads.release()
        except RuntimeError:
            pass  # another thread's, or nobody's

    def sign(self, state: State) -> None:
        """Write down who holds the lock."""
        self._signed = True
        state.set_holder(self._pid, self._host, time.time_ns())

    def _wait(self, timeout: float, state: State | None) -> None:
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while not self._try():
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._timed_out(timeout, state)
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _try(self) -> bool:
        fs = self._fs
        if self._lock_fd is None or self._guard_fd is None:
            self.open()
        assert self._lock_fd is not None
        if not fs.lock(self._lock_fd):
            return False
        if self._guard_fd is None or self._guard_fd < 0:
            return True
        try:
            if fs.lock(self._guard_fd):
                return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                fs.unlock(self._lock_fd)
                raise
            # A network file system that locks files only: the lock file has to do.
            let_go(fs, self._guard_fd)
            self._guard_fd = -1
            return True
        fs.unlock(self._lock_fd)
        return False

    def _give(self) -> None:
        # Unlocking what is not locked does no harm, and a holder that was interrupted
        # in between must not keep the others waiting.
        fs = self._fs
        try:
            if self._guard_fd is not None and self._guard_fd >= 0:
                fs.unlock(self._guard_fd)
        finally:
            if self._lock_fd is not None:
                fs.unlock(self._lock_fd)

    def _timed_out(self, timeout: float, state: State | None) -> LockTimeout:
        holder = state.holder if state is not None else None
        path = self._layout.root
        if holder is None:
            return LockTimeout(
                f"{path}: another writer held the store for longer than {timeout:g} s; "
                "try again, or raise lock_timeout",
                path=path,
            )
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
        return LockTimeout(
            f"{path}: process {holder.pid} on {holder.host} has held the store since {since}, "
            f"longer than {timeout:g} s; try again, raise lock_timeout, or end that process",
            path=path,
            pid=holder.pid,
            host=holder.host,
            since=holder.since,
        )

    def after_fork(self) -> None:
        """In the child: let go of the parent's descriptors.

        Closing them leaves the parent's lock alone; unlocking would take it away.
        """
        self._threads = threading.RLock()
        self._pid = os.getpid()
        self._owner = None
        self._signed = False
        self.close()

    def close(self) -> None:
        fds = self._lock_fd, self._guard_fd
        self._lock_fd = self._guard_fd = None  # first: an interrupt must not leave closed ones here
        for fd in fds:
            if fd is not None and fd >= 0:
                let_go(self._fs, fd)
