"""A sync that failed is never tried again as if it could succeed, whoever makes it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from filestore.codec import canonical
from filestore.engine.files import FileBackend
from filestore.engine.fs import FileSystem
from filestore.errors import RecoveryNeeded
from filestore.model import Edit, Key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A = Key("volumes", "a")
B = Key("volumes", "b")
DOCUMENT = canonical({"size": 1})


class FailingOnce(FileSystem):
    """Fails the next sync of data when it is told to; like a kernel, not the one after."""

    failing = False

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        if self.failing:
            self.failing = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(fd)


def publish(backend: FileBackend) -> None:
    backend._works.checkpointer.publish()


def checkpoint(backend: FileBackend) -> None:
    backend.checkpoint()


@pytest.mark.parametrize("sync", [publish, checkpoint])
def test_after_a_failed_sync_of_what_was_put_off_nothing_is_written(
    tmp_path: Path, sync: Callable[[FileBackend], Any]
) -> None:
    fs = FailingOnce()
    with_failure = FileBackend(tmp_path / "state", durability="normal", fs=fs, background=False)
    with_failure.apply([Edit(A, DOCUMENT)])
    fs.failing = True
    for _ in range(2):
        with pytest.raises(RecoveryNeeded):
            sync(with_failure)
    with pytest.raises(RecoveryNeeded):
        with_failure.apply([Edit(B, DOCUMENT)])
    with_failure.close()
    # What was not known to be on the disk is written anew, into another segment.
    again = FileBackend(tmp_path / "state")
    again.apply([Edit(B, DOCUMENT)])
    assert sorted(again.ids("volumes")) == ["a", "b"]
    assert again._ground.journal.numbers() == [1, 2]
    assert again.check() == []
    again.close()


def test_a_writer_that_publishes_what_another_put_off_does_not_pass_over_a_failed_sync(
    tmp_path: Path,
) -> None:
    lazy = FileBackend(tmp_path / "state", durability="normal", background=False)
    fs = FailingOnce()
    eager = FileBackend(tmp_path / "state", fs=fs, background=False)
    lazy.apply([Edit(A, DOCUMENT)])
    fs.failing = True
    with pytest.raises(RecoveryNeeded):
        eager.apply([Edit(B, DOCUMENT)])
    assert lazy.apply([Edit(B, DOCUMENT)]) is not None
    assert lazy._ground.journal.numbers() == [1, 2]
    eager.close()
    lazy.close()
