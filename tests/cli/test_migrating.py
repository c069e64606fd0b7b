from __future__ import annotations

import json

import filestore


def documents(path):
    with filestore.open(path, readonly=True, watch=False) as store:
        return {name: dict(store[name].items()) for name in store.collections()}


def test_migrate_copies_a_store_into_a_new_one(cli, state, tmp_path):
    ran = cli("migrate", state, tmp_path / "new", "--codec", "yaml")
    assert (ran.code, ran.err) == (0, "")
    assert "3 documents: 3 created" in ran.out
    assert documents(tmp_path / "new") == documents(state)
    assert "codec: yaml" in (tmp_path / "new" / "filestore.yaml").read_text()


def test_migrate_takes_a_path_with_a_scheme(cli, state, tmp_path):
    assert cli("migrate", f"file:{state}", f"file:{tmp_path / 'new'}").code == 0
    assert documents(tmp_path / "new") == documents(state)


def test_migrate_says_in_json_what_it_did(cli, state, tmp_path):
    cli("migrate", state, tmp_path / "new")
    ran = cli("migrate", state, tmp_path / "new", "--json")
    assert json.loads(ran.out) == {
        "created": 0,
        "updated": 0,
        "unchanged": 3,
        "kept": 0,
        "dry_run": False,
    }


def test_a_dry_run_makes_nothing(cli, state, tmp_path):
    ran = cli("migrate", state, tmp_path / "new", "--dry-run")
    assert ran.code == 0
    assert "would be: 3 created" in ran.out
    assert not (tmp_path / "new").exists()


def test_other_values_in_the_target_stop_it(cli, state, tmp_path):
    with filestore.open(tmp_path / "new", watch=False) as store:
        store["volumes"]["v1"] = {"size": 9}
    cli("migrate", state, tmp_path / "new").fails(3, "volumes/v1", "--on-conflict")
    assert documents(tmp_path / "new") == {"volumes": {"v1": {"size": 9}}}
    ran = cli("migrate", state, tmp_path / "new", "--on-conflict", "skip")
    assert "1 left as they were" in ran.out
    assert cli("migrate", state, tmp_path / "new", "--on-conflict", "overwrite").code == 0
    assert documents(tmp_path / "new") == documents(state)


def test_migrate_from_where_nothing_is(cli, tmp_path):
    cli("migrate", tmp_path / "nope", tmp_path / "new").fails(1, "nope")
    assert not (tmp_path / "new").exists()


def test_migrate_into_itself(cli, state):
    cli("migrate", state, state).fails(3, "into itself")


def test_an_empty_end_is_a_slip(cli, state):
    cli("migrate", "", state).fails(2, "empty")
    cli("migrate", state, "").fails(2, "empty")


def test_a_scheme_that_nothing_serves(cli, state):
    cli("migrate", state, "gopher://x/y").fails(7, "gopher")


def test_a_target_that_would_not_outlive_the_command(cli, state):
    cli("migrate", state, "memory:").fails(2, "gone")
    cli("migrate", state, "sqlite://").fails(2, "gone")


def test_a_form_of_files_for_what_has_none(cli, state, tmp_path):
    cli("migrate", state, f"sqlite:///{tmp_path}/x.db", "--codec", "yaml").fails(2, "--codec")
