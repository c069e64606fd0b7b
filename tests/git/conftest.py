"""Real repositories, worked on with the git command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.git.work import ROOT, Work, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine's, and processes that find these sources."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    config = tmp_path / "gitconfig"
    config.write_text(
        "[user]\n name = Tester\n email = tester@example.org\n[init]\n defaultBranch = main\n"
        "[core]\n fsync = none\n[advice]\n detachedHead = false\n[gc]\n auto = 0\n"
        '[protocol "file"]\n allow = always\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("FILESTORE", raising=False)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return make(tmp_path / "work")
