"""Making an empty store."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

from filestore.codec import codec_named
from filestore.engine.config import Config
from filestore.engine.fs import make_file, sync_folder, write_at
from filestore.engine.layout import CONFIG, RUNTIME, folder_mode
from filestore.engine.settings import read_settings
from filestore.engine.tree import make_folder, storage_error
from filestore.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem
    from filestore.engine.settings import Settings


def create(
    fs: FileSystem, root: str, codec: str, fanout: int, file_mode: int, *, sync: bool
) -> Settings:
    """Make an empty store; of several processes that do, one wins and all go on with it.

    ``sync``: whether it is on the disk when this returns.  Raises StorageError, NotFound.
    """
    new = Config(codec, fanout, str(uuid.uuid4()))
    # Where git is told what a document is and what is nobody's business but this machine's.
    suffix = codec_named(codec).suffix
    attributes = f"*{suffix} text eol=lf merge=filestore diff=filestore\n".encode()
    try:
        mode = folder_mode(file_mode)
        made = _make_folders(fs, root, mode)
        runtime = f"{root}/{RUNTIME}"
        for folder in (runtime, f"{runtime}/tmp", f"{runtime}/journal"):
            make_folder(fs, folder, mode)
        _write_new(fs, root, ".gitignore", f"/{RUNTIME}/\n".encode(), file_mode, sync=sync)
        _write_new(fs, root, ".gitattributes", attributes, file_mode, sync=sync)
        _write_new(fs, root, CONFIG, new.encode(), file_mode, sync=sync)
        if sync:
            for folder in (runtime, root, *(os.path.dirname(folder) for folder in made)):
                sync_folder(fs, folder)
    except OSError as error:
        raise storage_error(error, root, None) from error
    winner = read_settings(fs, root)
    if winner is None:
        raise NotFound(f"{root}: the store vanished while it was made", path=root)
    return winner


def _write_new(
    fs: FileSystem, root: str, name: str, content: bytes, mode: int, *, sync: bool
) -> None:
    """Make a file whole, or leave the one that is there."""
    target = f"{root}/{name}"
    while True:
        tmp = f"{root}/{RUNTIME}/tmp/new-{uuid.uuid4().hex}"
        fd = make_file(fs, tmp, os.O_WRONLY | os.O_EXCL, mode)
        try:
            write_at(fs, fd, content, 0)
            if sync:
                fs.fsync(fd)
        finally:
            fs.close(fd)
        try:
            fs.rename_new(tmp, target)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(tmp)
        except FileNotFoundError:
            # Another process has made the store meanwhile, and its recovery has cleared tmp/.
            continue
        return


def _make_folders(fs: FileSystem, path: str, mode: int) -> list[str]:
    """Make a folder and those above it; which were made, innermost first."""
    made = []
    try:
        fresh = make_folder(fs, path, mode)
    except Corrupt:
        return []  # a link, which may lead to a folder; what it does not lead to, is told next
    except FileNotFoundError:
        made = _make_folders(fs, os.path.dirname(path), mode)
        fresh = make_folder(fs, path, mode)  # once more, not until it works: /proc takes none
    return [path, *made] if fresh else made
