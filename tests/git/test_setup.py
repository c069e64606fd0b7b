"""`filestore git setup`: what it writes, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.git.work import Work, make

if TYPE_CHECKING:
    from pathlib import Path

LINE = "*.json text eol=lf merge=filestore diff=filestore"


def test_a_second_run_does_nothing(work: Work) -> None:
    before = work.git("config", "--local", "--list").out
    assert work.filestore("git", "setup").out == "All is set up\n"
    assert work.git("config", "--local", "--list").out == before
    assert work.git("status", "--porcelain").out == ""


def test_it_says_what_it_did_and_what_clones_need(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False)
    told = work.filestore("git", "setup").out
    assert "git config merge.filestore.driver" in told
    assert "filestore git setup" in told


def test_lines_of_the_user_stay_and_count_for_more(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False)
    attributes = work.path / ".gitattributes"
    attributes.write_text("# mine\n*.png binary\npackage.json -diff\n")
    ignored = work.path / ".gitignore"
    ignored.write_text("*.tmp")
    work.filestore("git", "setup")
    assert attributes.read_text() == f"{LINE}\n# mine\n*.png binary\npackage.json -diff\n"
    assert ignored.read_text() == "/.filestore/\n*.tmp"
    assert "diff: unset" in work.git("check-attr", "diff", "package.json").out


def test_attributes_from_the_top_of_the_repository_are_enough(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False, folder="state")
    (work.path / ".gitattributes").unlink()
    (tmp_path / "work" / ".gitattributes").write_text(f"{LINE}\n")
    work.filestore("git", "setup")
    assert not (work.path / ".gitattributes").exists()


def test_a_line_that_says_otherwise_is_told_and_not_fought(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False)
    (work.path / ".gitattributes").write_text("*.json merge=union\n")
    ran = work.filestore("git", "setup", code=6)
    assert "merge=union" in ran.err
    assert "merge=union" in (work.path / ".gitattributes").read_text()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    work = make(tmp_path / "work", drivers=False)
    attributes, elsewhere = work.path / ".gitattributes", tmp_path / "elsewhere"
    work.git("rm", "-q", ".gitattributes")  # which git reads from the index if need be
    elsewhere.write_text("")
    attributes.symlink_to(elsewhere)
    assert "is a link" in work.filestore("git", "setup", code=6).err
    assert elsewhere.read_text() == ""


def test_without_a_repository_it_says_what_to_do(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.filestore("init", "state")
    ran = work.filestore("--store", "state", "git", "setup", code=6)
    assert "git init" in ran.err


def test_without_git_it_says_so(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "is it installed?" in work.filestore("git", "setup", code=6).err


def test_a_hook_s_environment_does_not_lead_elsewhere(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "other", drivers=False)
    before = other.git("config", "--local", "--list").out
    work.git("config", "--unset", "merge.filestore.driver")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    work.filestore("git", "setup")
    monkeypatch.delenv("GIT_DIR")
    assert other.git("config", "--local", "--list").out == before
    assert work.git("config", "merge.filestore.driver").out


@pytest.mark.parametrize("command", ["merge-driver", "textconv"])
def test_drivers_do_without_the_command_line_s_libraries(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['filestore', 'git', {command!r}]\n"
        "from filestore.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, [name for name in ('click', 'rich', 'yaml', 'deepdiff', 'subprocess.x')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 []\n"


@pytest.mark.parametrize(
    "arguments",
    [["a"], ["a", "b", "c", "x", "p"], ["/nowhere", "/nowhere", "/nowhere", "7", "x.json"]],
)
def test_a_driver_that_is_called_wrongly_says_so(work: Work, arguments: list[str]) -> None:
    ran = work.filestore("git", "merge-driver", *arguments, code=None)
    assert ran.code in (1, 2)
    assert ran.err.startswith("filestore: ")
