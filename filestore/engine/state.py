"""The shared state: one page of memory that all processes of a store map.

It tells how far the journal is, who writes, and where to begin; a hint that a
crash may leave at any value.  It is believed only when it was made by this run
of the machine for this very file; else it is rebuilt from the journal.  Within
one run it is exact: it is memory, and outlives any process.

Words of 64 bits, in the machine's byte order:

    0       magic and version            10  checkpointed revision
    1, 2    boot id                      11  position of the checkpoint
    3, 4    inode and device of itself   12  flags
    5       store's id                   13  generation: rebuilt how often
    6       layouts: how often documents moved to another fan-out
    8       committed revision: the word 14  synced revision
    9       which slot of published      15  whether the names are synced
            counts                       16  holder's pid (0: nobody)
    18-25   holder's host, UTF-8         17  since, nanoseconds
    26      edits recorded until when
    32-35   committed: two slots of (revision, position)
    36-39   published: two slots
    40      edits are to be looked for: asked when
    41      and recorded that were made until when
    48-87   files that commits of one document got: eight slots of (revision,
            modified, changed, inode, size), times in nanoseconds

Ids of boots and stores are numbers of 128 bits, of which one word has the upper half: what a
UUID says, or the hash of any other text.

A *position* is ``segment << 40 | offset``.  Revision r goes to slot r % 2, and
the word moves in steps of one, so a reader who finds the word at r before and after
has read slot r % 2 whole: it is written again only when the word has moved on.
The published mark moves by any number of revisions at once, so a word of its
own tells the slot: the writer that dies in between has touched the other one.
What file revision r got is in slot r % 8, if the first word there says r
before and after; it is 0 while the others are written.
"""

from __future__ import annotations

import os
import struct
from enum import IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.engine.fs import let_go, make_file

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem, Mapped
    from filestore.engine.layout import Layout

SIZE: Final = 4096
_MAGIC: Final = 0x0002_6574_6174_7366  # "fstate", version 2
_OFFSET_BITS: Final = 40
LAYOUTS: Final = 6
COMMITTED: Final = 8
_PUBLISHED: Final = 9
_CHECKPOINT: Final = 10
_CHECKPOINT_AT: Final = 11
_FLAGS: Final = 12
_GENERATION: Final = 13
_SYNCED: Final = 14
_NAMES: Final = 15
_PID: Final = 16
_SINCE: Final = 17
_IDENTITY: Final = slice(0, 6 * 8)
_HEARD: Final = 26
_HOST: Final = slice(18 * 8, 26 * 8)
_ASKED: Final = 40
_ANSWERED: Final = 41
_COMMITTED_SLOTS: Final = 32
_PUBLISHED_SLOTS: Final = 36
_FILES: Final = 48
FILES: Final = 8
"""For how many revisions it is known which file they got."""

NO_FILE: Final = (0, 0, 0, 0)
"""The signature of no file."""

_FILE_WORDS: Final = 5


class Flag(IntFlag):
    """What the next writer must see to before it writes."""

    DIRTY = 1  # a commit was left unfinished
    POISONED = 2  # a sync failed: what is in memory may not be on the disk


class Mark(NamedTuple):
    """A revision and the journal position just after its record."""

    revision: int
    position: int


class Holder(NamedTuple):
    """Who holds the write lock; since in seconds since the epoch."""

    pid: int
    host: str
    since: float


def position(segment: int, offset: int) -> int:
    """Pack a segment's number and an offset in it."""
    return segment << _OFFSET_BITS | offset


def unpack(packed: int) -> tuple[int, int]:
    """The segment's number and the offset in it."""
    return packed >> _OFFSET_BITS, packed & ((1 << _OFFSET_BITS) - 1)


class State:
    """The mapped state of one handle."""

    __slots__ = ("_boot", "_file", "_identity", "_mapped", "_store", "words", "writable")

    def __init__(
        self, mapped: Mapped, file: tuple[int, int], store_id: str, boot: str, *, writable: bool
    ) -> None:
        self._mapped = mapped
        self._file = inode, device = file
        self._boot = _words_of(boot)
        self._store = _words_of(store_id)[0]
        identity = _MAGIC, *self._boot, inode & _WORD, device & _WORD, self._store
        self._identity = struct.pack("@6Q", *identity)
        self.words = mapped.words
        self.writable = writable

    @classmethod
    def attach(
        cls, fs: FileSystem, layout: Layout, store_id: str, *, writable: bool
    ) -> State | None:
        """Map the state file, making it where it may; None where it is not to be had."""
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # nobody waits for a pipe's writer
        try:
            if writable:
                fd = make_file(fs, layout.state, flags | os.O_RDWR, layout.file_mode)
            else:
                fd = fs.open(layout.state, flags | os.O_RDONLY)
        except FileNotFoundError:
            if writable:
                raise
            return None
        try:
            stat = fs.fstat(fd)
            if stat.st_size < SIZE:
                if not writable:
                    return None
                # Not a hole: writing to one through a mapping kills when the disk is full.
                fs.fallocate(fd, 0, SIZE)
            mapped = fs.map(fd, SIZE, writable=writable)
            if 0 < stat.st_size < SIZE:
                mapped.words[0] = 0  # cut short: what is left must not be believed
        finally:
            let_go(fs, fd)
        file = stat.st_ino, stat.st_dev
        return cls(mapped, file, store_id, fs.boot_id(), writable=writable)

    @property
    def valid(self) -> bool:
        """Whether this run of the machine made it, for this file."""
        return self._mapped.data[_IDENTITY] == self._identity

    @property
    def in_order(self) -> bool:
        """Whether nothing is left to recover; for a state that was valid when attached.

        What makes it valid cannot change under a mapping but by a rebuild.
        """
        words = self.words
        return not words[_FLAGS] and not words[_PID] and self.valid

    def same_file(self, fs: FileSystem, layout: Layout) -> bool:
        """Whether the path still leads to what is mapped."""
        try:
            stat = fs.lstat(layout.state)
        except OSError:
            return False
        return (stat.st_ino, stat.st_dev) == self._file

    def disown(self) -> None:
        """Have nobody begin with it: it is about to be rebuilt.  Under the write lock."""
        self.words[0] = 0

    def rebuild(self, committed: Mark, checkpoint: Mark) -> None:
        """Start anew, all that is committed being published.  Under the write lock."""
        words = self.words
        self.disown()
        words[_GENERATION] = (words[_GENERATION] + 1) & _WORD
        words[1], words[2] = self._boot
        words[3], words[4] = (part & _WORD for part in self._file)
        words[5] = self._store
        words[_FLAGS] = 0
        words[_NAMES] = 0
        for revision in range(FILES):
            words[_FILES + _FILE_WORDS * revision] = 0
        words[_HEARD] = words[_ASKED] = words[_ANSWERED] = 0  # the clock begins anew with each boot
        self.set_checkpoint(checkpoint)
        self.set_committed(committed)
        self.set_published(committed)
        words[_SYNCED] = committed.revision
        words[0] = _MAGIC

    def set_file(self, revision: int, signature: tuple[int, int, int, int]) -> None:
        """Tell which file a commit of one document got: all that changes it changes this.

        Before the commit is told to be published.  :data:`NO_FILE` where nothing proves it.
        """
        modified, changed, inode, size = signature
        words, at = self.words, _FILES + _FILE_WORDS * (revision % FILES)
        words[at] = 0
        words[at + 1] = modified & _WORD  # a clock may be before its epoch
        words[at + 2] = changed & _WORD
        words[at + 3] = inode
        words[at + 4] = size
        words[at] = revision

    def file(self, revision: int) -> tuple[int, int, int, int] | None:
        """Which file a commit of one document got; None where that is not known."""
        words, at = self.words, _FILES + _FILE_WORDS * (revision % FILES)
        if words[at] != revision:
            return None
        signature = words[at + 1], words[at + 2], words[at + 3], words[at + 4]
        return signature if words[at] == revision and signature != NO_FILE else None

    @property
    def generation(self) -> int:
        return self.words[_GENERATION]

    def move_layout(self) -> None:
        """Have every handle look where documents are.  Under the write lock."""
        self.words[LAYOUTS] = (self.words[LAYOUTS] + 1) & _WORD

    @property
    def committed(self) -> Mark:
        return self._mark(COMMITTED, _COMMITTED_SLOTS)

    @property
    def published(self) -> Mark:
        """How far the files are, and where to read on from."""
        words = self.words
        while True:
            slot = self._published_slot
            mark = Mark(words[slot], words[slot + 1])
            if words[slot] == mark.revision and slot == self._published_slot:
                return mark

    @property
    def published_revision(self) -> int:
        return self.words[self._published_slot]

    @property
    def _published_slot(self) -> int:
        return _PUBLISHED_SLOTS + 2 * (self.words[_PUBLISHED] & 1)

    @property
    def heard(self) -> float:
        """Until when edits from outside are recorded, in seconds of the monotonic clock."""
        return self.words[_HEARD] / 1e9

    def set_heard(self, seconds: float) -> None:
        self.words[_HEARD] = int(seconds * 1e9)

    @property
    def asked(self) -> int:
        """When the recorder was last asked to go through the tree; nanoseconds of that clock."""
        return self.words[_ASKED]

    def ask(self, nanoseconds: int) -> None:
        """A hint: another's may take its place.  Ask again until it is answered."""
        self.words[_ASKED] = nanoseconds

    @property
    def answered(self) -> int:
        """All edits made until then, when somebody asked, are recorded."""
        return self.words[_ANSWERED]

    def answer(self, nanoseconds: int) -> None:
        self.words[_ANSWERED] = nanoseconds

    @property
    def names_safe(self) -> bool:
        """Whether the names that lead to the journal are known to be on the disk."""
        return self.words[_NAMES] != 0

    def set_names_safe(self) -> None:
        self.words[_NAMES] = 1

    @property
    def lagging(self) -> bool:
        """Whether something committed is not published."""
        return self.words[self._published_slot] < self.words[COMMITTED]

    @property
    def checkpoint(self) -> Mark:
        """The last checkpoint, and where to read on from.  Under the write lock."""
        return Mark(self.words[_CHECKPOINT], self.words[_CHECKPOINT_AT])

    @property
    def checkpoint_revision(self) -> int:
        """The last checkpoint."""
        return self.words[_CHECKPOINT]

    @property
    def synced(self) -> int:
        """The revision up to which the journal is known to be on the disk."""
        return self.words[_SYNCED]

    def set_synced(self, revision: int) -> None:
        self.words[_SYNCED] = revision

    def set_committed(self, mark: Mark) -> None:
        """Make a commit visible: from here every read shows it.  One revision at a time."""
        self._set(COMMITTED, _COMMITTED_SLOTS, mark)

    def set_published(self, mark: Mark) -> None:
        words = self.words
        other = (words[_PUBLISHED] & 1) ^ 1
        slot = _PUBLISHED_SLOTS + 2 * other
        words[slot], words[slot + 1] = mark
        words[_PUBLISHED] = other

    def set_checkpoint(self, mark: Mark) -> None:
        self.words[_CHECKPOINT], self.words[_CHECKPOINT_AT] = mark

    @property
    def flags(self) -> Flag:
        return Flag(self.words[_FLAGS] & 3)

    def set_flags(self, flags: Flag) -> None:
        self.words[_FLAGS] = int(flags)

    @property
    def holder(self) -> Holder | None:
        """Who wrote itself down as the holder of the write lock."""
        pid = self.words[_PID]
        if not pid:
            return None
        host = bytes(self._mapped.data[_HOST]).rstrip(b"\0").decode("utf-8", "replace")
        return Holder(pid, host, self.words[_SINCE] / 1e9)

    def set_holder(self, pid: int, host: bytes, since_ns: int) -> None:
        """``host`` has 64 bytes, NULs at the end."""
        words = self.words
        self._mapped.data[_HOST] = host
        words[_SINCE] = since_ns & _WORD
        words[_PID] = pid

    def clear_holder(self) -> None:
        self.words[_PID] = 0

    @property
    def held(self) -> bool:
        return self.words[_PID] != 0

    def _mark(self, word: int, slots: int) -> Mark:
        words = self.words
        while True:
            revision = words[word]
            slot = slots + 2 * (revision & 1)
            mark = Mark(words[slot], words[slot + 1])
            if mark.revision == revision == words[word]:
                return mark
            if not words[0]:  # being rebuilt: what is there is as good as any
                return mark

    def _set(self, word: int, slots: int, mark: Mark) -> None:
        words = self.words
        slot = slots + 2 * (mark.revision & 1)
        words[slot], words[slot + 1] = mark
        words[word] = mark.revision


_WORD: Final = (1 << 64) - 1
_UUID_DIGITS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")


def _words_of(id: str) -> tuple[int, int]:
    digits = id.replace("-", "")
    if len(digits) == _UUID_DIGITS and _HEX.issuperset(digits):
        number = int(digits, 16)
    else:
        from hashlib import blake2b  # takes 3 ms to import, and most ids are UUIDs

        number = int.from_bytes(blake2b(id.encode(), digest_size=16).digest(), "big")
    return number >> 64, number & _WORD
