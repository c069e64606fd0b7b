"""The library set up in memory, and taken down after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import filestore as cl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def taken_down() -> Iterator[None]:
    """Each test begins with nothing set up."""
    cl.Backend.global_teardown()
    yield
    cl.Backend.global_teardown()


@pytest.fixture
def again() -> Callable[..., cl.Backend]:
    """Set everything up anew, with a backend ``lvm``."""

    def begin(**options: object) -> cl.Backend:
        cl.Backend.global_teardown()
        cl.setup(**options)  # type: ignore[arg-type]  # tests know what they pass
        return cl.Backend(volume_backend_name="lvm")

    return begin
