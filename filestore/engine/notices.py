"""What the system tells of changes in folders: inotify, through watchdog's bindings.

Of watchdog only these are taken.  Its observers make an object of each of seven
kinds of events and hand it from thread to thread, 144 microseconds in all; every
commit would pay for that in each process that has the store open.  Here events that
came together are read together, and only the kinds that tell of a change.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import struct
import sys
import termios
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.importing import importing

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_BYTES: Final = bytearray(4)  # never changed; bytes cost an exception inside ioctl
_BUFFER: Final = 1 << 16
_EVENT: Final = struct.Struct("iIII")

# The numbers are the kernel's, and never change.
MODIFY: Final = 0x2
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
_ONLY_FOLDERS: Final = 0x01000000
_NO_LINKS: Final = 0x02000000
_NOT_UNLINKED: Final = 0x04000000
FOLDER: Final = 0x40000000
_WRITTEN: Final = CREATE | MODIFY | CLOSE_WRITE
_WANTED: Final = (
    MODIFY
    | CLOSE_WRITE
    | MOVED_FROM
    | MOVED_TO
    | CREATE
    | DELETE
    | DELETE_SELF
    | MOVE_SELF
    | _ONLY_FOLDERS
    | _NO_LINKS
    | _NOT_UNLINKED
)


class Notice(NamedTuple):
    """One event: ``watch`` is the number of the folder that it happened in."""

    watch: int
    mask: int
    name: bytes


class Notices:
    """A queue of events in the kernel.  Raises OSError; one thread at a time reads and closes."""

    def __init__(self) -> None:
        """Raises OSError EMFILE where a user has too many, ImportError where there are none."""
        # 40 ms, of which nobody who opens a store for a moment shall pay one.
        with importing():
            from watchdog.observers import inotify_c

        self._add: Callable[[int, bytes, int], int] = inotify_c.inotify_add_watch
        self._remove: Callable[..., int] = inotify_c.inotify_rm_watch
        self._fd: int = inotify_c.inotify_init()
        if self._fd < 0:
            raise _system_error("inotify_init")
        try:
            os.set_inheritable(self._fd, False)
            os.set_blocking(self._fd, False)
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except BaseException:
            os.close(self._fd)
            raise
        # A handle may be dropped unclosed.
        self._closing = weakref.finalize(self, _close, self._fd, self._bell)
        self._closing.atexit = False
        self._called = False
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._bell, select.POLLIN)

    def add(self, folder: str) -> int:
        """Be told of what happens in a folder, from now on; its number.

        Raises OSError: ENOSPC where the user watches too many folders.
        """
        watch = self._add(self._fd, os.fsencode(folder), _WANTED)
        if watch < 0:
            raise _system_error(folder)
        return watch

    def remove(self, watch: int) -> None:
        """Be told no more; a folder that is gone already is let be."""
        self._remove(self._fd, watch)

    def wait(self, seconds: float | None) -> None:
        """Until there is something to read, the bell was rung, or somebody called."""
        self._poll.poll(None if seconds is None else seconds * 1000)

    def read(self) -> tuple[list[Notice], bool]:
        """What there is, and whether there may be more at once.

        What is written to a file in a row comes as one notice; moves are told one by one.
        """
        if self._called:
            self._called = False  # first: a call that comes now is heard once more
            os.eventfd_read(self._bell)
        try:
            raw = os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return [], False
        found = []
        at, size = 0, len(raw)
        last_watch, last_name, together = -1, b"", 0
        unpack = _EVENT.unpack_from
        while at < size:
            watch, mask, _, length = unpack(raw, at)
            at += 16
            name = raw[at : at + length]
            at += length
            if mask & _WRITTEN and not mask & FOLDER:
                if name == last_name and watch == last_watch:
                    together |= mask
                    continue
                if last_name:
                    found.append(Notice(last_watch, together, last_name.rstrip(b"\0")))
                last_watch, last_name, together = watch, name, mask
                continue
            if last_name:
                found.append(Notice(last_watch, together, last_name.rstrip(b"\0")))
                last_name = b""
            found.append(Notice(watch, mask, name.rstrip(b"\0")))
        if last_name:
            found.append(Notice(last_watch, together, last_name.rstrip(b"\0")))
        return found, size > _BUFFER - 512

    def waiting(self) -> int:
        """How many bytes of events there are that were not read; from any thread."""
        try:
            size = fcntl.ioctl(self._fd, termios.FIONREAD, _NO_BYTES, False)
        except OSError:
            return _BUFFER  # closed this moment: nothing is known
        return 0 if size == _NO_BYTES else int.from_bytes(size, sys.byteorder)

    def call(self) -> None:
        """Wake the reader, once."""
        os.eventfd_write(self._bell, 1)
        self._called = True

    def ring(self) -> None:
        """Wake the reader, for good: nobody reads any more."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._closing()


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _system_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number) if number else "unknown error", what)


def reason(error: Exception) -> str:
    """Why there are no events, and what to do about it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "this user watches too many folders: raise fs.inotify.max_user_watches"
    if number == errno.EMFILE:
        return (
            "this user has too many inotify instances, or this process too many open files: "
            "raise fs.inotify.max_user_instances, or ulimit -n"
        )
    return f"the system gives no events: {error}"
