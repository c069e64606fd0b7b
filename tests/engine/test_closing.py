"""A handle that one thread closes while another uses it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

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


@pytest.fixture
def closing(tmp_path: Path) -> Closing:
    fs = Closing()
    fs.handle = FileBackend(tmp_path / "state", fs=fs, background=False)
    fs.handle.apply([Edit(Key("volumes", "v1"), b'{"size":1}')])
    return fs


def test_a_check_that_another_thread_cuts_short_says_so(closing: Closing) -> None:
    assert closing.handle is not None
    closing.at = "scan"
    with pytest.raises(Closed):
        closing.handle.check()


def test_a_write_that_comes_too_late_says_so(closing: Closing) -> None:
    handle = closing.handle
    assert handle is not None
    handle.close()
    with pytest.raises(Closed):
        handle._writer.apply([Edit(Key("volumes", "v1"), None)], actor=None, message=None)


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
