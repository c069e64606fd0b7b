"""Manila's own classes and tests with private data in a store."""

import os
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import pytest
from manila import context, rpc
from manila.share import drivers_private_data, manager
from manila.tests.db.sqlalchemy import test_api
from manila.tests.share import test_drivers_private_data
from manila.tests.share.drivers import dummy
from oslo_utils import uuidutils

import filestore
from filestore import NotConfigured
from filestore import private_data as ours
from filestore.integrations.manila import FileStorageDriver, close_stores, list_opts
from tests.contract.private_data import ENTITY, SPELLINGS, PrivateDataContract

ROOT = Path(__file__).parents[2]
CLASS = "drivers_private_storage_class = filestore.integrations.manila.FileStorageDriver"


def private_data(backend_host, group=None):
    return drivers_private_data.DriverPrivateData(
        context=context.get_admin_context(), backend_host=backend_host, config_group=group
    )


# --- where the store is


def test_the_option_of_manila_names_the_class(conf, tmp_path):
    conf(f"[DEFAULT]\n{CLASS}\nfilestore_path = {tmp_path}/state\n")
    data = private_data("node1@alpha")
    assert isinstance(data._storage, FileStorageDriver)
    assert isinstance(data._storage, drivers_private_data.StorageDriver)
    data.update(ENTITY, {"export": "/exports/7"})
    assert private_data("node1@alpha").get(ENTITY) == {"export": "/exports/7"}
    with filestore.open(tmp_path / "state", readonly=True) as store:
        assert store["driver_data/node1@alpha"][ENTITY] == {"export": "/exports/7"}


def test_the_group_of_a_backend_goes_before_default(conf, tmp_path):
    conf(
        f"[DEFAULT]\nenabled_share_backends = alpha,beta\nfilestore_path = {tmp_path}/common\n"
        f"[alpha]\n{CLASS}\nfilestore_path = {tmp_path}/alpha\n"
        f"[beta]\n{CLASS}\n"
    )
    for group in ("alpha", "beta"):
        private_data(f"node1@{group}#pool", group).update(ENTITY, {"of": group})
    for name, group in (("alpha", "alpha"), ("common", "beta")):
        with filestore.open(tmp_path / name) as store:
            assert store.collections() == [f"driver_data/node1@{group}#pool"]


def test_the_path_may_refer_to_another_option(conf, tmp_path):
    conf(f"[DEFAULT]\nstate_path = {tmp_path}\nfilestore_path = $state_path/private\n{CLASS}\n")
    private_data("node1@alpha").update(ENTITY, {"a": 1})
    assert (tmp_path / "private" / "filestore.yaml").exists()


@pytest.mark.parametrize("setting", ["", "filestore_path ="])
def test_the_environment_comes_last(conf, tmp_path, monkeypatch, setting):
    conf(f"[DEFAULT]\n{setting}\n[alpha]\n{CLASS}\n")
    monkeypatch.setenv("FILESTORE_PATH", str(tmp_path / "environment"))
    private_data("node1@alpha", "alpha").update(ENTITY, {"a": 1})
    assert (tmp_path / "environment" / "filestore.yaml").exists()


@pytest.mark.parametrize(
    ("host", "groups"),
    [("node1@alpha#pool", "[alpha] or [DEFAULT]"), ("node1", "in [DEFAULT] of")],
)
def test_an_error_says_what_to_set_when_nothing_does(conf, host, groups):
    conf("[alpha]\n")
    with pytest.raises(NotConfigured) as caught:
        FileStorageDriver(None, host)
    for word in (host, "filestore_path", groups, "FILESTORE_PATH"):
        assert word in str(caught.value)


def test_the_path_may_be_a_url(conf):
    conf("[DEFAULT]\nfilestore_path = memory:\n[beta]\nfilestore_path = nope://there\n")
    FileStorageDriver(None, "node1@alpha").update(ENTITY, {"a": 1})
    assert FileStorageDriver(None, "node1@alpha").get(ENTITY, "a") == "1"
    with pytest.raises(filestore.UnsupportedFormat, match="nope://there"):
        FileStorageDriver(None, "node1@beta")


def test_the_path_may_be_that_of_a_database(conf, tmp_path):
    conf(f"[DEFAULT]\nfilestore_path = sqlite:///{tmp_path}/private.db\n")
    for host in ("node1@alpha", "node1@beta"):
        FileStorageDriver(None, host).update(ENTITY, {"of": host})
    assert FileStorageDriver(None, "node1@alpha").get(ENTITY) == {"of": "node1@alpha"}
    with ours.SqlStorageDriver(f"sqlite:///{tmp_path}/private.db", "node1@beta") as driver:
        assert driver.get(ENTITY) == {"of": "node1@beta"}


def test_the_option_is_listed_for_the_generator():
    ((group, options),) = list_opts()
    assert group == "DEFAULT"
    assert [option.name for option in options] == ["filestore_path"]


# --- one handle a process


def test_the_drivers_of_a_process_share_a_handle(conf, tmp_path, monkeypatch):
    conf(f"[DEFAULT]\nfilestore_path = {tmp_path}/state\n")
    first = FileStorageDriver(None, "node1@alpha")
    assert FileStorageDriver(None, "node1@beta").store is first.store
    monkeypatch.chdir(tmp_path)
    conf("[DEFAULT]\nfilestore_path = state\n")
    assert FileStorageDriver(None, "node1@alpha").store is first.store
    close_stores()
    again = FileStorageDriver(None, "node1@alpha")
    assert again.store is not first.store
    with pytest.raises(filestore.Closed):
        first.get(ENTITY)


PROGRAM = """
import os, sys, warnings
warnings.simplefilter("ignore")
if "eventlet" in sys.argv:
    import eventlet
    eventlet.monkey_patch()
from filestore.integrations.manila import FileStorageDriver
entity = "4fcf2247-7812-48cf-a1e2-ab09e0045d9d"
data = FileStorageDriver(None, "node1@alpha")
data.update(entity, {"parent": 1})
if "fork" in sys.argv:
    children = []
    for child in range(2):
        pid = os.fork()
        if not pid:
            for n in range(20):
                FileStorageDriver(None, "node1@alpha").update(entity, {f"{child}-{n}": n})
            sys.exit()
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
if "eventlet" in sys.argv:
    pool = eventlet.GreenPool()
    for n in range(20):
        pool.spawn(data.update, entity, {f"green-{n}": n})
    pool.waitall()
print(len(data.get(entity)))
"""


@pytest.mark.parametrize(
    ("arguments", "keys"), [([], 1), (["fork"], 41), (["eventlet"], 21), (["fork", "eventlet"], 61)]
)
@pytest.mark.parametrize("where", ["{}/state", "sqlite:///{}/private.db"])
def test_a_program_that_ends_leaves_a_sound_store(tmp_path, arguments, keys, where):
    location = where.format(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FILESTORE_PATH": location},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{keys}\n"
    with filestore.open(location) as store:
        assert len(store["driver_data/node1@alpha"][ENTITY]) == keys
        assert store.check() == []


# --- the contract, on ours and on Manila's own


class TestFileStorageDriver(PrivateDataContract):
    @pytest.fixture(autouse=True)
    def _configured(self, conf, tmp_path):
        conf(f"[DEFAULT]\nfilestore_path = {tmp_path}/state\n")

    def storage(self, backend_host):
        return FileStorageDriver(context.get_admin_context(), backend_host)


class TestManilasOwnDriver(PrivateDataContract):
    """What ours must be like; where it is not, that is told in docs/private-data.md."""

    @pytest.fixture(autouse=True)
    def _database(self):
        case = test_api.DriverPrivateDataDatabaseAPITestCase("test_get")
        case.setUp()
        yield
        case.doCleanups()

    def storage(self, backend_host):
        return drivers_private_data.SqlStorageDriver(context.get_admin_context(), backend_host)

    def test_it_does_not_keep_backends_apart(self):
        self.storage("node1@alpha").update(ENTITY, {"a": "1"}, False)
        assert self.storage("node1@beta").get(ENTITY, "a", None) == "1"


@pytest.mark.parametrize(
    "text", [*SPELLINGS, "", "URN:" + ENTITY, ENTITY + "\n", None, 5, "٣" * 32]
)
def test_what_is_like_a_uuid_is_so_to_both(text):
    assert ours.is_uuid_like(text) == uuidutils.is_uuid_like(text)


# --- Manila's own tests


class FrontTests(test_drivers_private_data.DriverPrivateDataTestCase):
    """Manila's tests of its ``DriverPrivateData``, with ours in its place."""

    __test__ = False

    def setUp(self):  # noqa: N802  # unittest's
        super().setUp()
        patch = mock.patch.object(
            test_drivers_private_data.pd, "DriverPrivateData", ours.DriverPrivateData
        )
        patch.start()
        self.addCleanup(patch.stop)


class DatabaseTests(test_api.DriverPrivateDataDatabaseAPITestCase):
    """Manila's tests of its tables, with our storage in their place."""

    __test__ = False

    def setUp(self):  # noqa: N802  # unittest's
        super().setUp()
        with mock.patch.dict(os.environ, {"FILESTORE_PATH": "memory:"}):
            storage = FileStorageDriver(self.ctxt, "node1@alpha")
        self.addCleanup(close_stores)
        for name, replacement in {
            "get": lambda _, entity, key=None, default=None: storage.get(entity, key, default),
            "update": lambda _, entity, details, delete_existing=False: storage.update(
                entity, details, delete_existing
            ),
            "delete": lambda _, entity, key=None: storage.delete(entity, key),
        }.items():
            patch = mock.patch.object(test_api.db_api, f"driver_private_data_{name}", replacement)
            patch.start()
            self.addCleanup(patch.stop)


CONSTRUCTION = ("test_default_storage", "test_invalid_parameters", "test_invalid_single")
"""Tests of what makes a storage by the configuration: that is Manila's own front, over ours."""

UPSTREAM = [
    case(name)
    for case in (FrontTests, DatabaseTests)
    for name in unittest.TestLoader().getTestCaseNames(case)
    if not name.startswith(CONSTRUCTION)
]


@pytest.mark.parametrize("case", UPSTREAM, ids=lambda case: case.id().rpartition(".")[2])
def test_upstreams_own_tests_pass(case):
    # Not by pytest's runner, which is in the way of a tearDown that wipes the case.
    result = unittest.TestResult()
    case.run(result)
    assert result.testsRun == 1
    assert result.errors + result.failures + result.skipped == []


def test_upstreams_tests_are_all_there():
    assert len(UPSTREAM) == 21


# --- a driver of Manila's at work


def test_a_backend_that_manilas_share_manager_sets_up_keeps_its_data_in_the_store(conf, tmp_path):
    configured = conf(
        "[DEFAULT]\nenabled_share_backends = alpha\ntransport_url = fake:/\n"
        "[database]\nconnection = sqlite://\n"
        "[alpha]\ndriver_handles_share_servers = False\nshare_backend_name = alpha\n"
        "share_driver = manila.tests.share.drivers.dummy.DummyDriver\n"
        f"{CLASS}\nfilestore_path = {tmp_path}/state\n"
        "dummy_driver_default_driver_method_delay = 0\n"
        "dummy_driver_driver_methods_delays = create_share:0,delete_share:0\n"
    )
    rpc.init(configured)
    try:
        driver = manager.ShareManager(service_name="alpha", host="node1@alpha").driver
    finally:
        rpc.cleanup()
    assert isinstance(driver, dummy.DummyDriver)
    share = {
        "id": uuidutils.generate_uuid(),
        "share_id": ENTITY,
        "name": "share",
        "share_proto": "NFS",
        "host": "node1@alpha#fast",
        "mount_point_name": None,
    }
    snapshot = {"id": uuidutils.generate_uuid(), "name": "snapshot", "snapshot_id": ENTITY}

    exports = driver.create_share(None, share)
    driver.create_snapshot(None, snapshot)
    with filestore.open(tmp_path / "state", readonly=True) as store:
        kept = store["driver_data/node1@alpha"]
        assert set(kept) == {share["id"], snapshot["id"]}
        assert kept[share["id"]]["fake_provider_location"] in exports[0]["path"]
        driver.delete_share(None, share)
        driver.delete_snapshot(None, snapshot)
        assert set(kept) == set()
