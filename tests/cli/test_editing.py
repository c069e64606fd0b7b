from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import filestore


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Make a shell script the user's editor; ``$1`` is the file."""

    def use(script: str) -> None:
        path = tmp_path / "the editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setenv("VISUAL", f"'{path}' --wait")
        path.write_text(f"#!/bin/sh\nshift\n{script}\n")

    monkeypatch.setenv("TMPDIR", str(tmp_path / "private"))
    (tmp_path / "private").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    return use


def kept(ran) -> Path:
    (line,) = [line for line in ran.err.splitlines() if line.startswith("Your text is kept in ")]
    return Path(line.removeprefix("Your text is kept in "))


def size(state):
    with filestore.open(state, readonly=True, watch=False) as store:
        return store["volumes"]["v1"]["size"]


def test_edit_stores_what_the_editor_left(cli, state, editor, tmp_path):
    editor('sed -i \'s/"size": 1/"size": 9/\' "$1"')
    ran = cli("edit", "volumes/v1", "-m", "by hand")
    assert (ran.code, ran.err) == (0, "")
    assert size(state) == 9
    assert list((tmp_path / "private").iterdir()) == []
    with filestore.open(state, readonly=True, watch=False) as store:
        assert [change.message for change in store.changes(since=1)] == ["by hand"]


def test_the_copy_is_private(cli, editor, tmp_path):
    editor(f'stat -c %a "$1" "$(dirname "$1")" > {tmp_path}/modes')
    cli("edit", "volumes/v1")
    assert (tmp_path / "modes").read_text().split() == ["600", "700"]


def test_edit_without_a_change_writes_nothing(cli, state, editor):
    editor("true")
    ran = cli("edit", "volumes/v1")
    assert (ran.code, ran.out) == (0, "volumes/v1 is unchanged\n")
    with filestore.open(state, readonly=True, watch=False) as store:
        assert store.revision == 1


def test_edit_works_on_yaml(cli, state, editor):
    editor("sed -i 's/^size: 1$/size: 9/' \"$1\"")
    assert cli("edit", "volumes/v1", "--form", "yaml").code == 0
    assert size(state) == 9


def test_an_invalid_text_is_kept_and_changes_nothing(cli, state, editor):
    editor("printf '{\\n  oops' > \"$1\"")
    ran = cli("edit", "volumes/v1")
    assert ran.code == 2
    assert "your text, line 2" in ran.err
    assert kept(ran).read_text() == "{\n  oops"
    assert stat.S_IMODE(kept(ran).stat().st_mode) == 0o600
    assert size(state) == 1


def test_a_conflict_keeps_the_text(cli, state, editor, monkeypatch):
    editor(
        f'echo \'{{"size": 9}}\' > "$1"\n'
        f"echo '{{\"size\": 5}}' > {state}/volumes/v1.json  # somebody else\n"
    )
    ran = cli("edit", "volumes/v1")
    assert ran.code == 3
    assert json.loads(kept(ran).read_text()) == {"size": 9}
    assert size(state) == 5


def test_an_editor_that_fails_changes_nothing_and_its_text_is_kept(cli, state, editor):
    editor("echo '{}' > \"$1\"\nexit 3")
    ran = cli("edit", "volumes/v1")
    assert ran.code == 2
    assert "3" in ran.err
    assert kept(ran).read_text() == "{}\n"
    assert size(state) == 1


def test_an_editor_that_removes_its_file_changes_nothing(cli, state, editor):
    editor('rm "$1"')
    assert cli("edit", "volumes/v1").code == 2
    assert size(state) == 1


@pytest.mark.parametrize("command", ["/nonexistent/editor", "'", "/"])
def test_an_editor_that_cannot_start_is_told(cli, monkeypatch, command):
    monkeypatch.setenv("EDITOR", command)
    cli("edit", "volumes/v1").fails(2, "EDITOR")


def test_at_a_terminal_an_invalid_text_can_be_edited_again(
    cli, state, editor, tmp_path, monkeypatch
):
    editor(
        f'if [ -e {tmp_path}/again ]; then echo \'{{"size": 9}}\' > "$1"\n'
        f'else touch {tmp_path}/again; echo oops > "$1"; fi'
    )
    monkeypatch.setattr("filestore.cli.editing.interactive", lambda: True)
    ran = cli("edit", "volumes/v1", input="y\n")
    assert ran.code == 0, ran
    assert "line 1" in ran.err
    assert size(state) == 9
