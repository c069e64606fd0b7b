"""Which documents' files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from filestore.engine.files import FileBackend
    from filestore.engine.tree import Raw
    from filestore.model import Key


def keys_read(backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The documents whose files are read from here on, in that order."""
    tree = backend._ground.tree
    found: list[Key] = []
    read = tree._read

    def noted(path: str, key: Key | None, before: int) -> Raw | None:
        if key is not None:
            found.append(key)
        return read(path, key, before)

    monkeypatch.setattr(tree, "_read", noted)
    return found
