"""Loose objects, read and written as git does: a process for each takes longer than the work.

An object is the file ``objects/NN/N…``, compressed: its kind, its length, a zero byte, its content.
It is written to a temporary file, which git's own housekeeping clears away, and renamed.
"""

from __future__ import annotations

import os
import secrets
import zlib
from typing import TYPE_CHECKING, Final

from filestore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE: Final = 1 << 20
_TEMPORARY: Final = "tmp_obj_"


class Loose:
    """The loose objects of a repository.

    ``read`` is called for a tree that is not among them, with its name in hex.
    """

    def __init__(self, folder: str, read: Callable[[str], bytes]) -> None:
        self._folder = folder
        self._read = read

    def tree(self, name: str) -> bytes:
        """The content of a tree.  Raises what ``read`` raises."""
        try:
            with open(self._path(name), "rb") as file:
                packed = file.read()
            raw = zlib.decompress(packed, bufsize=2 * len(packed))
        except (OSError, zlib.error):
            return self._read(name)
        kind, _, content = raw.partition(b"\0")
        if kind != b"tree %d" % len(content):
            return self._read(name)
        return content

    def write_tree(self, name: str, content: bytes) -> None:
        """Write a tree where it is not there yet.  Raises StorageError."""
        path = self._path(name)
        if os.path.lexists(path):
            return
        # Names of objects do not compress, and those of a large folder take long to try.
        level = 0 if len(content) > _LARGE else 1
        packer = zlib.compressobj(level)
        parts = packer.compress(b"tree %d\0" % len(content)), packer.compress(content)
        folder = os.path.dirname(path)
        tmp = f"{folder}/{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            os.makedirs(folder, exist_ok=True)
            fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            try:
                with open(fd, "wb") as file:
                    file.writelines((*parts, packer.flush()))
                os.rename(tmp, path)
            except BaseException:
                os.unlink(tmp)
                raise
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}", errno=error.errno, path=path) from error

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name[:2]}/{name[2:]}"
