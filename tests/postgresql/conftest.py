"""One server for all tests here; each test has a schema, or a server, of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgresql.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def url(server: Server) -> str:
    """The URL of a new, empty schema."""
    return server.url(server.schema())


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()
