"""The documents' files: reading one whole, and swapping one in.

Reading trusts nothing: a link, a pipe, a folder or a giant in a document's
place is Corrupt.  Writing never touches a file in place: the new content is
staged in ``tmp/`` and takes the name in one atomic step, an exchange, so that
what it displaced can be looked at: if it is not what the commit was decided
on, somebody edited the file in between, and gets it back (J4).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.backend import Entry
from filestore.codec import MAX_BYTES
from filestore.engine.fs import coarse_time_ns, let_go, read_at, write_at
from filestore.engine.stamps import Stamps
from filestore.engine.state import NO_FILE
from filestore.errors import Corrupt, FilestoreError, ReadOnly, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.codec import Codec
    from filestore.engine.fs import FileSystem
    from filestore.engine.layout import Layout
    from filestore.model import Etag, Key

_LINKS: Final = frozenset({errno.ELOOP, errno.EMLINK})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_NO_EXCHANGE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

_TYPE: Final = 0o170000  # the bits of a mode that tell a folder from the rest
_FOLDER: Final = stat.S_IFDIR

_MOST_STAGED_OPEN: Final = 16
_MOST_READ: Final = 8 << 20  # bytes in one go

Signature = tuple[int, int, int, int]
"""Modification time, change time, inode, size: differs when the file was touched."""


class FileEntry(Entry):
    """A document and the file that it was read from or written to.

    ``racy``: the file was touched in the very tick of the clock in which it was
    read, so an unchanged signature does not prove an unchanged file (as in
    git's index).  ``used``: read since the cache last asked.  ``era``: while the reader's
    is the same, the system would have told of an edit, and the file need not be looked at.
    ``linked``: it has another name, by which it may be edited with no event.
    """

    __slots__ = ("era", "linked", "path", "racy", "signature", "used")

    def __init__(
        self,
        data: bytes,
        path: str,
        signature: Signature = NO_FILE,
        *,
        racy: bool = True,
        etag: Etag | None = None,
    ) -> None:
        self.data = data
        self._etag = etag
        self.path = path
        self.signature = signature
        self.racy = racy
        self.used = False
        self.era = 0
        self.linked = False

    def doubted(self) -> FileEntry:
        """The same, but no proof of what the file holds."""
        copy = FileEntry(self.data, self.path, self.signature)
        copy.used = self.used
        return copy


class Raw(NamedTuple):
    """A file's bytes and what tells whether it is still the same."""

    data: bytes
    signature: Signature
    racy: bool
    linked: bool


class Swap:
    """A new content, or with ``after`` None a delete, on its way to a document's place.

    ``base``: the file that it replaces, None where there was none.  ``number`` tells where it
    is staged, None before (a bulk commit's names would take more than its paths); ``fd`` is that
    file, open until it has its name, else -1; ``stamp`` and ``inode`` are the file's
    modification time and inode as it was staged, where it was looked at; ``aged``: its clock
    had ticked since, before anybody else knew its name.
    """

    __slots__ = ("after", "aged", "base", "fd", "inode", "key", "number", "path", "stamp")

    def __init__(
        self, key: Key, path: str, base: FileEntry | None, after: FileEntry | None = None
    ) -> None:
        self.key = key
        self.path = path
        self.base = base
        self.after = after
        self.number: int | None = None
        self.fd = -1
        self.stamp = 0
        self.inode = 0
        self.aged = False


def signature_of(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


class Tree:
    """The document files of one store, as one handle sees them."""

    def __init__(self, fs: FileSystem, layout: Layout, codec: Codec) -> None:
        self._fs = fs
        self._layout = layout
        self.codec = codec
        self._file_mode = layout.file_mode
        self.folder_mode = layout.folder_mode
        self._names = itertools.count()
        self._own = ""
        self.after_fork()
        self._open_staged = 0
        self._exchange = True
        self._stamps = Stamps(fs, layout.root)

    def after_fork(self) -> None:
        """In a child: stage under names of one's own."""
        self._own = f"{self._layout.tmp}/{os.getpid()}-{id(self):x}-"
        self._open_staged = 0

    # -- reading --------------------------------------------------------------

    def load(self, key: Key, path: str) -> FileEntry | None:
        """Read and parse a document.  Raises Corrupt, StorageError."""
        raw = self.read(path, key)
        if raw is None:
            return None
        entry = FileEntry(self.parse(raw.data, path, key), path, raw.signature, racy=raw.racy)
        entry.linked = raw.linked
        return entry

    def load_many(
        self, wanted: Sequence[tuple[Key, str]]
    ) -> list[FileEntry | FilestoreError | None]:
        """As :meth:`load` for each, and the error in the place of one that can't be read.

        Cheaper than one by one: the folders above are looked at once, when all are read.
        Gives fewer, at least one, where they are large.
        """
        before = coarse_time_ns()
        room = _MOST_READ
        found: list[FileEntry | FilestoreError | None] = []
        above: dict[str, list[int]] = {}
        read, parse = self._read, self.codec.parse
        for index, (key, path) in enumerate(wanted):
            entry: FileEntry | FilestoreError | None
            try:
                raw = read(path, key, before)
                if raw is None:
                    entry = None
                else:
                    data, signature, racy, linked = raw
                    room -= len(data)
                    try:
                        data = parse(data)
                    except Corrupt as error:
                        raise _corrupt(error, path, key) from error
                    entry = FileEntry(data, path, signature, racy=racy)
                    entry.linked = linked
            except FilestoreError as error:
                entry = error
            found.append(entry)
            folder = path[: path.rindex("/")]
            if folder in above:
                above[folder].append(index)
            else:
                above[folder] = [index]
            if room < 0:
                break
        for folder, indices in above.items():
            try:
                self._no_link_above(f"{folder}/", None)
            except FilestoreError as error:
                for index in indices:
                    found[index] = error
        return found

    def parse(self, raw: bytes, path: str, key: Key | None) -> bytes:
        """The canonical bytes of a file's.  Raises Corrupt that names the path."""
        try:
            return self.codec.parse(raw)
        except Corrupt as error:
            raise _corrupt(error, path, key) from error

    def read(self, path: str, key: Key | None) -> Raw | None:
        """A file's bytes; None where there is none.  Raises Corrupt, StorageError."""
        raw = self._read(path, key, coarse_time_ns())
        self._no_link_above(path, key)
        return raw

    def _read(self, path: str, key: Key | None, before: int) -> Raw | None:
        """As :meth:`read`, though a folder above may be a link; ``before``: a time before."""
        fs = self._fs
        try:
            fd = fs.open(path, _READ)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if error.errno in _LINKS:
                raise _not_a_document(path, key, "is a symbolic link") from error
            if error.errno == errno.ENXIO:
                raise _not_a_document(path, key, "is a socket or a device") from error
            raise storage_error(error, path, key) from error
        try:
            status = fs.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                what = "is a folder" if stat.S_ISDIR(status.st_mode) else "is no regular file"
                raise _not_a_document(path, key, what)
            if status.st_size > MAX_BYTES:
                raise _not_a_document(
                    path, key, f"has {status.st_size:,} bytes, more than {MAX_BYTES:,}"
                )
            data = fs.pread(fd, status.st_size + 1, 0)
            if len(data) < status.st_size:  # only where it ends, or on its way over a network
                data += read_at(fs, fd, len(data), status.st_size + 1 - len(data))
        except OSError as error:
            raise storage_error(error, path, key) from error
        finally:
            let_go(fs, fd)
        # Whatever touches the file from now on is stamped with ``before`` or later.
        racy = status.st_ctime_ns >= before or len(data) != status.st_size
        return Raw(data, signature_of(status), racy, status.st_nlink > 1)

    def _no_link_above(self, path: str, key: Key | None) -> None:
        for folder in self._layout.folders(path.rpartition("/")[0]):
            try:
                mode = self._fs.lstat(folder).st_mode
            except OSError as error:
                if error.errno in _ABSENT:
                    return
                raise storage_error(error, folder, key) from error
            if stat.S_ISLNK(mode):
                raise _not_a_document(folder, key, "is a symbolic link, not a folder")

    def signature(self, path: str) -> Signature | None:
        """What tells a changed file, None where there is none."""
        try:
            return signature_of(self._fs.lstat(path))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            if error.errno in _LINKS:
                raise _not_a_document(path, None, "is behind a loop of links") from error
            raise storage_error(error, path, None) from error

    def exists(self, path: str) -> bool:
        """Whether there is anything of this name that can be looked at."""
        return self._fs.exists(path)

    # -- writing, under the write lock ----------------------------------------

    def stage(self, swap: Swap, looked: dict[str, bool]) -> None:
        """Put a new content beside the tree, so that only a rename is left to do.

        ``looked``: the folders that were looked at for the same commit, at first none; with
        True those that a document can be put in, with False those that one can be taken from.

        What is staged must be settled or abandoned; when this raises it need not.  Raises
        StorageError (no space, no permission), Corrupt (a link or a file where a folder
        should be), InvalidDocument (too large in this codec).
        """
        after, path = swap.after, swap.path
        folder = path[: path.rindex("/")]
        if after is None:
            if folder not in looked:
                self._require_change(folder, swap.key)
                looked[folder] = False
            return
        content = self.codec.encode(after.data)
        if not looked.get(folder):
            self._make_folders(folder, swap.key)
            looked[folder] = True
        fs = self._fs
        swap.number = next(self._names)
        tmp = self._staged(swap, swap.number)
        try:
            try:
                swap.fd = fd = fs.open(tmp, _CREATE, self._file_mode)
            except FileNotFoundError:
                fs.mkdir(self._layout.tmp, self.folder_mode)  # somebody tidied up
                swap.fd = fd = fs.open(tmp, _CREATE, self._file_mode)
            self._open_staged += 1
            write_at(fs, fd, content, 0)
            if self._file_mode != 0o600:
                fs.fchmod(fd, self._file_mode)  # the umask took some away
            crowded = self._open_staged > _MOST_STAGED_OPEN
            if crowded or self._stamps.wanted:
                status = fs.fstat(fd)
                swap.stamp, swap.inode = status.st_mtime_ns, status.st_ino
            if crowded:
                self._open_staged -= 1
                swap.fd = -1
                fs.close(fd)
        except BaseException as error:
            self.abandon(swap, remove=True)
            if isinstance(error, OSError):
                raise storage_error(error, path, swap.key) from error
            raise

    def abandon(self, swap: Swap, *, remove: bool) -> None:
        """Let go of what will not be published, or not now; nothing where it is not staged."""
        fd, swap.fd = swap.fd, -1
        if fd >= 0:
            self._open_staged -= 1
            let_go(self._fs, fd)
        if remove and swap.number is not None:
            self.discard(self._staged(swap, swap.number))

    def _staged(self, swap: Swap, number: int) -> str:
        """Where a swap's new content, or with a delete what it displaces, is put.

        It tells what may be there: what is staged or what it displaces, so that
        an edit that was displaced in their stead is known for one (J4).
        """
        path, base, after = swap.path, swap.base, swap.after
        if base is None and after is not None:
            return f"{self._own}{number}.{after.etag}."  # nothing is displaced: a short one
        etag = "" if after is None else after.etag
        displaced = "" if base is None else base.etag
        name = path[path.rindex("/") + 1 :][-40:]
        return f"{self._own}{number}.{etag}.{displaced}.{name}"

    def _make_folders(self, folder: str, key: Key) -> None:
        fs, layout, made = self._fs, self._layout, False
        for way in layout.folders(folder):
            try:
                mode = fs.lstat(way).st_mode
            except FileNotFoundError:
                try:
                    make_folder(fs, way, self.folder_mode)
                    made = True
                except OSError as error:
                    raise storage_error(error, way, key) from error
                continue
            except OSError as error:
                raise storage_error(error, way, key) from error
            if mode & _TYPE != _FOLDER:
                what = (
                    "is a symbolic link, not a folder"
                    if stat.S_ISLNK(mode)
                    else "is a file where a folder should be"
                )
                raise _not_a_document(way, key, what)
        if not made:
            self._require_change(folder, key)

    def _require_change(self, folder: str, key: Key) -> None:
        """Refuse, before the commit point, what could not be published after it.

        A commit that can never be published would keep every later one waiting.
        """
        number = self._fs.refusal(folder)
        if number and number not in _ABSENT:
            error = OSError(number, os.strerror(number), folder)
            raise storage_error(error, folder, key) from error

    def swap_in(self, swap: Swap) -> tuple[str | None, bool]:
        """Publish what was staged; never raises for an external edit, which wins.

        Returns the temporary file that is left, and whether the content took its
        place.  If so the file is to be discarded; if not it may be an edit too, for
        somebody may be quicker twice.  Raises OSError.
        """
        fs, path, base = self._fs, swap.path, swap.base
        if swap.number is None:
            return self._take_away(swap)
        tmp = self._staged(swap, swap.number)
        if swap.fd < 0:
            swap.aged = self._stamps.fine or swap.stamp < coarse_time_ns()
        if base is not None and self._exchange:
            try:
                fs.exchange(tmp, path)
            except FileNotFoundError:
                base = None
            except OSError as error:
                if error.errno not in _NO_EXCHANGE:
                    raise
                self._exchange = False
            else:
                if self._is(tmp, base):
                    return tmp, True
                fs.exchange(tmp, path)
                return tmp, False
        if base is None:
            try:
                fs.rename_new(tmp, path)
            except FileExistsError:
                return tmp, False
            return None, True
        if not self._is(path, base):
            return tmp, False
        fs.rename(tmp, path)
        return None, True

    def _take_away(self, swap: Swap) -> tuple[str | None, bool]:
        path, base = swap.path, swap.base
        tmp = self._staged(swap, next(self._names))
        try:
            self._fs.rename(path, tmp)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOENT):
                raise
            if self.signature(path) is None:
                return None, True
            # A name in tmp/ may need a block, or tmp/ itself may be gone; a delete must not fail.
            if base is not None and not self._is(path, base):
                return None, False
            self._fs.unlink(path)
            return None, True
        if base is None or self._is(tmp, base):
            return tmp, True
        try:
            self._fs.rename_new(tmp, path)
        except FileExistsError:
            return tmp, False
        return None, False

    def _is(self, path: str, expected: FileEntry) -> bool:
        """Whether it is that file, but for the change time, which a rename moves."""
        now, then = self._fs.lstat(path), expected.signature
        if now.st_mtime_ns != then[0] or now.st_ino != then[2] or now.st_size != then[3]:
            return False
        if not expected.racy:
            return True
        try:
            raw = self.read(path, None)
            return raw is not None and self.codec.parse(raw.data) == expected.data
        except Corrupt:
            return False  # any other failure tells nothing of what is there

    def settle(self, swap: Swap, *, ours: bool) -> FileEntry | None:
        """Let go of what was published; what is known of its file, None where it is not ours.

        The status is that of the new file itself, whoever may have taken its
        name since.  Where stamps are fine, it is that of what was staged if the modification
        time is: it was seen when the file had no name yet that anybody knew.  Elsewhere an edit
        may have the stamp of the renaming.
        """
        fd, after = swap.fd, swap.after
        if fd < 0:
            return self._settle_closed(swap) if ours else None
        swap.fd = -1
        self._open_staged -= 1
        try:
            if after is None or not ours:
                return None
            status = self._fs.fstat(fd)
        finally:
            self._fs.close(fd)
        changed = status.st_ctime_ns
        after.signature = (status.st_mtime_ns, changed, status.st_ino, status.st_size)
        stamps = self._stamps
        after.racy = not stamps.fine or status.st_mtime_ns != swap.stamp
        if stamps.wanted and not stamps.fine:
            stamps.saw(changed, coarse_time_ns())
        return after

    def _settle_closed(self, swap: Swap) -> FileEntry | None:
        """As :meth:`settle` of one of many, whose files are not all kept open.

        What has its name is what was staged, by its inode and modification time, if no other
        change can have that time any more.
        """
        after = swap.after
        if after is None or not swap.inode:
            return None
        try:
            signature = signature_of(self._fs.lstat(swap.path))
        except OSError:
            return None
        if (signature[0], signature[2]) != (swap.stamp, swap.inode):
            return None
        after.signature = signature
        after.racy = not swap.aged
        return after

    def discard(self, tmp: str) -> None:
        """Remove a temporary file; one that cannot be is swept at the next recovery."""
        try:
            self._fs.unlink(tmp)
        except OSError:
            pass

    def leftovers(self) -> list[str]:
        """What dead writers left in ``tmp/``.  Raises OSError."""
        try:
            items = self._fs.scan(self._layout.tmp)
        except FileNotFoundError:
            return []
        return [f"{self._layout.tmp}/{item.name}" for item in items if not item.is_folder]

    def is_edit(self, tmp: str, *, torn: bool) -> bool:
        """Whether a temporary file is something that no commit knew, swapped out in haste.

        With ``torn`` what is no document is taken for what was being staged.
        Raises StorageError.
        """
        known = os.path.basename(tmp).split(".")[1:3]
        try:
            raw = self.read(tmp, None)
            return raw is not None and Entry(self.codec.parse(raw.data)).etag not in known
        except Corrupt:
            return not torn


def _corrupt(error: Corrupt, path: str, key: Key | None) -> Corrupt:
    """What a codec says of a file's bytes, with the file's name."""
    where = f"{path}:{error.line}" if error.line else path
    return Corrupt(f"{where}: {error.message}", key=key, path=path, line=error.line)


def _not_a_document(path: str, key: Key | None, what: str) -> Corrupt:
    return Corrupt(f"{path}: {what}; a document is a regular file", key=key, path=path)


def make_folder(fs: FileSystem, path: str, mode: int) -> bool:
    """Make a folder with these permissions; whether it was not there.

    Raises OSError, and Corrupt for a link or a file in its place.
    """
    try:
        fs.mkdir(path, mode)
    except FileExistsError:
        if not stat.S_ISDIR(fs.lstat(path).st_mode):
            raise no_folder(path) from None
        return False
    if mode != 0o700:  # the umask took some away
        fd = fs.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fs.fchmod(fd, mode)
        finally:
            let_go(fs, fd)
    return True


def no_folder(path: str) -> Corrupt:
    return Corrupt(f"{path}: a folder should be here; remove what is there", path=path)


_REASONS: Final = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EACCES: "no permission: check the owner and the mode",
    errno.EPERM: "no permission: check the owner and the mode",
    errno.EMFILE: "this process has too many open files: close some or raise its limit",
    errno.ENFILE: "the machine has too many open files",
    errno.EIO: "input/output error: check the disk",
    errno.ENAMETOOLONG: "the path is too long: use a shorter id or a higher folder",
}


def storage_error(error: OSError, path: str, key: Key | None) -> FilestoreError:
    """Say what the system refused, and what to do."""
    if isinstance(error, FilestoreError):
        return error
    if error.errno == errno.EROFS:
        return ReadOnly(f"{path}: the file system is read-only", key=key, path=path)
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"{path}: {reason}", errno=error.errno, key=key, path=path)
