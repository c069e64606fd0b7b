"""Where the system gives no thread: too many run, or the interpreter is about to end."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import pytest

from filestore.engine.files import FileBackend
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from pathlib import Path

A, B = Key("volumes", "a"), Key("volumes", "b")
REASON = "can't start new thread"


def refuse(*_: object) -> NoReturn:
    raise RuntimeError(REASON)


def test_a_store_opens_and_looks_at_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    with closing(FileBackend(tmp_path / "state")) as backend:
        backend.apply([Edit(A, b'{"n":1}')])
        (tmp_path / "state/volumes/a.json").write_text('{"n": 2}')
        entry = backend.get(A)
        assert entry is not None
        assert entry.data == b'{"n":2}'
        assert backend.rescan() == 2
        stats = backend.stats()
        assert stats["watching_why_not"] == REASON
        assert not stats["recorder"]


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_commit_returns_and_the_next_one_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    with closing(FileBackend(tmp_path / "state", durability=durability, watch=False)) as backend:
        assert backend._works.background is not None
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert backend.apply([Edit(A, b'{"n":1}')]) is not None
        assert backend.stats()["trouble"] == f"working in the background: {REASON}"
        assert backend._works.background._thread is None
        backend.apply([Edit(B, b'{"n":1}')])
        assert backend._works.background._thread is not None
    assert sorted(file.name for file in (tmp_path / "state/volumes").iterdir()) == [
        "a.json",
        "b.json",
    ]
