"""Stores that the parts of one process share, where software not ours makes the parts."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING

import filestore

if TYPE_CHECKING:
    from filestore.store import Store


class SharedStores:
    """One handle of each store, opened at first use and closed with the process.

    Safe for threads without a lock, which a fork might leave held.  A child of a fork goes on
    with the handles, which are its own there.
    """

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        atexit.register(self.close)

    def open(self, location: str) -> Store:
        """The store at a path or URL, made when it is not there; see :func:`filestore.open`.

        It is not its caller's to close.  Other spellings of an absolute path are other stores
        to this, and one store to the file system.
        """
        if "://" not in location and location != "memory:":
            location = os.path.abspath(location)
        found = self._stores.get(location)
        if found is None:
            opened = filestore.open(location)
            found = self._stores.setdefault(location, opened)
            if found is not opened:  # another thread was first
                opened.close()
        return found

    def close(self) -> None:
        """Close all; those who ask again get new handles."""
        while self._stores:
            self._stores.popitem()[1].close()
