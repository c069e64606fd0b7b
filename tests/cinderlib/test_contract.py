"""cinderlib's own contract suite for persistence plugins, over filestore."""

# ruff: noqa: N802, PT009  # the suite is in unittest's style

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cinderlib
from cinder import objects as ovos
from cinderlib.persistence import base as persistence_base
from cinderlib.tests.unit.persistence import base

from filestore.integrations.cinderlib import FilestorePersistence


class Contract(base.BasePersistenceTest):
    """What upstream leaves to each plugin, and what it defines but never runs."""

    __test__ = False

    PERSISTENCE_CFG = {"storage": FilestorePersistence, "path": "memory:"}

    def tearDown(self):
        store = cinderlib.Backend.persistence.store
        for collection in store.collections():
            store[collection].clear()
        super().tearDown()

    def test_db(self):
        self.assertIsInstance(self.persistence.db, persistence_base.DB)
        self.assertEqual(
            self.persistence.db._DB__connections_get,
            ovos.VolumeAttachmentList.get_all_by_volume_id,
        )

    def test_set_volume(self):
        volume = cinderlib.Volume(self.backend, size=1, name="disk")
        self.assertEqual([], self.persistence.get_volumes())
        self.persistence.set_volume(volume)
        self.assertListEqualObj([volume], self.persistence.get_volumes())

    def test_set_snapshot(self):
        snapshot = cinderlib.Snapshot(self.create_n_volumes(1)[0], name="disk")
        self.assertEqual([], self.persistence.get_snapshots())
        self.persistence.set_snapshot(snapshot)
        self.assertListEqualObj([snapshot], self.persistence.get_snapshots())

    def test_set_connection(self):
        volume = self.create_n_volumes(1)[0]
        connection = cinderlib.Connection(
            self.backend, volume=volume, connector={}, connection_info={"conn": {"data": {}}}
        )
        self.assertEqual([], self.persistence.get_connections())
        self.persistence.set_connection(connection)
        self.assertListEqualObj([connection], self.persistence.get_connections())

    def test_set_key_values(self):
        self.assertEqual([], self.persistence.get_key_values())
        expected = [cinderlib.KeyValue("key", "value")]
        self.persistence.set_key_value(expected[0])
        self.assertEqual(expected, self.persistence.get_key_values())

    def test_get_snapshots_all(self):
        self.get_snapshots_all()

    def test_get_connections_all(self):
        # Upstream compares objects by identity here, which no storage can give back.
        connections = self.create_connections()
        result = self.persistence.get_connections()
        self.assertListEqualObj(connections, self.sorted(result))

    def test_get_key_values_all(self):
        self.get_key_values_all()


class TestInMemory(Contract):
    __test__ = True


class InFiles(Contract):
    """The same in a folder."""

    CODEC = "json"
    PLUGIN = FilestorePersistence

    @classmethod
    def setUpClass(cls):
        cls.path = tempfile.mkdtemp()
        cls.PERSISTENCE_CFG = {"storage": cls.PLUGIN, "path": cls.path, "codec": cls.CODEC}
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cinderlib.Backend.persistence.close()
        shutil.rmtree(cls.path)

    def tearDown(self):
        problems = cinderlib.Backend.persistence.store.check()
        super().tearDown()
        self.assertEqual([], problems)


class TestJson(InFiles):
    __test__ = True


class TestYaml(InFiles):
    __test__ = True
    CODEC = "yaml"


class FreshHandles(FilestorePersistence):
    """Reads through a handle that knows nothing yet."""

    def _read(self, method, *args, **kwargs):
        # With durability it would checkpoint on close, for which the lock may be held here.
        fresh = FilestorePersistence(self.store.location, durability="off")
        try:
            return getattr(fresh, method)(*args, **kwargs)
        finally:
            fresh.close()

    get_volumes = functools.partialmethod(_read, "get_volumes")
    get_snapshots = functools.partialmethod(_read, "get_snapshots")
    get_connections = functools.partialmethod(_read, "get_connections")
    get_key_values = functools.partialmethod(_read, "get_key_values")


class TestJsonByFreshHandles(InFiles):
    __test__ = True
    PLUGIN = FreshHandles


class TestYamlByFreshHandles(InFiles):
    __test__ = True
    CODEC = "yaml"
    PLUGIN = FreshHandles


class OtherProcess(FilestorePersistence):
    """Writes here and reads in another process, which keeps its handle."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reader = subprocess.Popen(
            [sys.executable, "-m", "tests.cinderlib.reader", self.store.location],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )

    def close(self):
        super().close()
        self.reader.communicate()  # it ends with its input

    def _read(self, method, *args, **kwargs):
        print(json.dumps([method, args, kwargs]), file=self.reader.stdin, flush=True)
        answer = self.reader.stdout.readline()
        return [
            cinderlib.KeyValue(each["key"], each["value"])
            if each["class"] == "KeyValue"
            else cinderlib.load(each)
            for each in json.loads(answer)
        ]

    get_volumes = functools.partialmethod(_read, "get_volumes")
    get_snapshots = functools.partialmethod(_read, "get_snapshots")
    get_connections = functools.partialmethod(_read, "get_connections")
    get_key_values = functools.partialmethod(_read, "get_key_values")


class TestJsonByAnotherProcess(InFiles):
    __test__ = True
    PLUGIN = OtherProcess


class TestYamlByAnotherProcess(InFiles):
    __test__ = True
    CODEC = "yaml"
    PLUGIN = OtherProcess
