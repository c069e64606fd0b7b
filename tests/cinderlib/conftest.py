"""Tests in real cinderlib; they run in an environment that has it and are left out of others."""

import contextlib
import pathlib
import warnings

import pytest

from tests.declared import declare

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]

with warnings.catch_warnings():
    # Cinder and what it stands on warn of their own future while they are imported.
    warnings.simplefilter("ignore")
    try:
        import cinderlib.objects
        import cinderlib.tests.unit.persistence.base  # sets cinderlib up, with a mock
    except ImportError:
        collect_ignore_glob = ["*"]


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            # Warnings of software that is not ours must not fail our tests; ours still do.
            for module in ("cinder", "cinderlib", "oslo", "os_brick", "stevedore", "eventlet"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:::{module}"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*invalid UUID:FutureWarning"))


@pytest.fixture(scope="session")
def entry_points(tmp_path_factory):
    """A folder for ``sys.path`` that declares the entry points of pyproject.toml."""
    return declare(tmp_path_factory.mktemp("entry-points"))


@pytest.fixture
def registered(entry_points, monkeypatch):
    """The plugin can be named in ``persistence_config``."""
    monkeypatch.syspath_prepend(str(entry_points))


@contextlib.contextmanager
def persistence_of(config):
    """cinderlib set up with ``config``, and put back to what it was."""
    backend = cinderlib.Backend
    before = (backend.persistence, dict(backend.backends), dict(backend._volumes_inflight))
    backend._volumes_inflight.clear()
    backend.backends = {}
    backend.set_persistence(config)
    try:
        yield backend.persistence
    finally:
        plugin = backend.persistence
        backend.set_persistence({"storage": before[0]})
        backend.backends, backend._volumes_inflight = before[1], before[2]
        if hasattr(plugin, "close"):
            plugin.close()


@pytest.fixture(params=["json", "yaml"])
def codec(request):
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def plugin(path):
    """The plugin on a store of its own, active in cinderlib."""
    from filestore.integrations.cinderlib import FilestorePersistence

    with persistence_of({"storage": FilestorePersistence, "path": path}) as plugin:
        yield plugin


@pytest.fixture
def backend(plugin):
    """A backend named ``lvm`` whose driver is a mock."""
    from cinderlib.tests.unit import utils

    return utils.FakeBackend(volume_backend_name="lvm")
