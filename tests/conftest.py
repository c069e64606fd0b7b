"""What every test has in common: which folders are collected, and how Hypothesis behaves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent

SERVERS = Path("/usr/lib/postgresql")  # where Debian puts them

INSTALLED = {
    **{name: find_spec(name) is not None for name in ("cinderlib", "manila")},
    "postgresql": find_spec("psycopg2") is not None and any(SERVERS.glob("*/bin/postgres")),
}
"""Software not ours, of an environment of its own, and whether it is in this one.

The tests that need it lie in the folder of its name or are marked with it.
"""

# Benchmarks are programs, not tests.  Tests in software not ours import it at the top.
collect_ignore = ["bench", *(name for name, there in INSTALLED.items() if not there)]

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


def pytest_report_header() -> list[str]:
    """Say where the tests in software not ours run, so that their absence is not silent."""
    return [
        f"{name}: installed, its tests run here"
        if there
        else f"{name}: not installed, its tests run in `nox -s {name}`"
        for name, there in INSTALLED.items()
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what lies in the folders of software not ours; deselect what needs what is not there."""
    for item in items:
        for name in INSTALLED:
            if HERE / name in item.path.parents:
                item.add_marker(name)
    missing = [name for name, there in INSTALLED.items() if not there]
    away = [item for item in items if any(map(item.get_closest_marker, missing))]
    if away:
        config.hook.pytest_deselected(items=away)
        items[:] = [item for item in items if item not in away]
