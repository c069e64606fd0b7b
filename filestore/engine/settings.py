"""``filestore.yaml`` as a file: what it told, and whether it tells something else by now.

The settings are under version control, so a checkout may change them together
with the documents, and ``reshard`` changes the fan-out of a store that others
have open.  A handle therefore remembers the file's signature, and looks again
where it matters: when a document is not where it should be, when it lists a
collection, and when it has taken the write lock.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.engine import config as configuration
from filestore.engine.fs import coarse_time_ns, let_go, read_at
from filestore.engine.layout import CONFIG
from filestore.engine.tree import signature_of, storage_error
from filestore.errors import Corrupt

if TYPE_CHECKING:
    from filestore.engine.fs import FileSystem
    from filestore.engine.tree import Signature

_CONFIG_BYTES: Final = 1 << 16


class Settings(NamedTuple):
    """The settings and the file that told them.

    ``racy``: it was touched in the very tick of the clock in which it was read.
    """

    config: configuration.Config
    raw: bytes
    mode: int
    signature: Signature
    racy: bool


def read_settings(fs: FileSystem, root: str) -> Settings | None:
    """What a store's settings are; None where there are none.

    Raises Corrupt, UnsupportedFormat, StorageError.
    """
    path = f"{root}/{CONFIG}"
    before = coarse_time_ns()
    try:
        fd = fs.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise Corrupt(f"{root}: is a file; a store is a folder", path=root) from error
    except OSError as error:
        raise storage_error(error, path, None) from error
    try:
        status = fs.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _CONFIG_BYTES:
            raise Corrupt(f"{path}: is not the settings file of a store", path=path)
        raw = read_at(fs, fd, 0, status.st_size)
    except OSError as error:
        raise storage_error(error, path, None) from error
    finally:
        let_go(fs, fd)
    racy = status.st_ctime_ns >= before or len(raw) != status.st_size
    mode = stat.S_IMODE(status.st_mode)
    return Settings(configuration.parse(raw, path), raw, mode, signature_of(status), racy)
