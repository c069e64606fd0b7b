from __future__ import annotations

import json
import re

import pytest

import filestore


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_ls_lists_collections_with_their_counts(cli, state):
    with filestore.open(state, watch=False) as store:
        store["driver_data/lvm1"]["x"] = {}
    ran = cli("ls")
    assert (
        ran.out
        == "COLLECTION        DOCUMENTS\ndriver_data/lvm1          1\nvolumes                   3\n"
    )
    assert cli("ls", "-q").out == "driver_data/lvm1\nvolumes\n"
    assert lines(cli("ls", "--json").out) == [
        {"collection": "driver_data/lvm1", "documents": 1},
        {"collection": "volumes", "documents": 3},
    ]


def test_ls_of_a_collection_shows_ids_and_telling_fields(cli):
    assert cli("ls", "volumes").out.splitlines() == [
        "ID   DISPLAY_NAME  SIZE  STATUS",
        "a/b  7                2  available",
        "v1   db               1  available",
        "v2   web              2  in-use",
    ]
    assert cli("ls", "volumes/").out == cli("ls", "volumes").out


def test_ls_json_gives_a_whole_record_a_line(cli):
    records = lines(cli("ls", "volumes", "--json").out)
    assert [record["id"] for record in records] == ["a/b", "v1", "v2"]
    assert records[1]["document"] == {"display_name": "db", "size": 1, "status": "available"}
    assert {"collection", "id", "etag", "revision", "document"} == set(records[1])


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["status=available"], ["a/b", "v1"]),
        (["status=available", "size=2"], ["a/b"]),
        (["display_name=7"], ["a/b"]),  # text that reads like a number
        (['display_name="7"'], ["a/b"]),
        (["size=2.0"], []),
        (["nope=1"], []),
    ],
)
def test_ls_filters_by_equal_fields(cli, filters, ids):
    assert cli("ls", "volumes", "-q", *filters).out.split() == ids


def test_an_empty_store_lists_nothing(cli, tmp_path):
    filestore.open(tmp_path / "empty", watch=False).close()
    ran = cli("-s", tmp_path / "empty", "ls")
    assert (ran.code, ran.out) == (0, "")


def test_get_prints_readable_json(cli):
    ran = cli("get", "volumes/v1")
    assert ran.out == '{\n  "display_name": "db",\n  "size": 1,\n  "status": "available"\n}\n'


def test_get_finds_ids_with_slashes(cli):
    assert json.loads(cli("get", "volumes/a/b").out)["display_name"] == "7"
    assert cli("get", "-c", "volumes", "a/b").out == cli("get", "volumes/a/b").out


def test_get_finds_nested_collections(cli, state):
    with filestore.open(state, watch=False) as store:
        store["driver_data/lvm1"]["x/y"] = {"is": "it"}
    assert json.loads(cli("get", "driver_data/lvm1/x/y").out) == {"is": "it"}


def test_get_asks_when_a_name_fits_two_documents(cli, state):
    with filestore.open(state, watch=False) as store:
        store["volumes/a"]["b"] = {"another": True}
    cli("get", "volumes/a/b").fails(2, "-c volumes a/b", "-c volumes/a b")
    assert json.loads(cli("get", "-c", "volumes/a", "b").out) == {"another": True}


def test_get_prints_yaml_and_the_store_s_own_form(cli, tmp_path):
    assert cli("get", "volumes/v1", "--form", "yaml").out.splitlines()[1] == "size: 1"
    with filestore.open(tmp_path / "yaml", codec="yaml", watch=False) as store:
        store["volumes"]["v1"] = {"size": 1}
    where = ("-s", tmp_path / "yaml", "get", "volumes/v1")
    assert cli(*where, "--form", "file").out == "size: 1\n"
    assert cli(*where).out == '{\n  "size": 1\n}\n'


def test_get_json_has_the_etag_that_put_expects(cli, state):
    record = json.loads(cli("get", "volumes/v1", "--json").out)
    with filestore.open(state, watch=False) as store:
        assert record["etag"] == store["volumes"].read("v1").etag
    assert record["document"]["size"] == 1


def test_get_quiet_tells_by_the_exit_code(cli):
    assert cli("get", "-q", "volumes/v1") == type(cli("get", "-q", "volumes/v1"))(0, "", "")
    assert cli("get", "-q", "volumes/nope").code == 1


def test_what_get_prints_put_takes(cli):
    for form in ("json", "yaml"):
        printed = cli("get", "volumes/v1", "--form", form).out
        assert cli("put", "volumes/copy", "-", "--form", form, input=printed).code == 0
        assert cli("get", "volumes/copy", "--form", form).out == printed


def test_stats_gives_one_json_value(cli):
    figures = json.loads(cli("stats", "--json").out)
    assert figures["revision"] == 1
    assert figures["codec"] == "json"
    assert cli("stats").out.startswith("FIGURE")


def test_check_and_repair_say_that_all_is_well(cli):
    assert (cli("check").code, cli("check").out) == (0, "No problems\n")
    assert cli("check", "--json").out == ""
    assert cli("repair").code == 0


class TestWithACorruptDocument:
    @pytest.fixture(autouse=True)
    def corrupt(self, state):
        (state / "volumes" / "v2.json").write_text('{"size": 1,\n  oops}\n')

    def test_get_names_the_file_and_the_line(self, cli):
        cli("get", "volumes/v2").fails(4, "v2.json", "2")

    def test_ls_shows_the_others_and_marks_it(self, cli):
        ran = cli("ls", "volumes")
        assert ran.code == 0
        assert "db" in ran.out
        assert re.search(r"^v2 +\(unreadable\)$", ran.out, re.MULTILINE)
        assert ran.err == "1 document cannot be read: filestore check tells why\n"
        (marked,) = [line for line in lines(cli("ls", "volumes", "--json").out) if "error" in line]
        assert marked["id"] == "v2"

    def test_ls_marks_one_that_the_system_refuses(self, cli, monkeypatch):
        read = filestore.Collection.read

        def refuse(collection, id):
            if id == "v1":
                raise filestore.StorageError("v1.json: no permission", errno=13)
            return read(collection, id)

        monkeypatch.setattr(filestore.Collection, "read", refuse)
        ran = cli("ls", "volumes")
        assert ran.code == 0
        assert ran.out.count("(unreadable") == 2

    def test_filters_pass_it_over(self, cli):
        assert cli("ls", "volumes", "-q", "size=1").out == "v1\n"

    def test_check_lists_it_and_exits_1(self, cli):
        ran = cli("check")
        assert ran.code == 1
        assert "v2.json" in ran.out
        (problem,) = lines(cli("check", "--json").out)
        assert problem["path"].endswith("v2.json")
        assert problem["severity"] == "error"
        assert cli("check", "-q").out == ""
        assert cli("check", "-q").code == 1

    def test_repair_leaves_it_and_exits_1(self, cli, state):
        before = (state / "volumes" / "v2.json").read_bytes()
        assert cli("repair").code == 1
        assert (state / "volumes" / "v2.json").read_bytes() == before

    def test_put_does_not_overwrite_it(self, cli, state):
        cli("put", "volumes/v2", "size=1").fails(4, "v2.json")
