"""The commands that look after a store: ``check`` and ``repair``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from filestore.cli import screen
from filestore.cli.exits import Exit
from filestore.cli.target import json_option, open_store, store_option
from filestore.model import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.model import Problem


@click.command()
@store_option
@json_option("JSON lines, one problem a line; no line when all is well")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def check(location: str | None, as_json: bool, quiet: bool) -> None:
    """Look at every file of the store; exit 1 if an error is found.

    Changes nothing.  Warnings are listed too; they alone leave the exit code 0.
    """
    with open_store(location, readonly=True) as store:
        problems = store.check()
    _report(problems, as_json=as_json, quiet=quiet, well="No problems")


@click.command()
@store_option
@json_option("JSON lines, one problem that is left a line")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def repair(location: str | None, as_json: bool, quiet: bool) -> None:
    """Mend what can be mended without losing a document; list what is left.

    A document that cannot be read is never removed: mend or delete its file.
    """
    with open_store(location) as store:
        problems = store.repair()
    _report(problems, as_json=as_json, quiet=quiet, well="Nothing is left to mend")


def _report(problems: Sequence[Problem], *, as_json: bool, quiet: bool, well: str) -> None:
    for problem in problems:
        if as_json:
            screen.machine(_as_value(problem))
        elif not quiet:
            screen.text(screen.visible(_sentence(problem)))
    if not problems and not as_json:
        screen.note(well, quiet=quiet)
    if any(problem.severity is Severity.ERROR for problem in problems):
        click.get_current_context().exit(Exit.NOT_FOUND)


def _sentence(problem: Problem) -> str:
    place = "" if problem.path is None or problem.path in problem.message else f"{problem.path}: "
    mend = " (filestore repair mends it)" if problem.repairable else ""
    return f"{problem.severity.value}: {problem.kind}: {place}{problem.message}{mend}"


def _as_value(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "severity": problem.severity.value,
        "message": problem.message,
        "path": problem.path,
        "collection": problem.key.collection if problem.key else None,
        "id": problem.key.id if problem.key else None,
        "repairable": problem.repairable,
    }
