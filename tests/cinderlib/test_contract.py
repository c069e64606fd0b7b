"""cinderlib's own contract suite for persistence plugins, over filestore."""

# ruff: noqa: N802, PT009  # the suite is in unittest's style

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
