"""Stores in databases on the command line: named by a URL, whose password nobody is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from filestore.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran

    Run = Callable[..., Ran]


def test_a_store_in_a_database_is_made_filled_and_looked_at(cli: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    assert cli("init", url).code == 0
    cli("init", url).fails(Exit.CONFLICT, "already")
    assert cli("-s", url, "put", "volumes/a", "size=1").code == 0
    assert json.loads(cli("-s", url, "get", "volumes/a", "--json").out)["document"] == {"size": 1}
    assert cli("-s", url, "ls").code == 0
    assert cli("-s", url, "check").code == 0
    assert cli("-s", url, "stats").code == 0
    assert cli("-s", url, "rm", "volumes/a").code == 0


def test_a_store_that_is_not_there_is_told(cli: Run, tmp_path: Path) -> None:
    cli("-s", f"sqlite:///{tmp_path}/state.db", "ls").fails(Exit.NOT_FOUND, "there is no store")
    assert not (tmp_path / "state.db").exists()


@pytest.mark.parametrize("command", [["reshard", "1"], ["conflicts"], ["git", "check"]], ids=str)
def test_commands_about_files_refuse_a_database(
    cli: Run, tmp_path: Path, command: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    ran = cli(*command, "-s", url)
    assert ran.code in {Exit.UNUSABLE, Exit.USAGE}
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", [["ls"], ["init"], ["check"]], ids=str)
def test_no_password_is_shown(cli: Run, command: list[str]) -> None:
    url = "postgresql://user:sesame@127.0.0.1:1/database"
    ran = cli(*command, url) if command == ["init"] else cli("-s", url, *command)
    assert ran.code == Exit.STORAGE
    assert "sesame" not in ran.out + ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("option", [("--codec", "yaml"), ("--codec", "json"), ("--fanout", "0")])
def test_a_database_is_not_told_how_its_files_are(
    cli: Run, tmp_path: Path, option: tuple[str, str]
) -> None:
    cli("init", f"sqlite:///{tmp_path}/new.db", *option).fails(2, "a database has none")
    assert not (tmp_path / "new.db").exists()
