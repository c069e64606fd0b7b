"""The same questions put to cinderlib's own plugins and to filestore's: every difference is here.

They are told to users in docs/persistence-plugins.md.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OURS = {
    "not_found": [[], [], [], []],
    "filters_are_anded": [1, 0, 1],
    "results_are_lists": True,
    "gets_give_new_objects": True,
    "what_is_not_saved_is_not_stored": "saved",
    "backend_names_are_exact": 1,
    "metadata_changed_in_place_is_stored": "2",
    "two_holders_keep_each_others_keys": "1",
    "a_set_after_a_delete_stores": ["back"],
    "a_second_delete_is_silent": 0,
    "changing_a_value_that_was_read_changes_nothing": "v",
    "a_volume_without_specs_has_no_type": True,
    "types_are_kept": [{"a": "b"}, True],
    "snapshots_are_stored": ["s"],
    "the_database_says_what_is_not_there": "VolumeNotFound",
    "dumps_with_snapshots_are_stored": 1,
    "dumps_of_untyped_volumes_are_stored": 1,
    "values_come_back_as_themselves": [True, True, True, True],
    "a_new_plugin_has_a_memory_of_its_own": 0,
    "refresh_works": "saved",
    "resources_of_unknown_backends_are_listed": ["lvm"],
}
MEMORY = {
    "results_are_lists": False,  # views of the dictionaries
    "gets_give_new_objects": False,
    "what_is_not_saved_is_not_stored": "not saved",
    "changing_a_value_that_was_read_changes_nothing": "changed",
    "the_database_says_what_is_not_there": "IndexError",
    "a_new_plugin_has_a_memory_of_its_own": 1,
    "refresh_works": "AttributeError",  # the stored object was wiped
}
MEMORY_DB = {
    "backend_names_are_exact": 2,
    "metadata_changed_in_place_is_stored": None,
    "a_set_after_a_delete_stores": "VolumeNotFound",
    "a_volume_without_specs_has_no_type": False,
    "the_database_says_what_is_not_there": "CinderException",
    "dumps_with_snapshots_are_stored": "VolumeTypeExists",
    "dumps_of_untyped_volumes_are_stored": "PendingRollbackError",
    "values_come_back_as_themselves": "DBError",
    "a_new_plugin_has_a_memory_of_its_own": "AlreadyStartedError",
    "resources_of_unknown_backends_are_listed": "KeyError",
}


def answers(library, config):
    done = subprocess.run(
        [sys.executable, "-m", "tests.cinderlib.probes", library, json.dumps(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("storage", ["memory", "memory_db"])
def test_ours_answer_as_they_should(storage):
    assert answers("filestore", {"storage": storage}) == OURS


@pytest.mark.parametrize(("storage", "others"), [("memory", MEMORY), ("memory_db", MEMORY_DB)])
def test_cinderlibs_answer_as_documented(storage, others):
    found = answers("cinderlib", {"storage": storage})
    # What follows a wiped object in its memory says nothing of the plugin.
    if storage == "memory":
        found.pop("resources_of_unknown_backends_are_listed")
    assert {name: value for name, value in found.items() if value != OURS[name]} == others
