"""Resources' documents in a store, when an editor comes between reading and writing."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import filestore
from filestore.model import Key
from filestore.persistence.documents import Documents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

VOLUME = Key("volumes", "v")


@contextlib.contextmanager
def edited_once(
    store: filestore.Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The next transaction finds at its end that somebody has edited the volume."""
    transaction = filestore.Store.transaction
    editing = [json.dumps({"id": "v", "size": 1, "edited": True})]

    @contextlib.contextmanager
    def disturbed(self: filestore.Store, *args: Any, **options: Any) -> Iterator[Any]:
        with transaction(self, *args, **options) as tx:
            yield tx
            if editing:
                (path / "volumes" / "v.json").write_text(editing.pop())

    with monkeypatch.context() as patch:
        patch.setattr(filestore.Store, "transaction", disturbed)
        yield
    assert not editing


def test_a_soft_delete_keeps_what_an_editor_did_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filestore.open(tmp_path, watch=False) as store:
        documents = Documents(store, soft_deletes=True)
        store["volumes"]["v"] = {"id": "v", "size": 1}
        with edited_once(store, tmp_path, monkeypatch):
            documents.delete(*VOLUME)
        kept = store["volumes"]["v"]
        assert (kept["edited"], kept["deleted"], kept["status"]) == (True, True, "deleted")


def test_a_whole_write_merges_into_what_an_editor_did_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filestore.open(tmp_path, watch=False) as store:
        documents = Documents(store)
        store["volumes"]["v"] = {"id": "v", "size": 1}
        fields = {"id": "v", "size": 2}
        with edited_once(store, tmp_path, monkeypatch):
            documents.write(VOLUME, fields, ("id", "size"), {}, lambda: fields)
        assert store["volumes"]["v"] == {"id": "v", "size": 2, "edited": True}
