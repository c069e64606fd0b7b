"""What a persistence plugin does, asked in the same words of cinderlib and of filestore.

``python -m tests.cinderlib.probes LIBRARY CONFIG`` prints the answers as JSON: a value, or the
name of the error.  Each plugin has a process of its own, as a library is set up once.
"""

import importlib
import json
import sys
import warnings


def volume(cl, backend, **fields):
    made = cl.Volume(backend, **{"size": 1, "host": f"node@{backend.id}#pool", **fields})
    made.save()
    return made


def not_found(cl, plugin, backend):
    return [
        plugin.get_volumes(volume_id="nope"),
        plugin.get_snapshots(volume_id="nope"),
        plugin.get_connections(connection_id="nope"),
        plugin.get_key_values("nope"),
    ]


def filters_are_anded(cl, plugin, backend):
    made = volume(cl, backend, name="one")
    return [
        len(plugin.get_volumes(made.id, "one", backend.id)),
        len(plugin.get_volumes(made.id, "two", backend.id)),
        len(plugin.get_volumes("", "one", None)),
    ]


def results_are_lists(cl, plugin, backend):
    volume(cl, backend)
    return isinstance(plugin.get_volumes(), list)


def gets_give_new_objects(cl, plugin, backend):
    made = volume(cl, backend)
    return plugin.get_volumes(made.id)[0] is not plugin.get_volumes(made.id)[0]


def what_is_not_saved_is_not_stored(cl, plugin, backend):
    made = volume(cl, backend, name="saved")
    made._ovo.display_name = "not saved"
    return plugin.get_volumes(made.id)[0].name


def backend_names_are_exact(cl, plugin, backend):
    for name in ("lvm_1", "lvmx1"):
        volume(cl, backend_of(cl, name))
    return len(plugin.get_volumes(backend_name="lvm_1"))


def metadata_changed_in_place_is_stored(cl, plugin, backend):
    made = volume(cl, backend, metadata={"a": "1"})
    held = plugin.get_volumes(made.id)[0]
    held._ovo.size = 2
    held.metadata["b"] = "2"
    held.save()
    return plugin.get_volumes(made.id)[0].metadata.get("b")


def two_holders_keep_each_others_keys(cl, plugin, backend):
    made = volume(cl, backend, metadata={"a": "1"})
    one, two = plugin.get_volumes(made.id)[0], plugin.get_volumes(made.id)[0]
    one._ovo.metadata = {**one.metadata, "one": "1"}
    one.save()
    two._ovo.size = 2
    two.save()
    return plugin.get_volumes(made.id)[0].metadata.get("one")


def a_set_after_a_delete_stores(cl, plugin, backend):
    made = volume(cl, backend, name="back")
    plugin.delete_volume(made)
    made._ovo.status = "error_deleting"
    made.save()
    return [each.name for each in plugin.get_volumes(made.id)]


def a_second_delete_is_silent(cl, plugin, backend):
    made = volume(cl, backend)
    plugin.delete_volume(made)
    plugin.delete_volume(made)
    return len(plugin.get_volumes(made.id))


def changing_a_value_that_was_read_changes_nothing(cl, plugin, backend):
    plugin.set_key_value(cl.KeyValue("k", "v"))
    plugin.get_key_values("k")[0].value = "changed"
    return plugin.get_key_values("k")[0].value


def a_volume_without_specs_has_no_type(cl, plugin, backend):
    made = volume(cl, backend)
    return plugin.get_volumes(made.id)[0].volume_type is None


def types_are_kept(cl, plugin, backend):
    made = volume(cl, backend, extra_specs={"a": "b"})
    found = plugin.get_volumes(made.id)[0].volume_type
    return [found.extra_specs, found.id == made.id]


def snapshots_are_stored(cl, plugin, backend):
    made = volume(cl, backend, extra_specs={"a": "b"})
    cl.Snapshot(made, name="s").save()
    return [each.name for each in plugin.get_snapshots(volume_id=made.id)]


def the_database_says_what_is_not_there(cl, plugin, backend):
    return plugin.db.volume_get(None, "nope")


def dumps_with_snapshots_are_stored(cl, plugin, backend):
    made = volume(cl, backend, extra_specs={"a": "b"})
    cl.Snapshot(made, name="s").save()
    dump = plugin.get_volumes(made.id)[0].dump
    cl.load(dump, save=True)
    return len(plugin.get_snapshots(volume_id=made.id))


def dumps_of_untyped_volumes_are_stored(cl, plugin, backend):
    made = volume(cl, backend)
    cl.load({**made.json}, save=True)
    return len(plugin.get_volumes(made.id))


def values_come_back_as_themselves(cl, plugin, backend):
    result = []
    for value in ("text", {"a": 1}, 7, None):
        plugin.set_key_value(cl.KeyValue("k", value))
        result.append(plugin.get_key_values("k")[0].value == value)
    return result


def a_new_plugin_has_a_memory_of_its_own(cl, plugin, backend):
    volume(cl, backend)
    return len(type(plugin)().get_volumes())


def refresh_works(cl, plugin, backend):
    made = volume(cl, backend, name="saved")
    made.refresh()
    return plugin.get_volumes(made.id)[0].name


def resources_of_unknown_backends_are_listed(cl, plugin, backend):
    volume(cl, backend)
    cl.Backend.backends.clear()
    return [each.backend for each in plugin.get_volumes()]


PROBES = {
    name: value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__code__", None)
    and value.__code__.co_varnames[:3] == ("cl", "plugin", "backend")
}
"""The functions above, by name; the last ones leave some plugins unusable."""


def backend_of(cl, name):
    """A backend of this name that drives nothing."""
    if cl.__name__ == "filestore":
        return cl.Backend(volume_backend_name=name)
    from cinderlib.tests.unit import utils

    return utils.FakeBackend(volume_backend_name=name)


def answers(library, config):
    cl = importlib.import_module(library)
    cl.setup(persistence_config=config)
    backend = backend_of(cl, "lvm")
    plugin = cl.Backend.persistence
    result = {}
    for name, probe in PROBES.items():
        try:
            for each in list(plugin.get_snapshots()):
                plugin.delete_snapshot(each)
            for each in list(plugin.get_volumes()):
                plugin.delete_volume(each)
            result[name] = probe(cl, plugin, backend)
        except Exception as error:  # noqa: BLE001  # which one is the answer
            result[name] = type(error).__name__
    return result


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(answers(sys.argv[1], json.loads(sys.argv[2]))))
