"""Processes that end with their test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes.actors import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.processes.actors import Actor


@pytest.fixture
def start() -> Iterator[Callable[..., Actor]]:
    """Start an actor; it is killed at the end of the test if it still runs."""
    with stage() as begin:
        yield begin


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "state"
