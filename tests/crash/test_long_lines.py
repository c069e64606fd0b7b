"""The line of a commit to many documents is written piece by piece: crashes come in between too."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from filestore.engine import journal, record
from tests.crash import test_fault, test_power_cut, test_process_death
from tests.crash.sim import RecordingFileSystem
from tests.crash.workload import OPEN, SHORT, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.workload import Ground


@pytest.fixture(autouse=True)
def long_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is a long one, of many pieces."""
    monkeypatch.setattr(record, "_LONG", 0)
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 500)
    monkeypatch.setattr(journal, "_PIECE_BYTES", 600)


def test_lines_are_written_in_pieces(ground: Ground) -> None:
    disk = ground.disk()
    fs = RecordingFileSystem(disk)
    run = Run(disk, fs)
    run.do((OPEN,))
    before = len(fs.calls)
    run.do(SHORT[1:2])
    writes = [call.args for call in fs.calls[before:] if call.name == "pwrite"]
    to_journal = [data for fd, data, _ in writes if fd == writes[-1][0]]
    assert [len(data) >= 500 for data in to_journal[:-1]] == [True] * len(to_journal[:-1])
    assert len(to_journal) > 2


@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_death_at_any_call_keeps_what_returned(ground: Ground, durability: str) -> None:
    test_process_death.test_death_at_any_call_keeps_what_returned(
        ground, "json", durability, SHORT, False
    )


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_power_cut_at_any_call_keeps_what_was_promised(tmp_path: Path, durability: str) -> None:
    test_power_cut.cut_everywhere(tmp_path, SHORT, samples=1, durability=durability)


@pytest.mark.parametrize("error", [None, errno.EIO, errno.ENOSPC, errno.EINTR])
def test_a_fault_at_any_call_changes_nothing(ground: Ground, error: int | None) -> None:
    test_fault.test_a_fault_at_any_call_changes_nothing(ground, error, False)
