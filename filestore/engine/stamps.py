"""Whether a file system gives every change of a file a stamp of its own.

Linux stamps files by a clock that ticks every few milliseconds, so that two changes in
one tick look alike, and an unchanged stamp proves nothing about a file that
was touched a moment ago.  Since 6.13 some file systems take a finer clock for a change that
follows a look at the stamp: what is changed after it was looked at has another.

A stamp of the finer clock is ahead of the coarse one, and no other is where stamps are this
machine's own.  So it is known from the stamps that are met anyway, without a probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore.importing import importing

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem

_LOCAL: Final = frozenset({"bcachefs", "btrfs", "ext4", "tmpfs", "xfs"})
"""File systems whose stamps are this machine's: another's clock may be ahead as well."""

_ENOUGH: Final = 4  # one may be of a clock that was set back meanwhile
_AT_MOST: Final = 64


class Stamps:
    """What is known of the stamps of one handle's files; used under the write lock.

    ``fine``: a file whose stamp is the one that was seen has not been changed since.
    ``wanted``: whether it is worth to look at a stamp before the change that is to have another.
    """

    __slots__ = ("_fs", "_left", "_proofs", "_root", "fine", "wanted")

    def __init__(self, fs: FileSystem, root: str) -> None:
        self._fs = fs
        self._root = root
        self._left = _AT_MOST
        self._proofs = 0
        self.fine = False
        self.wanted = True

    def saw(self, stamp: int, clock: int) -> None:
        """Learn from a stamp, of a change after a look, and the coarse clock read after it."""
        self._left -= 1
        self._proofs += stamp > clock
        if self._proofs == _ENOUGH:
            with importing(ours=True):  # only writers come here, and once
                from filestore.engine.mounts import kind_of

            fs = self._fs
            self.fine = self.wanted = kind_of(fs.mounts(), fs.resolve(self._root)) in _LOCAL
            self._left = 0
        elif self._left <= 0:
            self.wanted = False
