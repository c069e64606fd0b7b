"""Revisions of git where the command line takes revisions of the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.git.work import Work

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tagged(work: Work) -> Work:
    """A tag v1, a commit after it, and a store that has gone on since."""
    work.commit("one", a={"size": 1}, b={"size": 1})
    work.git("tag", "v1")
    work.commit("two", a={"size": 2}, b=None)
    work.write("volumes/a", {"size": 3})
    return work


def test_diff_compares_revisions_of_git(tagged: Work) -> None:
    assert tagged.filestore("diff", "git:v1", "git:HEAD").out.splitlines() == [
        "  ~ volumes/a  updated",
        "      ~ size: 1 -> 2",
        "  - volumes/b  deleted",
        "      - size: 1",
    ]
    told = json.loads(tagged.filestore("diff", "git:HEAD", "--json").out)
    assert told["diff"][0]["new"] == 3, "with the store as it is"
    assert tagged.filestore("diff", "git:v1", "git:HEAD", "--exit-code", code=1)


def test_a_revision_of_git_is_compared_with_one_of_the_store(tagged: Work) -> None:
    tagged.filestore("put", "volumes/a", "size=4", "-q")
    (revision,) = (
        json.loads(line)["revision"]
        for line in tagged.filestore("log", "--json", "--limit", "1").out.splitlines()
    )
    out = tagged.filestore("diff", "git:v1", str(revision)).out
    assert "size: 1 -> 4" in out


def test_a_store_is_made_as_a_revision_of_git(tagged: Work, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    tagged.filestore("apply", "git:v1", f"--plan={plan}")
    assert tagged.read("volumes/a") == {"size": 3}
    tagged.filestore("apply", plan)
    assert tagged.read("volumes/a") == {"size": 1}
    assert tagged.read("volumes/b") == {"size": 1}


def test_a_document_comes_back_from_git(tagged: Work) -> None:
    tagged.filestore("restore", "volumes/b", "--at", "git:v1")
    assert tagged.read("volumes/b") == {"size": 1}
    out = tagged.filestore("log", "volumes/b", "--limit", "1").out
    assert "restore of volumes/b from revision git:v1" in out


def test_a_clone_without_history_of_its_own_looks_back_in_git(tagged: Work, tmp_path: Path) -> None:
    tagged.git("clone", "-q", ".", tmp_path / "clone")
    clone = Work(tmp_path / "clone")
    clone.filestore("restore", "volumes/a", "--at", "git:v1", "-q")
    assert clone.read("volumes/a") == {"size": 1}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("diff", "v1"), "git:v1"),
        (("diff", "git:nope"), "knows no revision 'nope'"),
        (("diff", "git:"), "no revision of git"),
        (("restore", "volumes/b", "--at", "v1"), "git:NAME"),
        (("restore", "volumes/b", "--at", "9" * 5000), "is no revision"),
        (("restore", "volumes/b", "--at", "9" * 19), "there is no revision"),
        (("restore", "volumes/c", "--at", "git:v1"), "was not there at revision git:v1"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_what_is_no_revision_is_told(tagged: Work, words: tuple[str, ...], told: str) -> None:
    ran = tagged.filestore(*words, code=None)
    assert ran.code in {1, 2}
    assert told in ran.err


def test_a_file_of_such_a_name_is_named_with_file(tagged: Work) -> None:
    (tagged.path / "git:v1").write_text(
        '{"collection": "volumes", "id": "a", "document": {"size": 8}}\n'
    )
    assert "size: 8 -> 3" in tagged.filestore("diff", "file:git:v1").out


def test_where_there_is_no_repository_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    work = Work(tmp_path / "state")
    work.filestore("init", ".")
    ran = work.filestore("diff", "git:v1", code=None)
    assert "git init" in ran.err
