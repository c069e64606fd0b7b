"""One place for each document, after a reshard: finished, taken back, or cut short.

A reshard gives every document a second name, at its place of the new fan-out, puts
those names on the disk, and then changes ``filestore.yaml``, in one step and
durably.  So at any moment every document is where the settings say.  What is
left to do, whether it came to the change or not, is the same: of the two
names of a document, take away the one that the settings do not ask for.
``.filestore/reshard`` stands from before the first name was given until the
last is gone, and holds the fan-out that was wanted::

    reshard = ( "0" / "1" / "2" ) LF
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from filestore.engine.config import with_fanout
from filestore.engine.fs import (
    MANY,
    let_go,
    make_file,
    read_at,
    sync_file_system,
    sync_folder,
    write_at,
)
from filestore.engine.ground import poison, save
from filestore.engine.layout import is_shard
from filestore.engine.state import Flag
from filestore.engine.tree import make_folder
from filestore.errors import Conflict, Corrupt
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.engine.fs import FileSystem
    from filestore.engine.ground import Ground
    from filestore.engine.state import State

FANOUTS: Final = (0, 1, 2)

_OURS: Final = "reshard-"  # begins the names of what is in tmp/ on this module's account
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_KEPT: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, *_GONE})
_NO_EXCHANGE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def begin(ground: Ground, wanted: int) -> None:
    """Write down, durably, that documents are about to have two names."""
    fs, layout = ground.fs, ground.layout
    tmp = _temporary(ground, "intent")
    _write_file(ground, tmp, _line(wanted), layout.file_mode)
    fs.rename(tmp, layout.reshard)
    sync_folder(fs, layout.runtime)


def intent(ground: Ground) -> int | None:
    """The fan-out that a reshard wants or wanted; -1 if it cannot be told, None where none is."""
    fs = ground.fs
    try:
        fd = fs.open(ground.layout.reshard, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        raw = read_at(fs, fd, 0, 16)
    finally:
        let_go(fs, fd)
    return next((fanout for fanout in FANOUTS if raw == _line(fanout)), -1)


def settle(ground: Ground, state: State) -> None:
    """Bring a reshard that was cut short to an end.  Under the write lock; repeatable.

    Raises OSError, and RecoveryNeeded when a sync fails.
    """
    wanted = intent(ground)
    if wanted is None:
        return
    if state.flags & Flag.POISONED:
        # The sync of this very change may have failed, and syncing again would not tell.
        settings = ground.settings
        put_settings(ground, settings.raw)
    finish(ground, state, adopt=wanted == ground.layout.fanout)


def finish(
    ground: Ground,
    state: State,
    *,
    adopt: bool,
    advance: Callable[[], None] | None = None,
) -> None:
    """Leave each document one name, the one that the settings ask for.

    ``adopt``: a file that has only another fan-out's name is moved to its place; else only
    what was given a second name loses it.  ``advance`` is called for each file.  Under the
    write lock.
    """
    fs, layout = ground.fs, ground.layout
    _synced(ground, state, lambda: sync_folder(fs, layout.root))
    state.move_layout()
    _clear_tmp(ground)
    for collection, folder in layout.places(fs):
        for other in FANOUTS:
            if other == layout.fanout:
                continue
            for id, path in layout.documents(fs, collection, other):
                _merge(ground, Key(collection, id), path, adopt=adopt)
                if advance is not None:
                    advance()
        _prune(fs, folder)
    _synced(ground, state, lambda: sync_folders(ground))
    with contextlib.suppress(FileNotFoundError):
        fs.unlink(layout.reshard)
    _synced(ground, state, lambda: sync_folder(fs, layout.runtime))


def put_settings(ground: Ground, raw: bytes) -> None:
    """Give ``filestore.yaml`` this content in one step; not yet synced.

    Raises Conflict when it is not what this handle knows, OSError.
    """
    fs, path, known = ground.fs, ground.layout.config, ground.settings
    tmp = _temporary(ground, "settings")
    _write_file(ground, tmp, raw, known.mode)
    displaced = True
    try:
        fs.exchange(tmp, path)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            fs.unlink(tmp)
            raise
        displaced = False
    if (_content(fs, tmp) if displaced else _content(fs, path)) != known.raw:
        if displaced:
            fs.exchange(tmp, path)
        fs.unlink(tmp)
        raise Conflict(f"{path}: somebody changed it this moment; try again", path=path)
    if displaced:
        fs.unlink(tmp)
    else:
        fs.rename(tmp, path)


def sync_folders(ground: Ground) -> None:
    """Put the names of all folders and documents on the disk."""
    fs, root = ground.fs, ground.layout.root
    folders = list(_every_folder(fs, root))
    if len(folders) > MANY and sync_file_system(fs, root):
        return
    for folder in reversed(folders):
        sync_folder(fs, folder)


def make_way(ground: Ground, path: str, made: set[str]) -> None:
    """Make the folders that lead to a document, with the mode of the one above.

    ``made`` remembers those that are there.  Raises Corrupt for a link or a file in the
    way, OSError.
    """
    folder = path.rpartition("/")[0]
    if folder in made or folder == ground.layout.root:
        return
    make_way(ground, folder, made)
    above = stat.S_IMODE(ground.fs.lstat(folder.rpartition("/")[0]).st_mode)
    make_folder(ground.fs, folder, above)
    made.add(folder)


def _merge(ground: Ground, key: Key, path: str, *, adopt: bool) -> None:
    """Take away a name that the settings do not ask for; no content is lost with it (J4)."""
    fs, target = ground.fs, ground.layout.path(key)
    if not adopt and not _same(ground, path, target):
        return
    tmp = _temporary(ground, "name")
    try:
        fs.rename_new(path, tmp)  # so that nothing is removed that is saved this moment
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOSPC or not _same_file(fs, path, target):
            raise
        fs.unlink(path)  # a name in tmp/ may need a block; taking back must not fail
        return
    if _same(ground, tmp, target):
        fs.unlink(tmp)
        return
    if _lstat(fs, target) is None:
        make_way(ground, target, set())
        try:
            fs.rename_new(tmp, target)
            return
        except FileExistsError:
            pass
    # Two contents: the one that was written last counts, the other is kept (J4).
    if fs.lstat(tmp).st_mtime_ns > fs.lstat(target).st_mtime_ns:
        try:
            fs.exchange(tmp, target)
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            save(ground, target)
            fs.rename_new(tmp, target)
            return
    save(ground, tmp)


def _clear_tmp(ground: Ground) -> None:
    """See to what a dead process had in its hands."""
    fs = ground.fs
    for tmp in ground.tree.leftovers():
        if not os.path.basename(tmp).startswith(_OURS):
            continue
        raw = _content(fs, tmp)
        if fs.lstat(tmp).st_nlink > 1 or (raw is not None and _is_known(ground, raw)):
            fs.unlink(tmp)
        else:
            save(ground, tmp)  # an edit that was displaced in the moment of a crash


def _is_known(ground: Ground, raw: bytes) -> bool:
    """Whether this is an intent, or the settings at some fan-out, or was about to be."""
    known, path = ground.settings.raw, ground.layout.config
    values = [with_fanout(known, fanout, path) for fanout in FANOUTS]
    return any(value.startswith(raw) for value in (*values, *map(_line, FANOUTS)))


def _line(fanout: int) -> bytes:
    return b"%d\n" % fanout


def _prune(fs: FileSystem, folder: str) -> None:
    """Remove the folders of fan-outs and long names in which there is nothing."""
    for item in fs.scan(folder):
        if item.is_folder and (is_shard(item.name) or item.name[-1] == "%"):
            _prune(fs, f"{folder}/{item.name}")
            try:
                fs.rmdir(f"{folder}/{item.name}")
            except OSError as error:
                if error.errno not in _KEPT:
                    raise


def _every_folder(fs: FileSystem, folder: str) -> Iterator[str]:
    """A folder and those below it, the store's own left out, outermost first."""
    yield folder
    for item in fs.scan(folder):
        if item.is_folder and item.name[0] != ".":
            yield from _every_folder(fs, f"{folder}/{item.name}")


def _synced(ground: Ground, state: State, sync: Callable[[], None]) -> None:
    try:
        sync()
    except OSError as error:
        if error.errno in {errno.EIO, errno.ENOSPC, errno.EDQUOT}:
            raise poison(ground, state, error) from error
        raise


def _temporary(ground: Ground, what: str) -> str:
    return f"{ground.layout.tmp}/{_OURS}{what}-{os.getpid()}-{id(ground):x}"


def _write_file(ground: Ground, path: str, raw: bytes, mode: int) -> None:
    fs = ground.fs
    fd = make_file(fs, path, os.O_WRONLY | os.O_TRUNC, mode)
    try:
        write_at(fs, fd, raw, 0)
        fs.fsync(fd)
    except BaseException:
        let_go(fs, fd)
        fs.unlink(path)
        raise
    fs.close(fd)


def _lstat(fs: FileSystem, path: str) -> os.stat_result | None:
    try:
        return fs.lstat(path)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise


def _same(ground: Ground, one: str, other: str) -> bool:
    return _same_file(ground.fs, one, other) or _same_content(ground, one, other)


def _same_file(fs: FileSystem, one: str, other: str) -> bool:
    first, second = _lstat(fs, one), _lstat(fs, other)
    if first is None or second is None:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _same_content(ground: Ground, one: str, other: str) -> bool:
    """Whether two files say the same, as a tree does that was copied file by file."""
    try:
        first, second = ground.tree.read(one, None), ground.tree.read(other, None)
    except Corrupt:
        return False
    return first is not None and second is not None and first.data == second.data


def _content(fs: FileSystem, path: str) -> bytes | None:
    try:
        fd = fs.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        return read_at(fs, fd, 0, fs.fstat(fd).st_size)
    finally:
        let_go(fs, fd)
