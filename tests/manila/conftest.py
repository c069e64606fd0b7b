"""Tests in real Manila; they run in an environment that has it and are left out of others."""

import importlib.util
import pathlib
import warnings

import pytest

HERE = pathlib.Path(__file__).parent
MODULES = "(alembic|eventlet|keystone[a-z]*|manila|oslo_[a-z]+|pycadf|sqlalchemy|stevedore|webob)"

with warnings.catch_warnings():
    # Manila and what it stands on warn of their own future while they are imported.
    warnings.simplefilter("ignore")
    try:
        import manila.tests.db.sqlalchemy.test_api
        import manila.tests.share.drivers.dummy
        import manila.tests.share.test_drivers_private_data  # noqa: F401  # loaded without warnings
    except ImportError:
        if importlib.util.find_spec("manila"):
            raise  # what its tests need is not there: that must be heard
        collect_ignore_glob = ["*"]


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            # Warnings of software that is not ours must not fail our tests; ours still do.
            item.add_marker(pytest.mark.filterwarnings(rf"ignore:::{MODULES}(\.|$)"))


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Write a ``manila.conf`` and have Manila read it; undone after the test."""
    from oslo_config import cfg

    from filestore.integrations.manila import close_stores

    monkeypatch.delenv("FILESTORE_PATH", raising=False)

    def configure(text):
        file = tmp_path / "manila.conf"
        file.write_text(text)
        cfg.CONF(["--config-file", str(file)], project="manila")
        return cfg.CONF

    yield configure
    cfg.CONF.reset()
    cfg.CONF.clear()
    close_stores()
