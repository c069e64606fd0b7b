"""Putting a file of a work tree in the place of another."""

from __future__ import annotations

import contextlib
import os
import secrets

from filestore.errors import StorageError


def write_file(path: str, content: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Put a whole file in the place of another, as an editor does that saves safely.

    Whoever reads, also after a crash, finds the old content or the new; ``sync=False``: after a
    power cut maybe neither.  A file that is there keeps its permissions, a new one gets ``mode``
    less the umask.  What a crash leaves behind is in nobody's way.  Raises StorageError.
    """
    folder, name = os.path.split(path)
    tmp = os.path.join(folder, f".{name[:100]}.filestore-{secrets.token_hex(6)}")
    try:
        os.makedirs(folder, exist_ok=True)
        try:
            kept: int | None = os.lstat(path).st_mode & 0o777
        except FileNotFoundError:
            kept = None
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(fd, "wb") as file:
                if kept is not None:
                    os.fchmod(fd, kept)
                file.write(content)
                file.flush()
                if sync:
                    os.fsync(fd)
            os.replace(tmp, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(tmp)
            raise
        if sync:
            _sync_folder(folder)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", errno=error.errno, path=path) from error


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
