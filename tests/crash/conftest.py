"""How much of the ground is covered: bounded samples, or all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.crash.workload import Ground

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def exhaustive() -> bool:
    """Whether to try every point and many more power cuts: minutes instead of seconds."""
    return bool(os.environ.get("FILESTORE_CRASH_EXHAUSTIVE"))


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(str(tmp_path))
    yield ground
    ground.clear()
