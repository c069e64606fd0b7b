"""The commands that look after a store: ``check``, ``repair`` and ``reshard``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from filestore.cli import screen
from filestore.cli.exits import Exit
from filestore.cli.progress import progress_bar
from filestore.cli.target import (
    json_option,
    open_backend,
    open_store,
    quiet_option,
    store_option,
)
from filestore.cli.values import Whole
from filestore.problem import Severity
from filestore.resources.rules import broken_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filestore.problem import Problem


@click.command()
@store_option
@json_option("JSON lines, one problem a line; no line when all is well")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def check(location: str | None, as_json: bool, quiet: bool) -> None:
    """Look at every file of the store; exit 1 if an error is found.

    Warns too where documents do not fit together: a snapshot or connection whose
    volume is gone, two volumes of one name.  Warnings alone leave the exit code 0.
    Changes nothing.
    """
    with open_store(location, readonly=True) as store:
        problems = store.check()
        with store.snapshot() as view:
            problems += broken_rules(view)
    report(problems, as_json=as_json, quiet=quiet, well="No problems")


@click.command()
@store_option
@json_option("JSON lines, one problem that is left a line")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def repair(location: str | None, as_json: bool, quiet: bool) -> None:
    """Mend what can be mended without loss; list what is left.

    A document that cannot be read is never removed: mend or delete its file.
    """
    with open_store(location) as store:
        problems = store.repair()
    report(problems, as_json=as_json, quiet=quiet, well="Nothing is left to mend")


def report(problems: Sequence[Problem], *, as_json: bool, quiet: bool, well: str) -> None:
    """Write the problems, and exit with 1 where one is an error."""
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


@click.command()
@click.argument("path", metavar="[STORE]", nargs=-1)
@click.argument("fanout", type=Whole(0, 2))
@store_option
@json_option("one JSON value with the fan-outs before and after and the files moved")
@quiet_option
def reshard(
    *, path: tuple[str, ...], fanout: int, location: str | None, as_json: bool, quiet: bool
) -> None:
    """Move every document to its place at another fan-out.

    FANOUT is how many levels of hashed folders there are, 0 to 2.
    Programs that have the store open go on reading; their writes wait.  Killed at any moment,
    the next that opens the store finishes it or takes it back.  Git sees renames.  Documents
    that an older branch left at another fan-out's place are gathered, so the store's own
    FANOUT is no mistake.
    """
    if len(path) + (location is not None) > 1:
        raise click.UsageError("name one store")
    if path == ("",):
        raise click.UsageError("the store's path is empty")
    backend = open_backend(path[0] if path else location)
    try:
        with progress_bar(f"fan-out {fanout}", shown=not (as_json or quiet)) as progress:
            done = backend.reshard(fanout, progress)
    finally:
        backend.close()
    if as_json:
        screen.machine({"before": done.before, "after": done.after, "moved": done.moved})
    elif not done.moved:
        screen.note(f"Every document is at its place at fan-out {done.after}", quiet=quiet)
    else:
        files = "1 file" if done.moved == 1 else f"{done.moved} files"
        screen.note(f"{files} moved, fan-out {done.before} to {done.after}", quiet=quiet)
