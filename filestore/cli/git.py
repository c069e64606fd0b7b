"""The group ``git``: a store in a git repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from filestore.cli import screen
from filestore.cli.exits import Exit
from filestore.cli.mending import report
from filestore.cli.target import (
    examples,
    json_option,
    open_store,
    quiet_option,
    root_of,
    store_option,
)
from filestore.integrations.git.driver import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(self.commands)


@click.group(cls=_Group)
def git() -> None:
    """Keep the store in git: merge, diff, commit, check."""


@git.command(epilog=examples("git setup"))
@store_option
@click.option(
    "--command",
    metavar="COMMAND",
    help="What git runs as filestore, for a shell; by default this very installation.",
)
@click.option(
    "--renames", is_flag=True, help="Leave git's search for renames on: see docs/git.md first."
)
@quiet_option
def setup(*, location: str | None, command: str | None, renames: bool, quiet: bool) -> None:
    """Have this repository merge and show documents field by field.

    Writes .gitattributes, which travels with the repository, and the
    repository's configuration, which does not: run this in every clone.
    """
    # Here and below: these bring the engine's settings and subprocess, which other commands lack.
    from filestore.integrations.git import repository
    from filestore.integrations.git import setup as setting_up

    done = setting_up.set_up(repository.find(root_of(location)), command=command, renames=renames)
    for line in done:
        screen.note(f"Wrote {line}", quiet=quiet)
    if done:
        screen.note("Every other clone needs this once too: filestore git setup", quiet=quiet)
    else:
        screen.note("All is set up", quiet=quiet)


@git.command(epilog=examples("git commit", 'git commit -m "Move the database"'))
@store_option
@click.option("-m", "--message", metavar="TEXT", help="By default: which documents changed.")
@click.option(
    "--full", is_flag=True, help="Compare every file with git, not only what the journal names."
)
@json_option("one JSON value: commit, null when nothing has changed")
@quiet_option
def commit(
    *, location: str | None, message: str | None, full: bool, as_json: bool, quiet: bool
) -> None:
    """Commit to git what the store has changed since the last time.

    And nothing else: what somebody has staged besides stays staged.  Git's hooks are not run.
    """
    with open_store(location) as store:
        made = store.git.commit(message, full=full)
    if as_json:
        screen.machine({"commit": made})
    else:
        screen.note(made or "Nothing has changed since the last commit", quiet=quiet)


@git.command()
@store_option
@json_option("JSON lines, one problem a line; no line when all is well")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells.")
def doctor(*, location: str | None, as_json: bool, quiet: bool) -> None:
    """Find what keeps git from keeping this store well, and the cure.

    Changes nothing.  Exit 1 on errors.  Warnings are listed too; they alone leave the exit
    code 0.
    """
    from filestore.integrations.git.doctor import examine
    from filestore.integrations.git.repository import find

    report(examine(find(root_of(location))), as_json=as_json, quiet=quiet, well="No problems")


@git.command()
@store_option
@quiet_option
def remerge(*, location: str | None, quiet: bool) -> None:
    """Merge field by field what git left in conflict, in one go.

    For a merge that was made without the driver.  What is merged whole is
    added to git; what still conflicts gets its marks.  Exit 3 if any does.
    """
    from filestore.integrations.git.remerge import remerge as merge_again
    from filestore.integrations.git.repository import find

    done = merge_again(find(root_of(location)))
    screen.note(f"{len(done.merged)} merged, {len(done.left)} in conflict", quiet=quiet)
    for conflict in done.left:
        screen.note(f"  {conflict.key}", quiet=quiet)
    if done.left:
        click.get_current_context().exit(Exit.CONFLICT)


def _plumbing(name: str, summary: str) -> click.Command:
    run: Callable[[tuple[str, ...]], int] = COMMANDS[name]

    @click.pass_context
    def command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
        ctx.exit(run(arguments))

    return click.Command(
        name,
        callback=command,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help=summary,
        hidden=True,
    )


git.add_command(_plumbing("merge-driver", "What git runs to merge a document: %O %A %B %L %P."))
git.add_command(_plumbing("textconv", "What git runs to show a document."))
