"""Grounds that are not the file engine: which of them a location names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from filestore.errors import UnsupportedFormat
from filestore.location import MEMORY, masked_url

if TYPE_CHECKING:
    from filestore.backend import Backend

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)(\+[A-Za-z0-9_.-]+)?://")
_SQL: Final = frozenset({"sqlite", "postgresql"})


def open_elsewhere(
    location: str,
    *,
    durability: str = "full",
    readonly: bool = False,
    create: bool = True,
    lock_timeout: float = 10.0,
    file_mode: int = 0o600,
    cache_bytes: int = 256 << 20,
) -> Backend:
    """The backend that a location other than a path names.  Raises UnsupportedFormat."""
    if location == MEMORY:
        from filestore.backends.memory import MemoryBackend

        return MemoryBackend(readonly=readonly, lock_timeout=lock_timeout)
    scheme = _SCHEME.match(location)
    if scheme is None or scheme[1].lower() not in _SQL:
        raise UnsupportedFormat(
            f"no backend serves {masked_url(location)!r}: give a folder's path, 'memory:',"
            " 'sqlite:///path/state.db' or 'postgresql://user@host/database'",
            path=masked_url(location),
        )
    # SQLAlchemy is optional, and takes longer to import than all of filestore.
    from filestore.backends.sql.backend import SqlBackend

    return SqlBackend(
        location,
        durability=durability,
        readonly=readonly,
        create=create,
        lock_timeout=lock_timeout,
        file_mode=file_mode,
        cache_bytes=cache_bytes,
    )
