"""Processes that end with their test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.processes.actors import Actor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start() -> Iterator[Callable[..., Actor]]:
    """Start an actor; it is killed at the end of the test if it still runs."""
    actors: list[Actor] = []

    def begin(function: Callable[..., object], *args: Any) -> Actor:
        actors.append(Actor(function, *args))
        return actors[-1]

    yield begin
    for actor in actors:
        actor.release()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "state"
