"""A handle that one thread closes while another uses it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from filestore.engine.background import Background
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.errors import Closed
from filestore.model import Edit, Key
from filestore.view import View

if TYPE_CHECKING:
    from pathlib import Path


class Closing(FileSystem):
    """Has another thread close the handle, once, when the given call comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.at = ""
        self.handle: FileBackend | None = None

    def _come(self, name: str) -> None:
        if self.at == name and self.handle is not None:
            self.at = ""
            closing = threading.Thread(target=self.handle.close)
            closing.start()
            closing.join()

    def scan(self, path: str) -> Any:
        self._come("scan")
        return super().scan(path)

    def survey(self, path: str, suffix: str) -> Any:
        self._come("survey")
        return super().survey(path, suffix)


@pytest.fixture
def closing(tmp_path: Path) -> Closing:
    fs = Closing()
    fs.handle = FileBackend(tmp_path / "state", fs=fs, background=False)
    fs.handle.apply([Edit(Key("volumes", "v1"), b'{"size":1}')])
    return fs


@pytest.mark.parametrize("what", ["check", "stats", "rescan"])
def test_what_another_thread_cuts_short_says_so(closing: Closing, what: str) -> None:
    assert closing.handle is not None
    closing.at = "survey" if what == "rescan" else "scan"
    with pytest.raises(Closed):
        getattr(closing.handle, what)()


def test_a_state_that_is_being_read_outlives_its_handle(closing: Closing) -> None:
    handle = closing.handle
    assert handle is not None
    state = handle._ground.state
    assert state is not None
    handle.close()
    assert state.committed.revision == 1


def test_closing_leaves_no_descriptor_open(tmp_path: Path) -> None:
    FileBackend(tmp_path / "state").close()  # what is opened once for all, is
    before = os.listdir("/proc/self/fd")
    handle = FileBackend(tmp_path / "state")
    handle.apply([Edit(Key("volumes", "v1"), b'{"size":1}')])
    handle.rescan()
    handle.indexing.listen()
    assert handle._works.watcher.tells is not None
    handle.close()
    assert os.listdir("/proc/self/fd") == before


def test_who_asks_to_be_told_of_edits_too_late_starts_no_thread(tmp_path: Path) -> None:
    FileBackend(tmp_path / "state").close()
    handle = FileBackend(tmp_path / "state")
    indexing = handle.indexing
    assert indexing is not None
    before = threading.active_count()
    handle.close()
    assert indexing.listen() is None
    assert threading.active_count() == before


def test_a_write_that_comes_too_late_says_so(closing: Closing) -> None:
    handle = closing.handle
    assert handle is not None
    handle.close()
    with pytest.raises(Closed):
        handle._works.writer.apply([Edit(Key("volumes", "v1"), None)], actor=None, message=None)


def test_a_view_that_cannot_be_taken_leaves_nothing_behind(closing: Closing) -> None:
    handle = closing.handle
    assert handle is not None

    class Failing:
        subscribe = handle.subscribe

        @property
        def revision(self) -> int:
            raise Closed("gone")

    with pytest.raises(Closed):
        View(Failing(), None, lambda _: None)  # type: ignore[arg-type]
    assert handle._reads._observers == []


def test_the_background_thread_ends_though_it_is_told_as_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its last look whether to end and its forgetting of what it was told."""
    monkeypatch.setattr("filestore.engine.background.CHECKPOINT_SECONDS", 0.0)
    backend = FileBackend(tmp_path / "store", background=True)
    background = Background(backend._ground, backend._works.checkpointer)

    class Told(threading.Event):
        def clear(self) -> None:
            background.stop()
            super().clear()

    background._wake = Told()
    background._wake.set()
    ended = not background.round()
    backend.close()
    assert ended
