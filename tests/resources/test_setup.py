"""Setting up: where resources are kept, and whose they are."""

import importlib
import logging
import socket

import pytest

import filestore as cl
from filestore import exception
from filestore.persistence import (
    DB,
    FilePersistence,
    MemoryPersistence,
    MyDict,
    PersistenceDriverBase,
    setup,
)
from tests.resources.third_party import JsonPersistence


class TestGlobalSetup:
    def test_a_backend_sets_up_what_was_not(self):
        backend = cl.Backend(volume_backend_name="lvm")
        assert isinstance(cl.Backend.persistence, MemoryPersistence)
        assert backend.create_volume(1).user_id == "cinderlib"

    def test_it_happens_once(self):
        cl.setup()
        with pytest.raises(exception.SetupError, match="Already setup"):
            cl.setup()

    def test_a_failed_one_sets_nothing_up(self):
        with pytest.raises(exception.NoMatches):
            cl.setup(persistence_config={"storage": "nope"})
        cl.setup()

    def test_it_can_be_undone_and_done_again(self):
        cl.setup()
        cl.Backend(volume_backend_name="lvm").create_volume(1)
        plugin = cl.Backend.persistence
        cl.Backend.global_teardown()
        cl.Backend.global_teardown()
        assert cl.Backend.backends == {}
        with pytest.raises(cl.Closed):
            plugin.get_volumes()
        cl.setup()
        assert cl.Backend(volume_backend_name="lvm").volumes == []

    def test_asking_before_it_says_what_to_do(self):
        with pytest.raises(exception.NotSetUp, match="call filestore"):
            cl.Volume.get_by_id("x")
        with pytest.raises(exception.SetupError, match="after filestore"):
            cl.Backend.set_persistence({"storage": "memory"})

    def test_parameters_that_need_cinder_are_accepted(self, tmp_path):
        cl.Backend.global_setup(
            file_locks_path=tmp_path,
            root_helper="",
            suppress_requests_ssl_warnings=False,
            disable_logs=True,
            non_uuid_ids=True,
            debug=True,
            state_path=tmp_path,
        )
        assert not logging.getLogger("any").disabled

    def test_whose_resources_are(self, again):
        backend = again(project_id="p", user_id="u", host="node7")
        volume = backend.create_volume(1)
        snapshot = volume.create_snapshot()
        assert (volume.project_id, volume.user_id) == ("p", "u")
        assert (snapshot.project_id, snapshot.user_id) == ("p", "u")
        assert volume.host == "node7@lvm#lvm"
        assert again().create_volume(1).host == f"{socket.gethostname()}@lvm#lvm"

    def test_upstreams_names_are_there(self):
        assert cl.setup == cl.Backend.global_setup
        assert cl.list_supported_drivers() == cl.list_supported_drivers(2) == {}
        with pytest.raises(ValueError, match="1 and 2"):
            cl.list_supported_drivers(3)
        assert cl.DEFAULT_PROJECT_ID == cl.DEFAULT_USER_ID == "cinderlib"
        told = cl.get_connector_properties("sudo", "192.0.2.1", True, False)
        assert told["ip"] == "192.0.2.1"
        assert told["multipath"] is True
        assert told["host"] == socket.gethostname()
        assert cl.exception.VolumeNotFound is exception.VolumeNotFound
        assert cl.persistence.PersistenceDriverBase is PersistenceDriverBase

    def test_the_errors_are_filestores(self):
        for name in exception.__all__:
            assert issubclass(getattr(exception, name), cl.FilestoreError)


class TestPersistenceConfig:
    def test_memory_is_the_default(self):
        assert isinstance(setup(None), MemoryPersistence)
        assert isinstance(setup({}), MemoryPersistence)
        assert isinstance(setup({"storage": None}), MemoryPersistence)

    def test_the_config_is_not_changed(self, tmp_path):
        config = {"storage": "file", "path": tmp_path / "state", "codec": "yaml"}
        setup(config).close()
        assert config == {"storage": "file", "path": tmp_path / "state", "codec": "yaml"}

    @pytest.mark.parametrize("name", ["file", "filestore"])
    def test_files_by_name(self, name, tmp_path):
        plugin = setup({"storage": name, "path": tmp_path / "state", "file_mode": "0640"})
        assert isinstance(plugin, FilePersistence)
        plugin.close()
        plugin.close()

    def test_a_class_with_its_options(self):
        plugin = setup({"storage": JsonPersistence, "location": "there", "separator": "!"})
        assert (plugin.location, plugin.separator) == ("there", "!")

    def test_an_instance_is_returned_as_it_is(self):
        plugin = MemoryPersistence()
        assert setup({"storage": plugin}) is plugin

    @pytest.mark.parametrize("storage", [cl.Store, 5, b"memory", object()])
    def test_anything_else_is_refused(self, storage):
        with pytest.raises(exception.InvalidPersistence, match="PersistenceDriverBase"):
            setup({"storage": storage})

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(exception.NoMatches, match="db, file, filestore, memory, memory_db"):
            setup({"storage": "filestorm"})

    def test_options_that_a_plugin_does_not_have_are_refused(self, tmp_path):
        with pytest.raises(exception.InvalidPersistence, match="colour"):
            setup({"storage": "file", "path": tmp_path / "state", "colour": "blue"})
        with pytest.raises(exception.InvalidPersistence, match="path"):
            setup({"storage": "file"})
        assert not (tmp_path / "state").exists()

    @pytest.mark.parametrize(
        "connection", ["state", "nope://host/x", "mysql://host/x", "sqlite", "postgresql://h:x/y"]
    )
    def test_a_connection_that_is_none_is_refused(self, connection, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(cl.UnsupportedFormat):
            setup({"storage": "db", "connection": connection})
        assert not list(tmp_path.iterdir())

    def test_a_database_that_is_not_there_is_an_error_that_tells_no_password(self, tmp_path):
        with pytest.raises(cl.FilestoreError):
            setup({"storage": "db", "connection": f"sqlite:///{tmp_path}/no/such/folder/cl.sqlite"})
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            connection = f"postgresql://user:not-a-secret@127.0.0.1:{port}/cinder"
            with pytest.raises(cl.FilestoreError) as caught:
                setup({"storage": "db", "connection": connection})
        assert "not-a-secret" not in str(caught.value)

    @pytest.mark.parametrize("mode", ["rw-r-----", "0888", "01777", -1])
    def test_permissions_that_are_none_are_refused(self, tmp_path, mode):
        with pytest.raises(ValueError, match="file_mode"):
            setup({"storage": "file", "path": tmp_path / "state", "file_mode": mode})

    @pytest.fixture
    def declare(self, tmp_path, monkeypatch):
        """Have a distribution that declares a plugin."""

        def declare(name, value):
            info = tmp_path / "some_plugin-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugin\nVersion: 1\n")
            (info / "entry_points.txt").write_text(f"[filestore.persistence]\n{name} = {value}\n")
            monkeypatch.syspath_prepend(str(tmp_path))
            importlib.invalidate_caches()

        return declare

    def test_by_an_entry_point(self, declare):
        declare("mine", "tests.resources.third_party:JsonPersistence")
        plugin = setup({"storage": "mine", "location": "x"})
        assert isinstance(plugin, JsonPersistence)
        with pytest.raises(exception.NoMatches, match="memory_db, mine"):
            setup({"storage": "nope"})

    def test_an_entry_point_of_something_else_is_refused(self, declare):
        declare("mine", "filestore:Store")
        with pytest.raises(exception.InvalidPersistence, match="does not inherit"):
            setup({"storage": "mine"})

    def test_an_entry_point_that_cannot_be_loaded_is_refused(self, declare):
        declare("mine", "nowhere:Plugin")
        with pytest.raises(exception.InvalidPersistence, match="cannot be loaded"):
            setup({"storage": "mine"})

    def test_an_entry_point_that_makes_something_else_is_refused(self, declare):
        declare("mine", "builtins:dict.fromkeys")
        with pytest.raises(exception.InvalidPersistence):
            setup({"storage": "mine", "iterable": ()})


class TestSetPersistence:
    def test_resources_are_kept_elsewhere_from_then_on(self, again):
        class Driver:
            db = None

        cl.setup()
        backend = cl.Backend(volume_backend_name="lvm", driver=Driver())
        first = cl.Backend.persistence
        assert backend.driver.db is first.db
        volume = backend.create_volume(1, name="here")
        cl.Backend.set_persistence({"storage": "memory"})
        second = cl.Backend.persistence
        assert backend.driver.db is second.db
        assert second is not first
        assert first.get_volumes()[0].id == volume.id
        assert second.get_volumes() == []
        assert cl.Volume.get_by_name("here") == []

    def test_a_wrong_one_changes_nothing(self, again):
        again()
        before = cl.Backend.persistence
        with pytest.raises(exception.InvalidPersistence):
            cl.Backend.set_persistence({"storage": 5})
        assert cl.Backend.persistence is before

    def test_the_documented_migration(self, again, tmp_path):
        backend = again(persistence_config={"storage": "memory"})
        volume = backend.create_volume(1, name="v")
        volume.create_snapshot("s")
        for each in cl.Backend.backends.values():
            each.refresh()
        data = cl.dump()
        cl.Backend.set_persistence({"storage": "file", "path": tmp_path / "state"})
        backends = cl.load(data, save=True)
        assert backends == [backend]
        assert [each.name for each in cl.Volume.get_by_id(volume.id).snapshots] == ["s"]


class TestBase:
    def test_what_a_plugin_must_implement(self):
        base = PersistenceDriverBase(anything="goes")
        for name in ("get_volumes", "get_snapshots", "get_connections", "get_key_values"):
            with pytest.raises(NotImplementedError):
                getattr(base, name)()
        assert isinstance(base.db, DB)
        base.close()

    def test_a_tracker_can_be_reset_for_some_fields(self, again):
        base = PersistenceDriverBase()
        volume = cl.Volume(again(), size=1)
        base.reset_change_tracker(volume)
        volume.size = 2
        volume.status = "error"
        volume.metadata["a"] = "1"
        base.reset_change_tracker(volume, "size")
        assert base.get_changed_fields(volume) == {"status": "error", "metadata": {"a": "1"}}
        base.reset_change_tracker(volume, ["status", "metadata"])
        assert base.get_changed_fields(volume) == {}

    def test_a_dictionary_that_is_never_cleared(self):
        kept = MyDict(a=1)
        kept.clear()
        assert kept == {"a": 1}
