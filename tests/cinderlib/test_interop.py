"""filestore's own resources and real cinderlib's: one format on disk, and one of dumps."""

import datetime as dt
import json

import cinderlib
import pytest
from cinderlib import objects as cl_objects

import filestore
from filestore.integrations.cinderlib import FilestorePersistence
from tests.cinderlib.conftest import ROOT, persistence_of

CHAP = {
    "driver_volume_type": "iscsi",
    "data": {"auth_method": "CHAP", "auth_password": "not-a-secret", "target_lun": 1},
}
ID = "5b5a3a0e-5d0f-4b39-9f2e-0a3b8c2c6a11"
WHEN = dt.datetime(2026, 3, 1, 8, 15, 30, 250000, tzinfo=dt.UTC)


@pytest.fixture
def here(path):
    """filestore's own interface on a store of the test; closed after it."""

    def begin(**options):
        filestore.Backend.global_teardown()
        filestore.setup(
            persistence_config={"storage": "file", "path": path, "durability": "off"}, **options
        )
        return filestore.Backend(volume_backend_name="lvm")

    yield begin
    filestore.Backend.global_teardown()


def populate(library, backend):
    """One of each kind, as the library makes them; returns their ids."""
    volume = library.Volume(
        backend,
        size=3,
        name="disk",
        description="é, ü and 你好",
        metadata={"a": "1"},
        extra_specs={"thin": "true", "none": None},
        qos_specs={"iops": "100"},
        provider_auth="CHAP user not-a-secret",
        bootable=True,
        host="node1@lvm#pool",
        launched_at=WHEN,
    )
    volume.save()
    plain = library.Volume(backend, size=1, host="node1@lvm#pool")
    plain.save()
    snapshot = library.Snapshot(volume, name="before-upgrade", metadata={"k": "v"})
    snapshot.save()
    connection = library.Connection(
        backend,
        volume=volume,
        connector={"host": "node1"},
        attached_host="node1",
        connection_info={
            "conn": {**CHAP, "data": dict(CHAP["data"])},
            "connector": {"host": "node1"},
            "device": {"path": "/dev/sda", "type": "block"},
        },
    )
    connection.save()
    for key, value in (("text", "x"), ("dict", {"a": [1, None]}), ("a/b", None)):
        cinderlib_or_ours = library.KeyValue(key, value)
        library.Backend.persistence.set_key_value(cinderlib_or_ours)
    return volume.id, plain.id, snapshot.id, connection.id


def by_kind(ids):
    return dict(zip(("Volume", "", "Snapshot", "Connection"), ids, strict=True))


def everything(library, ids):
    """The resources of these ids, in each library's own dump of one resource alone."""
    one, two, snapshot, connection = ids
    return [
        library.Volume.get_by_id(one).to_json(),
        library.Volume.get_by_id(two).to_json(),
        library.Snapshot.get_by_id(snapshot).to_json(),
        library.Connection.get_by_id(connection).to_json(),
    ]


def key_values(library):
    return {kv.key: kv.value for kv in library.Backend.persistence.get_key_values()}


def without_unset(value):
    """Without what is null: Cinder leaves fields out that were never set."""
    if isinstance(value, dict):
        return {k: without_unset(v) for k, v in value.items() if v is not None or k == "none"}
    if isinstance(value, list):
        return [without_unset(each) for each in value]
    return value


def as_upstream(resource):
    """Its dump, a driver's progress where cinderlib has it."""
    dump = resource.to_json()
    own = dump["ovo"].pop("cinderlib.data", None)
    if own is not None:
        dump["ovo"]["versioned_object.data"].update(own)
    return dump


@pytest.fixture
def real(path):
    """Real cinderlib with the plugin on the same store."""
    from cinderlib.tests.unit import utils

    config = {"storage": FilestorePersistence, "path": path, "durability": "off"}
    with persistence_of(config):
        backend = utils.FakeBackend(volume_backend_name="lvm")
        backend.driver.create_volume.return_value = None
        yield backend


class TestStores:
    def test_a_store_of_real_cinderlib_opens_here(self, real, here):
        ids = populate(cinderlib, real)
        here()
        assert without_unset(everything(filestore, ids)) == without_unset(
            everything(cinderlib, ids)
        )
        assert key_values(filestore) == key_values(cinderlib)
        assert {each.id for each in filestore.Backend.backends["lvm"].volumes} == set(ids[:2])

    def test_a_store_of_ours_opens_in_real_cinderlib(self, real, here):
        ids = populate(filestore, here())
        assert without_unset(everything(filestore, ids)) == without_unset(
            everything(cinderlib, ids)
        )
        assert key_values(filestore) == key_values(cinderlib)
        assert [each.id for each in cinderlib.Volume.get_by_id(ids[0]).snapshots] == [ids[2]]

    def test_a_resource_written_back_by_the_other_keeps_its_bytes(self, real, here, path):
        ids = populate(cinderlib, real)
        before = {file: file.read_bytes() for file in path.rglob("*.json")}
        here()
        for kind, id in zip(("Volume", "Volume", "Snapshot", "Connection"), ids, strict=True):
            held = getattr(filestore, kind).get_by_id(id)
            held.save()
            getattr(cinderlib, kind).get_by_id(id).save()
        assert {file: file.read_bytes() for file in path.rglob("*.json")} == before

    def test_both_change_one_volume_without_undoing_each_other(self, real, here):
        ids = populate(cinderlib, real)
        here()
        theirs, ours = cinderlib.Volume.get_by_id(ids[0]), filestore.Volume.get_by_id(ids[0])
        theirs._ovo.size = 9
        theirs.metadata["theirs"] = "x"
        ours.display_name = "renamed"
        ours.metadata["ours"] = "y"
        ours.volume_type.extra_specs["thin"] = "false"
        theirs.save()
        ours.save()
        for library in (cinderlib, filestore):
            found = library.Volume.get_by_id(ids[0])
            assert (found.size, found.name) == (9, "renamed")
            assert found.metadata == {"a": "1", "theirs": "x", "ours": "y"}
            assert found.volume_type.extra_specs == {"thin": "false", "none": None}

    def test_a_drivers_progress_is_kept_by_both(self, real, here):
        ids = populate(cinderlib, real)
        here()
        held = filestore.Snapshot.get_by_id(ids[2])
        held.progress = "100%"
        held.save()
        assert cinderlib.Snapshot.get_by_id(ids[2]).progress == "100%"
        assert cinderlib.Snapshot.get_by_id(ids[2]).backend is real

    def test_what_was_deleted_softly_by_one_is_hidden_from_the_other(self, real, here):
        ids = populate(cinderlib, real)
        here()
        filestore.Backend.global_teardown()
        filestore.setup(
            persistence_config={
                "storage": "filestore",
                "path": cinderlib.Backend.persistence.store.location,
                "soft_deletes": True,
            }
        )
        filestore.Backend(volume_backend_name="lvm")
        filestore.Volume.get_by_id(ids[1]).delete()
        assert cinderlib.Backend.persistence.get_volumes(ids[1]) == []

    def test_the_lab_opens_here_as_in_real_cinderlib(self, tmp_path):
        state = tmp_path / "lab"
        with (
            filestore.open(ROOT / "fixtures" / "lab", readonly=True) as lab,
            filestore.open(state) as store,
        ):
            for name in lab.collections():
                store[name].update(lab[name])
        filestore.setup(persistence_config={"storage": "file", "path": state})
        try:
            with persistence_of({"storage": FilestorePersistence, "path": state}) as plugin:
                ours = filestore.Backend.persistence
                for get in ("get_volumes", "get_snapshots", "get_connections"):
                    mine = {each.id: as_upstream(each) for each in getattr(ours, get)()}
                    theirs = {each.id: each.to_json() for each in getattr(plugin, get)()}
                    assert without_unset(mine) == without_unset(theirs)
                    assert mine
        finally:
            filestore.Backend.global_teardown()


class TestDumps:
    @pytest.mark.parametrize("kind", ["Volume", "Snapshot", "Connection"])
    def test_dumps_of_real_cinderlib_load_here(self, real, here, kind, path):
        ids = by_kind(populate(cinderlib, real))
        dump = getattr(cinderlib, kind).get_by_id(ids[kind]).dumps
        here()
        loaded = filestore.load(dump)
        assert type(loaded) is getattr(filestore, kind)
        assert without_unset(loaded.json) == without_unset(json.loads(dump))

    @pytest.mark.parametrize("kind", ["Volume", "Snapshot", "Connection"])
    def test_dumps_from_here_load_in_real_cinderlib(self, real, here, kind):
        ids = by_kind(populate(filestore, here()))
        dump = getattr(filestore, kind).get_by_id(ids[kind]).dumps
        loaded = cinderlib.load(dump)
        assert type(loaded) is getattr(cinderlib, kind)
        assert without_unset(loaded.json) == without_unset(json.loads(dump))

    def test_a_whole_system_goes_there_and_back(self, real, here):
        ids = populate(filestore, here())
        whole = filestore.dumps()
        before = everything(filestore, ids)
        cinderlib.Backend.persistence.store["volumes"].clear()
        cinderlib.Backend.persistence.store["snapshots"].clear()
        cinderlib.Backend.persistence.store["connections"].clear()
        assert filestore.Backend.persistence.get_volumes() == []
        cinderlib.load(whole, save=True)
        assert without_unset(everything(filestore, ids)) == without_unset(before)
        real._volumes = None
        back = [{**real.dump, "class": "Backend"}]  # the stand-in's class has another name
        for name in ("volumes", "snapshots", "connections"):
            filestore.Backend.persistence.store[name].clear()
        filestore.load(json.dumps(back), save=True)
        assert without_unset(everything(filestore, ids)) == without_unset(before)

    def test_a_snapshot_with_a_drivers_progress_loads_in_real_cinderlib(self, real, here):
        ids = populate(filestore, here())
        snapshot = filestore.Snapshot.get_by_id(ids[2])
        snapshot.progress = "100%"
        snapshot.save()
        dump = filestore.Volume.get_by_id(ids[0]).dumps
        loaded = cinderlib.load(dump)
        assert loaded.snapshots[0].backend is real
        assert filestore.load(dump).snapshots[0].progress == "100%"

    def test_the_objects_have_cinders_fields_versions_and_defaults(self):
        from cinder import objects as ovos
        from oslo_versionedobjects import fields as ovo_fields

        from filestore.resources import volume_type as ours
        from filestore.resources.connection import Connection
        from filestore.resources.snapshot import Snapshot
        from filestore.resources.volume import Volume

        for of_cinder, mine in (
            (ovos.Volume, Volume),
            (ovos.Snapshot, Snapshot),
            (ovos.VolumeAttachment, Connection),
            (ovos.VolumeType, ours.VolumeType),
            (ovos.QualityOfServiceSpecs, ours.QualityOfServiceSpecs),
        ):
            values = {
                name: field
                for name, field in of_cinder.fields.items()
                if not isinstance(field, ovo_fields.ObjectField)
            }
            assert set(mine.fields) == set(values), of_cinder
            assert mine.version == of_cinder.VERSION
            assert mine.ovo_name == of_cinder.obj_name()
            for name, field in values.items():
                if (
                    field.default is not ovo_fields.UnspecifiedDefault
                    and field.default is not False
                ):
                    assert mine.fields[name].default == field.default, (of_cinder, name)
                choices = getattr(field, "valid_values", None)
                if choices:
                    assert mine.fields[name].choices == frozenset(choices)

    @pytest.mark.parametrize("kind", ["Volume", "Snapshot"])
    def test_a_new_resource_has_the_values_that_cinderlib_gives_it(self, real, here, kind):
        backend = here()
        ours = filestore.Volume(
            backend, size=2, name="n", id="5b5a3a0e-5d0f-4b39-9f2e-0a3b8c2c6a11"
        )
        theirs = cinderlib.Volume(real, size=2, name="n", id=ours.id, host=ours.host)
        if kind == "Snapshot":
            ours = filestore.Snapshot(ours, name="s", id=ours.id)
            theirs = cinderlib.Snapshot(theirs, name="s", id=ours.id)
        theirs._ovo.created_at = ours.created_at
        assert ours.to_json() == theirs.to_json()

    def test_people_get_the_same_dictionary(self, real, here):
        ids = populate(cinderlib, real)
        here()
        theirs = cl_objects.Volume.get_by_id(ids[0]).to_dict()
        assert without_unset(filestore.Volume.get_by_id(ids[0]).to_dict()) == without_unset(theirs)
