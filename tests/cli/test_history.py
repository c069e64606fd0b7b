from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import filestore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Ran


@pytest.fixture
def past(state: Path) -> Iterator[None]:
    """Five revisions: three volumes, one of them grown, renamed and deleted."""
    with filestore.open(state, actor="ana") as store:
        with store.transaction(message="grow\nby one"):
            store["volumes"].patch("v1", {"size": 2, "tags": ["a", "b"]})
        with store.transaction(actor="bob", message="\x1b[31mred"):
            store["volumes"].patch("v1", {"display_name": "\u202edb", "tags": ["b"]})
            store["notes"]["n"] = {"text": "x"}
        del store["volumes"]["v2"]
        store["volumes"].patch("v1", {"size": "2"})
    return


def values(ran: Ran) -> list[Any]:
    assert ran.code == 0, ran
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.usefixtures("past")
def test_log_lists_commits_newest_first(cli: Callable[..., Ran]) -> None:
    ran = cli("log")
    assert ran.code == 0
    lines = ran.out.splitlines()
    heads = [line.split()[:2] for line in lines if line.startswith("revision")]
    assert heads == [["revision", str(number)] for number in (5, 4, 3, 2, 1)]
    assert "  - volumes/v2  deleted" in lines
    assert "  ~ volumes/v1  size" in lines
    assert "    by one" in lines
    assert "  bob" in ran.out


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("words", "revisions"),
    [
        (["--limit", "2"], [5, 4]),
        (["--since", "3"], [5, 4]),
        (["volumes/v1"], [5, 3, 2, 1]),
        (["volumes/v1", "--limit", "1"], [5]),
        (["volumes/v2"], [4, 1]),
        (["-c", "volumes", "a/b"], [1]),
        (["notes"], [3]),
        (["volumes/"], [5, 4, 3, 2, 1]),
        (["--since", "99"], []),
        (["nothing"], []),
    ],
)
def test_log_can_be_narrowed(
    cli: Callable[..., Ran], words: list[str], revisions: list[int]
) -> None:
    assert [each["revision"] for each in values(cli("log", "--json", *words))] == revisions


@pytest.mark.usefixtures("past")
def test_log_for_programs_tells_fields_with_patch(cli: Callable[..., Ran]) -> None:
    plain, patched = cli("log", "--json", "-n1"), cli("log", "--json", "-n1", "--patch")
    assert values(plain)[0]["changes"] == [{"collection": "volumes", "id": "v1", "kind": "updated"}]
    assert values(patched)[0]["changes"][0]["diff"] == [
        {"path": ["size"], "field": "size", "kind": "type_changed", "old": 2, "new": "2"}
    ]
    assert set(values(plain)[0]) == {"revision", "time", "actor", "message", "origin", "changes"}


def test_log_looks_back_as_far_as_it_goes(cli: Callable[..., Ran], state: Path) -> None:
    with filestore.open(state, durability="off") as store:
        for number in range(300):
            store["volumes"]["v1"] = {"n": number}
    revisions = [each["revision"] for each in values(cli("log", "--json"))]
    assert revisions == [*range(301, 0, -1)]


@pytest.mark.usefixtures("past")
def test_what_was_edited_while_nobody_looked_is_in_the_history(
    cli: Callable[..., Ran], state: Path
) -> None:
    (state / "volumes/v1.json").write_text('{"size": 77}')
    (state / "notes/new.json").write_text('{"text": "by hand"}')
    (state / "notes/n.json").unlink()
    (newest, *_) = values(cli("log", "--json"))
    assert (newest["revision"], newest["origin"], newest["actor"]) == (6, "external", None)
    told = {(one["collection"], one["id"]) for one in newest["changes"]}
    assert told == {("volumes", "v1"), ("notes", "new"), ("notes", "n")}
    assert "77" in cli("show", "6").out
    (field,) = values(cli("blame", "volumes/v1", "--json"))
    assert (field["revision"], field["origin"]) == (6, "external")
    assert len(values(cli("log", "--json"))) == 6, "each edit once"


def test_looking_back_makes_nothing_where_no_program_was(
    cli: Callable[..., Ran], state: Path
) -> None:
    import shutil

    shutil.rmtree(state / ".filestore")
    assert cli("log").code == 0
    assert not (state / ".filestore").exists()


@pytest.mark.usefixtures("past")
def test_show_prints_every_field(cli: Callable[..., Ran]) -> None:
    ran = cli("show", "3")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\\x1b[31mred" in ran.out
    lines = [line.strip() for line in ran.out.splitlines()]
    assert '~ display_name: "db" -> "\\u202edb"' in lines
    assert '- tags[0]: "a"' in lines
    assert "+ notes/n  created" in lines
    assert '+ text: "x"' in lines
    (told,) = values(cli("show", "3", "--json"))
    assert told["actor"] == "bob"
    assert [change["kind"] for change in told["changes"]] == ["updated", "created"]


@pytest.mark.usefixtures("past")
def test_what_is_no_revision_is_told(cli: Callable[..., Ran]) -> None:
    cli("show", "6").fails(1, "there is no revision 6")
    cli("undo", "6").fails(1, "there is no commit 6")
    cli("restore", "volumes/v1", "--at", "6").fails(1, "there is no revision 6")
    cli("log", "volumes/never").fails(1, "volumes/never")
    assert cli("show", "0").code == 2


@pytest.mark.usefixtures("past")
def test_nothing_new_since_a_revision_is_no_error(cli: Callable[..., Ran]) -> None:
    newest = str(values(cli("log", "--json", "-n1"))[0]["revision"])
    for about in ([], ["volumes"], ["volumes/v1"], ["never"]):
        ran = cli("log", "--since", newest, *about)
        assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.usefixtures("past")
def test_blame_tells_each_field(cli: Callable[..., Ran], state: Path) -> None:
    told = {each["field"]: each for each in values(cli("blame", "volumes/v1", "--json"))}
    assert {field: each["revision"] for field, each in told.items()} == {
        "display_name": 3,
        "size": 5,
        "status": 1,
        "tags": 3,
    }
    assert (told["tags"]["actor"], told["size"]["actor"]) == ("bob", "ana")
    file = state / "volumes" / "v1.json"
    file.write_text(file.read_text().replace('"available"', '"edited by hand"'))
    ran = cli("blame", "volumes/v1")
    assert ran.out.splitlines()[0].split() == [
        "FIELD",
        "REVISION",
        "WHEN",
        "WHO",
        "VALUE",
        "MESSAGE",
    ]
    assert ["status", "6"] in [line.split()[:2] for line in ran.out.splitlines()]
    cli("blame", "volumes/nope").fails(1, "volumes/nope")


@pytest.mark.usefixtures("past")
def test_undo_takes_a_commit_back(cli: Callable[..., Ran]) -> None:
    assert cli("undo", "4").out == "Revision 4 is undone, in revision 6\n"
    assert values(cli("get", "volumes/v2", "--json"))[0]["document"]["size"] == 2
    assert cli("undo", "4").out == "All is as before revision 4 already\n"
    cli("undo", "2").fails(
        3, "size of volumes/v1 in revision 5", "tags of volumes/v1 in revision 3"
    )
    assert cli("undo", "5", "-m", "no", "--quiet").out == ""
    assert values(cli("log", "-n1", "--json"))[0]["message"] == "no"


@pytest.mark.usefixtures("past")
def test_restore_gives_a_document_its_old_content(cli: Callable[..., Ran]) -> None:
    assert (
        "volumes/v2 is as at revision 3 again, in revision 6"
        in cli("restore", "volumes/v2", "--at", "3").out
    )
    assert cli("restore", "volumes/v1", "--at", "1").code == 0
    assert values(cli("get", "volumes/v1", "--json"))[0]["document"]["size"] == 1
    assert "already" in cli("restore", "volumes/v1", "--at", "1").out
    cli("restore", "notes/n", "--at", "2").fails(1, "notes/n was not there at revision 2")
    message = values(cli("log", "-n1", "--json"))[0]["message"]
    assert message == "restore of volumes/v1 from revision 1"
