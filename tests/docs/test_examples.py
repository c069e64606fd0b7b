"""The examples of README.md and docs/ do what they say.

Each file's blocks run in order in one empty folder:

* ``python`` blocks share their names.  What they print is what the comments on or under their
  ``print`` calls say, or the ``text`` block that follows.
* ``console`` blocks after ``<!-- run -->`` run in one shell; ``...`` in their output is anything.
* ``python`` blocks after ``<!-- cinderlib -->`` run in real cinderlib, those after
  ``<!-- manila -->`` in real Manila, in a process of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import filestore
from tests.declared import declare

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[a-z]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARKS = {None, "run", "cinderlib", "manila"}
ANYTHING = re.compile(r"\.\.\.|…")


class Block(NamedTuple):
    mark: str | None
    language: str
    text: str
    line: int


def blocks_of(file: Path) -> list[Block]:
    text = file.read_text()
    found = [
        Block(
            match["mark"],
            match["language"],
            match["text"],
            text.count("\n", 0, match.start("text")) + 1,
        )
        for match in BLOCK.finditer(text)
    ]
    assert {block.mark for block in found} <= MARKS
    return found


def with_following(blocks: list[Block]) -> list[tuple[Block, Block | None]]:
    return list(zip(blocks, [*blocks[1:], None][: len(blocks)], strict=True))


def printed(block: Block, following: Block | None) -> str:
    """What a python block says it prints."""
    if following is not None and following.language == "text":
        return following.text
    lines = block.text.splitlines()
    said = []
    for index, line in enumerate(lines):
        if not line.lstrip().startswith("print("):
            continue
        if "  # " in line:
            said.append(line.rpartition("  # ")[2])
        for under in lines[index + 1 :]:
            if not under.lstrip().startswith("# "):
                break
            said.append(under.lstrip().removeprefix("# "))
    return "".join(f"{line}\n" for line in said)


def run_python(block: Block, names: dict[str, object], file: Path) -> str:
    # The lines before the block make those of a traceback right.
    code = compile("\n" * (block.line - 1) + block.text, file, "exec")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, names)
    return output.getvalue()


class Shell:
    """One bash for all console blocks of a file."""

    def __init__(self, folder: Path, programs: Path) -> None:
        programs.mkdir()
        command = programs / "filestore"
        command.write_text(
            f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c"
            " 'from filestore.cli import main; main()' \"$@\"\n"
        )
        command.chmod(0o700)
        env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        for name in ("FILESTORE", "FORCE_COLOR"):
            env.pop(name, None)
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, block: Block) -> None:
        """Compare what each command writes, and whether it fails, with what the block shows."""
        for command, expected in commands(block.text):
            output, code = self._run(command)
            pattern = "(?s:.*)".join(map(re.escape, ANYTHING.split(expected)))
            assert re.fullmatch(pattern, output), f"$ {command}\n{output}"
            assert bool(code) is expected.startswith("Error:"), f"$ {command}\n{output}"

    def _run(self, command: str) -> tuple[str, int]:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\036%s\\n' $?\n")
        self._bash.stdin.flush()
        output = ""
        for line in self._bash.stdout:
            text, ended, code = line.partition("\x1e")
            output += text
            if ended:
                return output, int(code)
        raise AssertionError(f"the shell ended in: {command}")

    def close(self) -> None:
        self._bash.communicate()


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that it shows."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        else:
            command, output = found[-1]
            found[-1] = (command, output + line)
    return found


@pytest.fixture
def taken_down():
    """The cinderlib interface is set up once in a process: each file begins anew."""
    yield
    filestore.Backend.global_teardown()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.usefixtures("taken_down")
def test_examples_do_what_they_say(file, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.closing(Shell(folder, tmp_path / "bin")) as shell:
        for block, following in with_following(blocks_of(file)):
            if block.language == "python" and block.mark is None:
                assert run_python(block, names, file) == printed(block, following)
            elif block.language == "console" and block.mark == "run":
                shell.run(block)


def examples_of(mark: str) -> list[Path]:
    return [file for file in FILES if any(block.mark == mark for block in blocks_of(file))]


@pytest.mark.cinderlib
@pytest.mark.parametrize("file", examples_of("cinderlib"), ids=lambda file: file.name)
def test_examples_work_in_real_cinderlib(file, tmp_path):
    run_elsewhere(file, "cinderlib", tmp_path)


@pytest.mark.manila
@pytest.mark.parametrize("file", examples_of("manila"), ids=lambda file: file.name)
def test_examples_work_in_real_manila(file, tmp_path):
    run_elsewhere(file, "manila", tmp_path)


def run_elsewhere(file: Path, mark: str, tmp_path: Path) -> None:
    """Run the blocks with the mark in a process of their own: cinderlib is set up only once."""
    pairs = [pair for pair in with_following(blocks_of(file)) if pair[0].mark == mark]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "".join(block.text for block, _ in pairs)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{declare(tmp_path / 'entry-points')}"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "".join(printed(*pair) for pair in pairs)


@pytest.mark.parametrize("file", [*FILES, ROOT / "CHANGELOG.md"], ids=lambda file: file.name)
def test_prose_is_wrapped(file):
    """Of all but blocks of code, and tables, whose rows are lines."""
    prose = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 150 and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)#]+)", file.read_text()):
        if "://" not in target:
            assert (file.parent / target).exists(), target


def test_the_documented_exit_codes_are_those_of_the_help():
    from filestore.cli.exits import MEANING

    told = dict(
        re.findall(r"^\| (\d+) \| (.*?) \|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    )
    for code, meaning in MEANING.items():
        assert told[str(int(code))].replace("`", "").startswith(meaning)
