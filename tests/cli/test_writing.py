from __future__ import annotations

import json

import pytest

import filestore


def document(state, id, collection="volumes"):
    with filestore.open(state, readonly=True, watch=False) as store:
        return store[collection].get(id)


@pytest.mark.parametrize("codec", ["json", "yaml"])
def test_init_makes_a_store_with_that_codec(cli, tmp_path, codec):
    ran = cli("init", tmp_path / "new", "--codec", codec)
    assert ran.code == 0
    assert str(tmp_path / "new") in ran.out
    assert f"codec: {codec}" in (tmp_path / "new" / "filestore.yaml").read_text()


def test_init_takes_a_fan_out(cli, tmp_path):
    assert cli("init", tmp_path / "new", "--fanout", "1").code == 0
    assert "fanout: 1" in (tmp_path / "new" / "filestore.yaml").read_text()


def test_init_leaves_a_store_that_is_there_as_it_is(cli, state):
    before = (state / "filestore.yaml").read_bytes()
    cli("init", "--codec", "yaml").fails(3, "already")
    assert (state / "filestore.yaml").read_bytes() == before


def test_init_where_a_file_is(cli, tmp_path):
    (tmp_path / "file").write_text("mine")
    cli("init", tmp_path / "file").fails(4, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_put_takes_fields_as_json_or_as_text(cli, state):
    ran = cli("put", "volumes/n", "size=10", "ok=true", "name=db", 'meta={"a": [null]}', 'text="1"')
    assert ran.code == 0
    assert document(state, "n") == {
        "size": 10,
        "ok": True,
        "name": "db",
        "meta": {"a": [None]},
        "text": "1",
    }


def test_put_takes_a_file_whose_name_tells_its_form(cli, state, tmp_path):
    (tmp_path / "d.json").write_text('{"from": "json"}')
    (tmp_path / "d.yaml").write_text("from: yaml\n")
    (tmp_path / "a=b.json").write_text('{"from": "an odd name"}')
    for file, found in (("d.json", "json"), ("d.yaml", "yaml"), ("a=b.json", "an odd name")):
        assert cli("put", "volumes/n", tmp_path / file).code == 0
        assert document(state, "n") == {"from": found}


def test_put_takes_standard_input(cli, state):
    assert cli("put", "volumes/n", "-", input='{"a": 1}').code == 0
    assert document(state, "n") == {"a": 1}
    assert cli("put", "volumes/n", input='{"a": 2}').code == 0
    assert document(state, "n") == {"a": 2}


def test_put_merges(cli, state):
    assert cli("put", "volumes/v1", "--merge", "size=9", "status=null", "-m", "grow").code == 0
    assert document(state, "v1") == {"display_name": "db", "size": 9}
    with filestore.open(state, readonly=True, watch=False) as store:
        assert [change.message for change in store.changes(since=1)] == ["grow"]


def test_put_of_the_same_value_says_so(cli):
    assert "is stored" in cli("put", "volumes/n", "size=1").out
    assert "is unchanged" in cli("put", "volumes/n", "size=1").out
    assert cli("put", "-q", "volumes/n", "size=1").out == ""


def test_put_with_the_etag_that_is_there(cli, state):
    etag = json.loads(cli("get", "volumes/v1", "--json").out)["etag"]
    assert cli("put", "volumes/v1", "size=5", "--expected", etag).code == 0
    cli("put", "volumes/v1", "size=6", "--expected", etag).fails(3, "volumes/v1")
    cli("put", "volumes/v1", "size=6", "--merge", "--expected", etag).fails(3, "volumes/v1")
    assert document(state, "v1") == {"size": 5}


def test_an_empty_etag_is_no_etag_that_is_there(cli, state):
    cli("put", "volumes/v1", "size=6", "--expected", "").fails(3, "volumes/v1")
    cli("rm", "volumes/v1", "--expected", "").fails(3, "volumes/v1")
    assert document(state, "v1") is not None


def test_put_new_is_for_what_is_not_there(cli, state):
    assert cli("put", "--new", "volumes/n", "size=1").code == 0
    cli("put", "--new", "volumes/n", "size=2").fails(3, "volumes/n")
    assert document(state, "n") == {"size": 1}


def test_put_into_a_new_collection_asks_which_part_it_is(cli, state):
    cli("put", "driver_data/lvm1/x", "a=1").fails(
        2, "-c driver_data lvm1/x", "-c driver_data/lvm1 x"
    )
    assert cli("put", "-c", "driver_data/lvm1", "x", "a=1").code == 0
    assert cli("put", "driver_data/lvm1/y", "a=1").code == 0
    assert document(state, "y", "driver_data/lvm1") == {"a": 1}


def test_put_merge_needs_a_document(cli):
    cli("put", "--merge", "volumes/nope", "a=1").fails(1, "volumes/nope")


def test_rm_deletes_all_or_none(cli, state):
    cli("rm", "volumes/v1", "volumes/nope").fails(1, "volumes/nope")
    assert document(state, "v1") is not None
    assert cli("rm", "volumes/v1", "volumes/nope", "--missing-ok").code == 0
    assert document(state, "v1") is None
    assert cli("rm", "-q", "volumes/a/b", "volumes/v2").out == ""


def test_rm_only_what_is_expected(cli, state):
    cli("rm", "volumes/v1", "--expected", "0" * 32).fails(3, "volumes/v1")
    etag = json.loads(cli("get", "volumes/v1", "--json").out)["etag"]
    assert cli("rm", "volumes/v1", "--expected", etag).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["put", "volumes/n", "size"], "size"),  # a file that is not there
        (["put", "volumes/n", "a=1", "size"], "FIELD=VALUE"),
        (["put", "volumes/n", 'a={"b": 1'], "JSON"),
        (["put", "volumes/n", "=1"], "="),
        (["put", "volumes", "a=1"], "COLLECTION/ID"),
        (["put", "volumes/", "a=1"], "COLLECTION/ID"),
        (["put", "/n", "a=1"], "COLLECTION/ID"),
        (["put", "", "a=1"], "COLLECTION/ID"),
        (["put", "-c", "", "n", "a=1"], "collection"),
        (["put", "-c", "volumes", "", "a=1"], "id"),
        (["put", "volumes/n", f"a={'9' * 30}"], "64"),
        (["put", "volumes/n", f"a={'9' * 5000}"], ""),
        (["put", "volumes/n", f"a={'[' * 5000}{']' * 5000}"], ""),
        (["put", "volumes/n", "--new", "--merge", "a=1"], "--new"),
        (["put", "volumes/n", "a=1", "b=2", "a=3"], "'a' is given twice"),
        (["put", "volumes/n", "-"], "empty"),
        (["put", "volumes/n", "/dev/zero"], "bytes"),
        (["put", "volumes/n", "/"], "directory"),
        (["get", "nope/n"], "nope/n"),
        (["get", "../../etc/passwd"], "passwd"),
        (["ls", "nope"], "nope"),
        (["ls", "volumes", "size"], "FIELD=VALUE"),
        (["ls", "volumes", "size=1", "size=2"], "'size' is given twice"),
        (["show", "x"], "'x' is not a valid integer."),
        (["rm", "nope/n"], "nope/n"),
        (["rm", "-e", "x", "volumes/v1", "volumes/v2"], "--expected"),
        (["edit", "volumes/nope"], "volumes/nope"),
        (["-s", "/nonexistent/x", "ls"], "/nonexistent/x"),
        (["-s", "postgresql://x/y", "ls"], "postgresql"),
        (["init", "/proc/nope"], "/proc/nope"),
        (["demo", "/proc/nope"], "/proc/nope"),
        (["demo", "."], "not empty"),
        (["nope"], "nope"),
        (["-s", "", "ls"], "empty"),
        (["put", "-s", "", "volumes/n", "a=1"], "empty"),
        (["init", ""], "empty"),
        (["demo", ""], "empty"),
        (["--lock-timeout", "-1", "ls"], "-1"),
        (["--lock-timeout", "nan", "ls"], "nan"),
        (["--lock-timeout", "inf", "ls"], "inf"),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_one_line(cli, state, words, told):
    before = sorted(state.rglob("*.*"))
    ran = cli(*words)
    ran.fails(ran.code, told)
    assert ran.code in {1, 2, 6, 7}
    assert sorted(state.rglob("*.*")) == before


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[1]",
        b"1",
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b'\xef\xbb\xbf{"a": 1} x',
        b'{"a": "\\ud800"}',
        b'{"a": ' * 3000,
        b"!!python/object/apply:os.system ['true']",
    ],
)
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_bad_input_is_refused_and_changes_nothing(cli, state, raw, form):
    ran = cli("put", "volumes/v1", "-", "--form", form, input=raw)
    ran.fails(2, "standard input")
    assert document(state, "v1")["size"] == 1


@pytest.mark.parametrize(
    "id", ["..", ".", "CON", "a b", "é", "e\u0301", "*", "-x", "x" * 300, "a\nb", "\x1b[31m"]
)
def test_odd_ids_work_as_any_other(cli, state, id):
    assert cli("put", "-c", "odd", "--", id, "a=1").code == 0
    assert document(state, id, "odd") == {"a": 1}
    assert json.loads(cli("ls", "odd", "--json").out)["id"] == id
    assert cli("rm", "-c", "odd", "--", id).code == 0
    assert document(state, id, "odd") is None
