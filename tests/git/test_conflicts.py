"""Conflicts are listed field by field and settled field by field."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import filestore
from filestore import conflict_text
from filestore.integrations.git.conflicts import MAX_FILE
from tests.git.work import Work, make

if TYPE_CHECKING:
    from pathlib import Path

BASE: dict[str, Any] = {"name": "db", "size": 1, "status": "available"}
OURS = BASE | {"size": 2, "status": "ours"}
THEIRS = BASE | {"size": 3, "status": "theirs", "more": 1}


@pytest.fixture
def torn(work: Work) -> Work:
    """A merge under way with two fields in conflict."""
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    return work


def listed(work: Work) -> list[dict[str, Any]]:
    out = work.filestore("conflicts", "--json", code=None).out
    return [json.loads(line) for line in out.splitlines()]


def test_a_store_without_conflicts_says_so(work: Work) -> None:
    assert work.filestore("conflicts").out == "No conflicts\n"


def test_they_are_listed_field_by_field(torn: Work) -> None:
    assert torn.filestore("conflicts", code=3).out.splitlines() == [
        "volumes/v",
        "  size",
        "    base    1",
        "    ours    2",
        "    theirs  3",
        "  status",
        "    base    available",
        "    ours    ours",
        "    theirs  theirs",
    ]
    (found,) = listed(torn)
    assert (found["collection"], found["id"], found["settled"]) == ("volumes", "v", False)
    assert found["fields"][0] == {
        "path": ["size"],
        "field": "size",
        "base": 1,
        "ours": 2,
        "theirs": 3,
    }


def test_fields_are_settled_one_by_one(torn: Work) -> None:
    ran = torn.filestore("resolve", "volumes/v", "size=ours", code=3)
    assert ran.out == "volumes/v is still in conflict: status\n"
    held = conflict_text.read(torn.file("volumes/v").read_bytes())
    assert held is not None
    assert held.theirs.count(b'"size": 2') == 1
    ran = torn.filestore("resolve", "volumes/v", 'status="theirs"', "--add")
    assert torn.read("volumes/v") == BASE | {"size": 2, "status": "theirs", "more": 1}
    torn.git("commit", "-q", "-m", "merged")
    assert torn.filestore("conflicts").out == "No conflicts\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ours"], {"size": 2, "status": "ours"}),
        (["--theirs"], {"size": 3, "status": "theirs"}),
        (["--base"], {"size": 1, "status": "available"}),
        (["--ours", "size=theirs"], {"size": 3, "status": "ours"}),
        (["size=40", "status=null"], {"size": 40, "status": None}),
        (["size=40", 'status={"a": [1]}'], {"size": 40, "status": {"a": [1]}}),
        (["size=base", "--remove", "status"], {"size": 1}),
    ],
)
def test_a_choice_is_a_side_or_a_value(torn: Work, words: list[str], expected: Any) -> None:
    torn.filestore("resolve", "volumes/v", *words)
    assert torn.read("volumes/v") == {"name": "db", "more": 1} | expected
    # Nothing was asked of git.
    assert torn.git("diff", "--name-only", "--diff-filter=U").out == "volumes/v.json\n"
    assert "git add volumes/v.json" in torn.filestore("conflicts", code=3).out


def test_what_is_not_in_conflict_is_not_settled(torn: Work) -> None:
    assert "these are: size, status" in torn.filestore("resolve", "volumes/v", "x=1", code=2).err
    assert "not in conflict" in torn.filestore("resolve", "volumes/w", "--ours", code=1).err


def test_a_side_that_is_misspelt_is_no_value(torn: Work) -> None:
    before = torn.file("volumes/v").read_bytes()
    ran = torn.filestore("resolve", "volumes/v", "size=thiers", code=2)
    assert "'thiers' is neither ours, theirs nor base" in ran.err
    assert torn.file("volumes/v").read_bytes() == before
    torn.filestore("resolve", "volumes/v", 'size="thiers"', "status=as it was")
    assert torn.read("volumes/v")["size"] == "thiers"
    assert torn.read("volumes/v")["status"] == "as it was"


def test_a_value_that_no_document_can_have_changes_nothing(torn: Work) -> None:
    before = torn.file("volumes/v").read_bytes()
    torn.filestore("resolve", "volumes/v", "--ours", "size=99999999999999999999999", code=2)
    assert torn.file("volumes/v").read_bytes() == before


def test_a_text_that_somebody_mended_by_hand_waits_for_git_add(torn: Work) -> None:
    torn.write("volumes/v", BASE | {"size": 7})
    (found,) = listed(torn)
    assert found["settled"]
    torn.filestore("resolve", "volumes/v", "--add")
    assert torn.filestore("conflicts").out == "No conflicts\n"
    assert torn.read("volumes/v") == BASE | {"size": 7}


@pytest.mark.parametrize(
    ("ours", "theirs", "choice", "left"),
    [
        (None, THEIRS, "--ours", None),
        (None, THEIRS, "--theirs", THEIRS),
        (OURS, None, "--theirs", None),
        (OURS, None, "--ours", OURS),
        (OURS, None, "--base", BASE),
    ],
)
def test_a_document_that_one_side_deleted_is_settled_whole(
    ours: Any, theirs: Any, choice: str, left: Any, work: Work
) -> None:
    work.both({"v": BASE, "w": BASE}, {"v": ours}, {"v": theirs})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    (found,) = listed(work)
    (field,) = found["fields"]
    assert field["field"] == ""
    assert (field.get("ours"), field.get("theirs")) == (ours, theirs)
    work.filestore("resolve", "volumes/v", choice, "--add")
    if left is None:
        assert not work.file("volumes/v").exists()
    else:
        assert work.read("volumes/v") == left
    work.git("commit", "-q", "-m", "merged")
    assert listed(work) == []


def test_two_documents_that_git_took_for_a_rename_are_settled_whole(work: Work) -> None:
    base = BASE | {"id": "a", **{f"field{n}": n for n in range(9)}}
    work.both({"a": base}, {"a": None, "b": base | {"id": "b"}}, {"a": base | {"size": 9}})
    work.git("config", "merge.renames", "true")
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    (found,) = listed(work)
    assert found["id"] == "b"
    work.filestore("resolve", "volumes/b", "--ours", "--add")
    assert work.read("volumes/b") == base | {"id": "b"}


def test_a_conflict_of_a_rebase_is_settled(work: Work) -> None:
    work.both({"v": BASE}, {"v": OURS}, {"v": THEIRS})
    work.git("rebase", "-q", "other", code=1)
    work.filestore("resolve", "volumes/v", "--theirs", "--add")  # the commit that is put there
    work.git("-c", "core.editor=true", "rebase", "--continue")
    assert work.read("volumes/v") == OURS | {"more": 1}


def test_a_conflict_of_a_stash_is_settled(work: Work) -> None:
    work.commit(v=BASE)
    work.write("volumes/v", THEIRS)
    work.git("stash", "-q")
    work.commit(v=OURS)
    work.git("stash", "pop", "-q", code=1)
    work.filestore("resolve", "volumes/v", "--theirs", "--add")
    assert work.read("volumes/v") == THEIRS


class TestWithoutADriver:
    @pytest.fixture
    def bare(self, tmp_path: Path) -> Work:
        work = make(tmp_path / "work", drivers=False)
        ours = {"v": OURS, "w": {"a": 2, "b": 1}, "x": None, "y": {"a": 1, "b": 1, "c": 2}}
        theirs = {"v": THEIRS, "w": {"a": 1, "b": 2}, "x": THEIRS, "y": {"a": 2, "b": 1, "c": 1}}
        base = {"v": BASE, "w": {"a": 1, "b": 1}, "x": BASE, "y": {"a": 1, "b": 1, "c": 1}}
        work.both(base, ours, theirs)
        work.git("merge", "-q", "-m", "merge", "other", code=1)
        return work

    def test_the_index_tells_the_fields(self, bare: Work) -> None:
        found = {each["id"]: [field["field"] for field in each["fields"]] for each in listed(bare)}
        assert found["v"] == ["size", "status"]
        assert found["w"] == []
        assert found["x"] == [""]
        assert "no field is in conflict" in bare.filestore("conflicts", code=3).out

    def test_all_are_merged_at_once(self, bare: Work) -> None:
        bare.filestore("resolve", "volumes/x", "--ours")
        ran = bare.filestore("git", "remerge", code=3)
        assert ran.out.splitlines()[0] == "1 merged, 1 in conflict"
        assert bare.read("volumes/w") == {"a": 2, "b": 2}
        assert bare.read("volumes/y") == {"a": 2, "b": 1, "c": 2}
        assert not bare.file("volumes/x").exists()
        held = conflict_text.read(bare.file("volumes/v").read_bytes())
        assert held is not None
        assert held.base is not None
        assert {each["id"] for each in listed(bare)} == {"v", "x"}
        again = bare.file("volumes/v").read_bytes()
        bare.filestore("git", "remerge", code=3)
        assert bare.file("volumes/v").read_bytes() == again

    def test_marks_that_were_committed_are_found(self, bare: Work) -> None:
        bare.git("add", "-A")
        bare.git("commit", "-q", "-m", "in a hurry")
        found = {each["id"]: each for each in listed(bare)}
        assert "v" in found
        assert found["v"]["fields"][0].get("base") is None  # nobody knows any more
        bare.filestore("resolve", "volumes/v", "--theirs")
        assert bare.read("volumes/v")["size"] == 3


def test_marks_that_are_damaged_are_told_and_left_alone(torn: Work) -> None:
    torn.git("add", "-A")
    text = torn.file("volumes/v").read_text().replace("=======\n", "", 1)
    torn.file("volumes/v").write_text(text)
    assert "damaged" in torn.filestore("conflicts", code=3).out
    torn.filestore("resolve", "volumes/v", "--ours", code=2)
    assert torn.file("volumes/v").read_text() == text


def test_a_file_larger_than_any_conflict_is_told_and_left_alone(torn: Work) -> None:
    os.truncate(torn.file("volumes/v"), MAX_FILE + 1)
    (found,) = listed(torn)
    assert "has more than 67,108,864 bytes" in found["problem"]
    torn.filestore("resolve", "volumes/v", "--ours", code=2)
    assert torn.file("volumes/v").stat().st_size == MAX_FILE + 1


def test_the_store_goes_on_while_a_document_is_in_conflict(torn: Work) -> None:
    with filestore.open(torn.path, watch=False) as store:
        store["volumes"]["w"] = {"size": 1}
        with pytest.raises(filestore.Corrupt, match="merge conflict"):
            store["volumes"]["v"]
        torn.filestore("resolve", "volumes/v", "--ours")
        assert store["volumes"]["v"]["size"] == 2


def test_nothing_in_a_document_reaches_the_terminal_as_a_control_sequence(work: Work) -> None:
    work.both({"v": {"a": 0}}, {"v": {"a": "\x1b[2J"}}, {"v": {"a": "\x9b\u202e"}})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    out = work.filestore("conflicts", code=3).out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out


def test_a_link_in_a_document_s_place_is_not_written_through(torn: Work, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    torn.file("volumes/v").unlink()
    torn.file("volumes/v").symlink_to(elsewhere)
    torn.filestore("resolve", "volumes/v", "--ours", code=6)
    assert elsewhere.read_text() == "mine"


def test_a_link_in_a_collection_s_place_is_not_written_through(torn: Work, tmp_path: Path) -> None:
    folder = torn.file("volumes/v").parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere" / "v.json").read_bytes()
    assert "is a link" in torn.filestore("conflicts", code=3).out
    torn.filestore("resolve", "volumes/v", "--ours", code=2)
    torn.filestore("git", "remerge", code=3)
    assert (tmp_path / "elsewhere" / "v.json").read_bytes() == before
