"""A commit to very many documents is never read back as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filestore import Store
from filestore.engine import checkpoint
from filestore.engine.files import FileBackend
from tests.memory import grown_by

if TYPE_CHECKING:
    from pathlib import Path

    from filestore import Change

COUNT = 1000
TEXT = "x" * 8000
SIZE = COUNT * len(TEXT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one commit in its journal, which no checkpoint has seen yet."""
    backend = FileBackend(tmp_path / "store", background=False, durability="off")
    store = Store(backend)
    with store.transaction():
        for number in range(COUNT):
            store["volumes"][f"v{number}"] = {"text": TEXT, "number": number}
    return tmp_path / "store"


def test_a_checkpoint_takes_little_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(FileBackend(path, background=False)) as store:
        assert grown_by(store.checkpoint) < SIZE // 4
        store["volumes"]["more"] = {"number": -1}
    with Store(FileBackend(path, background=False)) as store:
        with store.transaction():
            for number in range(COUNT):
                store["volumes"].patch(f"v{number}", {"number": -number})
        monkeypatch.setattr(checkpoint, "sync_file_system", lambda *_: False)
        assert grown_by(store.checkpoint) < SIZE // 4


def test_learning_what_the_journal_tells_takes_little_memory(path: Path) -> None:
    backend = FileBackend(path, background=False)
    with Store(backend) as store:
        assert grown_by(store.rescan) < SIZE // 2  # nobody has recorded yet: all of it is learnt
        assert store.stats()["cached_documents"] < COUNT
        assert next(store.changes()).message is None
        (path / "volumes" / "v7.json").write_text('{"number": 7}\n')
        assert grown_by(store.rescan) < SIZE // 2  # what was there before is looked for
        (*_, change) = store.changes(collection="volumes", id="v7")
        assert change.before == {"text": TEXT, "number": 7}


def test_looking_back_at_one_document_takes_little_memory(path: Path) -> None:
    with Store(FileBackend(path, background=False)) as store:
        found: list[Change] = []

        def look() -> None:
            found.extend(store.changes(collection="volumes", id="v7"))

        assert grown_by(look) < SIZE // 4
        assert [change.after for change in found] == [{"text": TEXT, "number": 7}]
