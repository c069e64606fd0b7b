"""`filestore git doctor` finds each thing that goes wrong, and finds nothing where all is well."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.git.work import Work, make

if TYPE_CHECKING:
    from pathlib import Path


def kinds(work: Work, code: int | None = None) -> dict[str, str]:
    out = work.filestore("git", "doctor", "--json", code=code).out
    problems = [json.loads(line) for line in out.splitlines()]
    return {problem["kind"]: problem["message"] for problem in problems}


def test_a_healthy_repository_has_no_problem(work: Work) -> None:
    work.commit(v={"size": 1})
    assert work.filestore("git", "doctor").out == "No problems\n"


def test_a_fresh_clone_is_told_to_register_the_drivers(work: Work, tmp_path: Path) -> None:
    work.git("clone", "-q", ".", tmp_path / "clone")
    clone = Work(tmp_path / "clone")
    assert "filestore git setup" in kinds(clone, code=1)["driver-missing"]
    clone.filestore("git", "setup")
    assert kinds(clone, code=0) == {}


def test_a_driver_that_does_not_run_is_found(work: Work) -> None:
    work.filestore("git", "setup", "--command", "/nowhere/filestore")
    assert list(kinds(work, code=1)) == ["driver-broken"]


def test_missing_attributes_are_found(work: Work) -> None:
    work.git("rm", "-q", ".gitattributes")
    assert {"attribute-missing", "not-tracked"} == set(kinds(work, code=1))


def test_renames_that_git_looks_for_are_told(work: Work) -> None:
    work.git("config", "--unset", "merge.renames")
    assert "merge.renames false" in kinds(work, code=0)["renames"]


def test_conflicts_are_found(work: Work) -> None:
    work.both({"v": {"a": 0}}, {"v": {"a": 1}}, {"v": {"a": 2}})
    work.git("merge", "-q", "-m", "merge", "other", code=1)
    assert "volumes/v is in conflict" in kinds(work, code=1)["conflict"]
    work.git("commit", "-q", "-a", "-m", "with marks")
    assert "volumes/v is in conflict" in kinds(work, code=1)["conflict"]


def test_untracked_documents_are_told(work: Work) -> None:
    work.write("volumes/v", {})
    (work.path / "notes.json").write_text("{}")  # no document: a collection is a folder
    assert "volumes/v" in kinds(work, code=0)["untracked"]


def test_of_many_documents_the_number_is_told(work: Work) -> None:
    for number in range(25):
        work.write(f"volumes/v{number}", {})
    lines = work.filestore("git", "doctor").out.splitlines()
    assert len(lines) == 21
    assert "5 more" in lines[-1]


def test_ignored_documents_are_found(work: Work) -> None:
    (work.path / ".gitignore").write_text("/.filestore/\nvolumes/\n")
    work.write("volumes/v", {})
    assert "volumes/v" in kinds(work, code=1)["ignored"]


def test_runtime_files_that_were_committed_are_found(work: Work) -> None:
    work.git("add", "-f", ".filestore")
    (work.path / ".gitignore").unlink()
    found = kinds(work, code=1)
    assert "git rm -r --cached .filestore" in found["runtime-committed"]
    assert "runtime-not-ignored" in found


@pytest.mark.parametrize("committed", [True, False])
def test_wrong_line_endings_are_found(work: Work, committed: bool) -> None:
    if committed:
        work.git("rm", "-q", "--cached", ".gitattributes")
        (work.path / ".gitattributes").unlink()
    else:
        work.commit(v={"a": 1})
    (work.path / "volumes").mkdir(exist_ok=True)
    work.file("volumes/v").write_bytes(b'{\r\n  "a": 1\r\n}\r\n')
    if committed:
        work.git("add", "-A")
    assert "volumes/v" in kinds(work)["line-endings"]


def test_names_that_differ_by_case_alone_are_found(work: Work) -> None:
    work.write("volumes/v", {})
    (work.path / "volumes" / "V.json").write_text("{}\n")
    work.git("add", "-A")
    assert "volumes/v.json" in kinds(work, code=1)["case-collision"]


def test_a_copied_store_is_told(tmp_path: Path) -> None:
    work = make(tmp_path / "work", folder="one")
    shutil.copytree(work.path, tmp_path / "work" / "two")
    work.git("add", "-A", "..")
    work.git("commit", "-q", "-m", "a copy")
    assert "two/filestore.yaml" in kinds(work, code=0)["shared-id"]


def test_a_link_is_found(work: Work) -> None:
    work.commit(v={})
    (work.path / "volumes" / "w.json").symlink_to("v.json")
    work.git("add", "-A")
    assert "volumes/w" in kinds(work, code=1)["link"]


def test_documents_left_out_by_a_sparse_checkout_are_found(work: Work) -> None:
    work.commit(v={})
    work.git("sparse-checkout", "set", "elsewhere")
    if not (work.path / "volumes").exists():
        assert "volumes/v" in kinds(work, code=1)["sparse"]


def test_it_changes_nothing(work: Work) -> None:
    work.git("config", "--unset", "merge.filestore.driver")

    def state() -> Any:
        return work.git("config", "--list").out, work.git("status", "--porcelain").out

    before = state()
    kinds(work, code=1)
    assert state() == before
