"""A handle that was idle while others wrote more than the journal keeps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import retention
from filestore.engine import journal
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.model import Edit, Key
from tests.processes.actors import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator


def keep_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 4096)
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=0))


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[filestore.Store]:
    """A handle that has a document in its cache, and knows nothing of what came after."""
    keep_little(monkeypatch)
    with filestore.open(tmp_path / "state") as busy, quiet(tmp_path / "state") as idle:
        busy["volumes"]["a"] = {"number": -1}
        assert idle["volumes"]["a"] == {"number": -1}
        with idle.snapshot() as view:
            assert view.revision == 1
            for number in range(20):
                busy["volumes"]["a"] = {"number": number, "padding": "x" * 500}
            busy.checkpoint()
            assert "00000001.log" not in {
                path.name for path in tmp_path.glob("state/.filestore/journal/*")
            }
            with pytest.raises(filestore.Conflict):
                view["volumes"]["a"]
        yield idle


def test_it_reads_what_is_there_now(idle: filestore.Store) -> None:
    assert idle["volumes"]["a"]["number"] == 19
    assert idle.revision == 21


def test_it_writes_again(idle: filestore.Store) -> None:
    assert idle["volumes"].put("a", {}) == 22
    assert idle["volumes"]["a"] == {}


class Trimming(FileSystem):
    """Once, just before a segment of the journal is opened, those before the last are dropped."""

    before: str | None = None

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # type: ignore[override]
        if self.before is not None and path.endswith(self.before):
            self.before = None
            for segment in sorted(Path(path).parent.iterdir())[:-1]:
                segment.unlink()
        return os.open(path, flags, mode)


@pytest.fixture
def trimming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[filestore.Store]:
    keep_little(monkeypatch)
    fs = Trimming()
    with filestore.Store(FileBackend(tmp_path / "state", fs=fs, background=False)) as store:
        for number in range(40):
            store["volumes"]["a"] = {"number": number, "padding": "x" * 500}
        assert len(list(tmp_path.glob("state/.filestore/journal/*"))) > 3
        yield store


def before(store: filestore.Store, segment: str) -> None:
    store._backend._ground.fs.before = segment  # type: ignore[attr-defined]


@pytest.mark.parametrize("id", [None, "a"])
@pytest.mark.parametrize("again", [False, True])
def test_the_feed_begins_with_what_is_kept_by_then(
    trimming: filestore.Store, id: str | None, again: bool
) -> None:
    if again:
        list(trimming.changes(0, "volumes", id))  # what can be known, is
    before(trimming, "00000001.log")
    told = [change.revision for change in trimming.changes(0, "volumes", id)]
    assert told == list(range(trimming.horizon + 1, 41))
    assert 1 < len(told) < 40


@pytest.mark.parametrize("id", [None, "a"])
def test_the_feed_leaves_nothing_out_behind_what_it_told(
    trimming: filestore.Store, id: str | None
) -> None:
    changes = trimming.changes(0, "volumes", id)
    assert next(changes).revision == 1
    before(trimming, "00000002.log")
    with pytest.raises(filestore.HistoryGone) as raised:
        list(changes)
    assert raised.value.revision == trimming.horizon > 1
    assert next(trimming.changes(1)).revision == trimming.horizon + 1


def test_documents_whose_commits_are_all_dropped_are_no_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_little(monkeypatch)
    with contextlib.closing(FileBackend(tmp_path / "state", background=False)) as backend:
        backend.apply([Edit(Key("volumes", "a"), b'{"n":1}')])
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 100)
        backend.checkpoint()  # its line is the first of a segment
        assert backend.horizon == 1
        assert backend.rescan() == 1
