"""What every test has in common: which folders are collected, and how Hypothesis behaves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

CINDERLIB = Path(__file__).with_name("cinderlib")
HAS_CINDERLIB = find_spec("cinderlib") is not None

# Benchmarks are programs, not tests.  Those of cinderlib import it at the top.
collect_ignore = ["bench"] if HAS_CINDERLIB else ["bench", "cinderlib"]

# Machines differ in speed, and a sync may take long: no deadlines.  The same
# examples in every run: what fails here fails there.
settings.register_profile(
    "filestore",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# Many more examples, new ones each time: `pytest --hypothesis-profile=search`.
settings.register_profile(
    "search", settings.get_profile("filestore"), derandomize=False, max_examples=2000
)
settings.load_profile("filestore")


def pytest_report_header() -> str:
    """Say where the tests in real cinderlib run, so that their absence is not silent."""
    if HAS_CINDERLIB:
        return "cinderlib: installed, its tests run here"
    return "cinderlib: not installed, its tests run in `nox -s cinderlib`"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what lies in tests/cinderlib; deselect what is marked where there is no cinderlib."""
    for item in items:
        if CINDERLIB in item.path.parents:
            item.add_marker("cinderlib")
    if HAS_CINDERLIB:
        return
    away = [item for item in items if item.get_closest_marker("cinderlib")]
    if away:
        config.hook.pytest_deselected(items=away)
        items[:] = [item for item in items if not item.get_closest_marker("cinderlib")]
