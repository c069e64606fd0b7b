"""A migration that is killed, and repeated."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import filestore
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = 4_000
DEADLINE = 120


@pytest.mark.parametrize("target", ["{}/copy", "sqlite:///{}/copy.db"])
def test_a_migration_that_was_killed_is_done_by_repeating_it(tmp_path: Path, target: str) -> None:
    location = target.format(tmp_path)
    documents = {f"d{number}": {"number": number} for number in range(DOCUMENTS)}
    with filestore.open(tmp_path / "state", durability="off") as store:
        store["many"].update(documents)
    command = [sys.executable, "-m", "filestore", "migrate", str(tmp_path / "state"), location]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + DEADLINE
        while not arrived(location):
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.kill()
    before = arrived(location)
    assert 0 < before < DOCUMENTS
    assert not before % 500  # whole transactions

    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{DOCUMENTS - before:,} created, 0 updated, {before:,} the same" in done.stdout
    with filestore.open(location, create=False) as store:
        assert dict(store["many"].items()) == documents
        assert store.check() == []


def arrived(location: str) -> int:
    """How many documents the target has so far."""
    try:
        with filestore.open(location, readonly=True, create=False) as store:
            return len(store["many"])
    except FilestoreError:
        return 0  # it is being made
