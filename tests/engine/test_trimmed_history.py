"""A handle that was idle while others wrote more than the journal keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore
from filestore import retention
from filestore.engine import journal
from tests.processes.actors import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[filestore.Store]:
    """A handle that has a document in its cache, and knows nothing of what came after."""
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 4096)
    monkeypatch.setattr(retention, "DEFAULT", retention.Retention(bytes=0))
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
