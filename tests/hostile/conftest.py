"""A store with a document, and what to compare when something was refused."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

import filestore


def tree(path: Path) -> dict[str, object]:
    """What stands in a folder, with modes, but for the runtime files that reading may touch."""
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            at = Path(folder, name)
            status = at.lstat()
            below = str(at.relative_to(path))
            if below.startswith(".filestore"):
                continue
            if stat.S_ISREG(status.st_mode):
                content: object = hashlib.sha256(sparse(at, status.st_size)).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(at)
            else:
                content = None
            found[below] = (status.st_mode, status.st_ino, content)
    return found


def sparse(path: Path, size: int) -> bytes:
    if size > 1 << 20:
        return b"%d" % size
    with open(os.open(path, os.O_RDONLY), "rb") as file:
        return file.read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one good document, closed."""
    path = tmp_path / "state"
    with filestore.open(path) as store:
        store["c"]["good"] = {"value": 1}
    return path


def assert_usable(path: Path) -> None:
    """The rest of the store goes on: reads, writes, lists."""
    with filestore.open(path) as store:
        assert store["c"]["good"] == {"value": 1}
        store["c"]["new"] = {"value": 2}
        assert {"good", "new"} <= set(store["c"])
        store["e"]["other"] = {"value": 3}
        assert "e" in store.collections()
        del store["c"]["new"]
        del store["e"]["other"]
        store.checkpoint()
