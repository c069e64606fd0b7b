from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore.cli import sources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran


def values(ran: Ran) -> list[Any]:
    assert ran.code == 0, ran
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of documents that is no store: one volume changed, one new, one left out."""
    root = tmp_path / "folder"
    (root / "volumes" / "a%").mkdir(parents=True)
    write = lambda name, text: (root / "volumes" / name).write_text(text)
    write("v1.json", '{"display_name": "db", "size": 10, "status": "available"}')
    write("v9.yaml", "size: 9\nname: 'new'\n")
    write("notes.txt", "not a document")
    (root / ".git").mkdir()
    return root


def dump_of(cli: Callable[..., Ran], path: Path) -> Path:
    ran = cli("ls", "volumes", "--json")
    path.write_text(ran.out)
    return path


def test_diff_of_revisions_tells_fields(cli: Callable[..., Ran]) -> None:
    cli("put", "volumes/v1", "--merge", "size=5")
    cli("rm", "volumes/v2")
    assert cli("diff", "1", "2").out.splitlines() == [
        "  ~ volumes/v1  updated",
        "      ~ size: 1 -> 5",
    ]
    told = values(cli("diff", "1", "--json"))
    assert [(each["id"], each["kind"]) for each in told] == [("v1", "updated"), ("v2", "deleted")]
    assert told[0]["diff"][0]["new"] == 5
    assert [each["kind"] for each in values(cli("diff", "3", "1", "--json"))] == [
        "updated",
        "created",
    ]
    assert (cli("diff", "3", "3").out, cli("diff", "3", "3", "--exit-code").code) == ("", 0)
    assert cli("diff", "1", "2", "--exit-code").code == 1


def test_diff_goes_on_past_a_document_that_cannot_be_read(
    cli: Callable[..., Ran], state: Path
) -> None:
    cli("put", "volumes/v1", "--merge", "size=5")
    cli("put", "volumes/v2", "--merge", "size=6")
    (state / "volumes" / "a%2fb.json").write_text("{")
    (state / "volumes" / "new.json").write_text('{"size": 7}')
    for words in (["diff", "1", "--json"], ["diff", "--json"]):
        ran = cli(*words)
        told = {json.loads(line)["id"] for line in ran.out.splitlines()}
        assert (ran.code, "new" in told or "v2" in told) == (4, True), ran
        (error,) = ran.err.splitlines()
        assert "a%2fb.json" in error
    assert cli("diff", "1", "--exit-code").code == 4


def test_what_no_commit_in_between_changed_is_the_same_in_both_revisions(
    cli: Callable[..., Ran], state: Path
) -> None:
    cli("put", "volumes/v1", "--merge", "size=5")
    cli("put", "volumes/v2", "--merge", "size=6")
    (state / "volumes" / "a%2fb.json").write_text("{")
    ran = cli("diff", "2", "3", "--json")
    assert [each["id"] for each in values(ran)] == ["v2"]
    assert (ran.code, ran.err) == (0, "")
    (state / "volumes" / "v2.json").write_text("{")
    ran = cli("diff", "1", "2", "--json")
    assert [each["id"] for each in values(ran)] == ["v1"], "revision 3 tells what v2 was"


def test_diff_of_the_working_tree_tells_what_no_commit_did(
    cli: Callable[..., Ran], state: Path
) -> None:
    assert cli("diff").out == ""
    file = state / "volumes" / "v1.json"
    file.write_text(file.read_text().replace('"size": 1', '"size": 100'))
    (state / "volumes" / "v2.json").unlink()
    (state / "volumes" / "v3.json").write_text('{\n  "by": "hand"\n}\n')
    assert cli("diff").out.splitlines() == [
        "  ~ volumes/v1  updated",
        "      ~ size: 1 -> 100",
        "  - volumes/v2  deleted",
        '      - display_name: "web"',
        "      - size: 2",
        '      - status: "in-use"',
        "  + volumes/v3  created",
        '      + by: "hand"',
    ]
    file.write_text("{")
    ran = cli("diff")
    assert ran.code == 4
    assert "v1.json" in ran.err
    assert "volumes/v2  deleted" in ran.out


def test_diff_takes_stores_folders_and_dumps(
    cli: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    dump = dump_of(cli, tmp_path / "dump.jsonl")
    other = tmp_path / "other"
    with filestore.open(other, codec="yaml") as store:
        store["volumes"]["v1"] = {"display_name": "db", "size": 1, "status": "available"}
        store["volumes"]["a/b"] = {"display_name": "7", "size": 2, "status": "available"}
    ids = lambda *words: [each["id"] for each in values(cli("diff", "--json", *words))]
    assert ids(dump) == []
    assert ids(other) == ["v2"]
    assert ids(other, dump) == ["v2"]
    assert ids(folder) == ["a/b", "v1", "v2", "v9"]
    assert ids(folder, other) == ["a/b", "v1", "v9"]


def test_apply_takes_a_folder_and_keeps_what_it_does_not_have(
    cli: Callable[..., Ran], folder: Path
) -> None:
    ran = cli("apply", folder, "--message", "import")
    assert ran.out == "1 created, 1 updated, 0 deleted, 0 as they were, in revision 2\n"
    listed = {each["id"]: each["document"] for each in values(cli("ls", "volumes", "--json"))}
    assert set(listed) == {"v1", "v2", "v9", "a/b"}
    assert listed["v9"] == {"size": 9, "name": "new"}
    assert cli("apply", folder).out == "Nothing is to be changed\n"
    assert "2 deleted" in cli("apply", folder, "--delete").out
    assert values(cli("log", "-n1", "--json"))[0]["revision"] == 3


def test_a_plan_shows_and_changes_nothing_until_it_is_applied(
    cli: Callable[..., Ran], folder: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    ran = cli("apply", folder, "--delete", f"--plan={plan}")
    assert ran.code == 0
    assert "      ~ size: 1 -> 10" in ran.out.splitlines()
    assert "1 created, 1 updated, 2 deleted, 0 as they were" in ran.out
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert values(cli("stats", "--json"))[0]["revision"] == 1
    assert "volumes/v1  update" in cli("apply", plan, "--plan").out
    cli("put", "volumes/other", "size=1")  # not seen by the plan
    assert "in revision 3" in cli("apply", plan).out
    cli("apply", plan).fails(3, "the plan is stale", "volumes/v1")
    assert cli("apply", plan, "--delete").code == 2


def test_a_stale_plan_is_refused(cli: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    cli("apply", folder, "--plan", plan, "--quiet")
    cli("put", "volumes/v1", "--merge", "size=7")
    cli("apply", plan).fails(3, "the plan is stale: volumes/v1 changed")
    assert values(cli("get", "volumes/v1", "--json"))[0]["document"]["size"] == 7


def test_apply_takes_a_dump_from_standard_input(cli: Callable[..., Ran]) -> None:
    dump = json.dumps({"collection": "notes", "id": "n", "document": {"text": "x"}})
    assert "1 created" in cli("apply", "-", input=f"{dump}\n\n").out
    (told,) = values(cli("apply", "-", "--json", input=dump))
    assert told == {"revision": None, "create": 0, "update": 0, "delete": 0, "unchanged": 1}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "line 1: is no JSON"),
        ("[1]", "line 1: is no object"),
        ('{"collection": "c", "id": "i"}', "line 1: needs collection, id and document"),
        ('{"collection": "c", "id": "i", "error": "?"}', "could not be read"),
        ('{"collection": "c", "id": "i", "document": {}}\n' * 2, "line 2: c/i once more"),
        ('{"collection": "c", "id": "", "document": {}}', "id"),
        ('{"collection": "c", "id": "i", "document": {"a": 1, "a": 2}}', "a name twice"),
        ('{"collection": "c", "id": "i", "document": {"a": NaN}}', "NaN"),
        ('{"plan": 0, "revision": 1, "steps": [], "unchanged": {}}', "no plan"),
        ('{"plan": 1}', "not whole"),
        ('{"plan": 1, "revision": 1, "steps": [{}], "unchanged": {}}', "not whole"),
        ('{"plan": 2}', "newer"),
        ('{"plan": "x"}', "no plan"),
    ],
)
def test_what_is_no_dump_and_no_plan_is_told(cli: Callable[..., Ran], text: str, word: str) -> None:
    ran = cli("apply", "-", input=text)
    assert ran.code in {2, 7}
    ran.fails(ran.code, word)
    assert values(cli("stats", "--json"))[0]["revision"] == 1


def test_a_line_longer_than_any_is_refused_before_it_is_read_to_its_end(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 1000)
    cli("apply", "/dev/zero").fails(2, "line 1: has more than 1,000 bytes")
    dump = json.dumps({"collection": "notes", "id": "n", "document": {"text": "x" * 900}})
    cli("apply", "-", input=f"{dump}\n{' ' * 1000}\n").fails(2, "line 2: has more than")
    assert "1 created" in cli("apply", "-", input=dump).out


def test_every_command_takes_a_folder_as_file_colon_path(
    cli: Callable[..., Ran], folder: Path, state: Path, tmp_path: Path
) -> None:
    assert cli("diff", f"file:{folder}").out == cli("diff", folder).out != ""
    assert cli("ls", "-s", f"file:{state}").out == cli("-s", f"file:{state}", "ls").out != ""
    assert cli("init", f"file:{tmp_path / 'new'}").code == 0
    assert (tmp_path / "new" / "filestore.yaml").exists()
    cli("ls", "-s", "file:nowhere").fails(1, "there is no store at nowhere")
    assert cli("ls", "-s", "file:").code == 2


def test_file_colon_names_a_path_whatever_it_looks_like(
    cli: Callable[..., Ran], folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.parent / "1")
    monkeypatch.chdir(folder.parent)
    of_store = ("-s", state)
    as_path = cli("diff", *of_store, "./1").out
    assert cli("diff", *of_store, "file:1").out == as_path != cli("diff", *of_store, "1").out
    cli("diff", *of_store, "file:-", input="").fails(1, "no such store, folder or file")


def test_what_is_not_there_is_told(cli: Callable[..., Ran], folder: Path) -> None:
    cli("diff", "nowhere").fails(1, "nowhere", "no such store, folder or file")
    cli("apply", "99").fails(1, "99")
    cli("diff", "gopher://x").fails(7, "gopher")
    (folder / "volumes" / "v1.yaml").write_text("size: 1\n")
    cli("apply", folder).fails(2, "as JSON and as YAML")
    (folder / "volumes" / "v1.yaml").write_text("{")
    assert cli("apply", folder, "--plan").code == 2
