"""The command that copies a store into another: ``migrate``."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

import filestore
from filestore.cli import screen
from filestore.cli.progress import progress_bar
from filestore.cli.target import General, examples, json_option, not_empty, quiet_option, user
from filestore.cli.values import FORMS
from filestore.errors import NotFound
from filestore.migration import Migration, Policy
from filestore.migration import migrate as carry_over

if TYPE_CHECKING:
    from filestore.store import Store


@click.command(
    epilog=examples(
        "migrate state backup",
        "migrate file:state sqlite:///state.db",
        "migrate old new --on-conflict skip --dry-run",
    )
)
@click.argument("source", metavar="FROM", callback=not_empty)
@click.argument("target", metavar="TO", callback=not_empty)
@click.option(
    "--on-conflict",
    "policy",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.FAIL.value,
    show_default=True,
    help="What becomes of a document that TO has with another value: nothing is written at all,"
    " it stays, it is replaced, or gets FROM's fields.",
)
@click.option("--codec", type=click.Choice(FORMS), help="The files' form, if TO is a new folder.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option("one JSON value with the numbers of documents")
@quiet_option
def migrate(
    *,
    source: str,
    target: str,
    policy: str,
    codec: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Copy every document of the store FROM into the store TO, then compare both.

    Stores are folders (PATH or file:PATH) or servers' URLs.  FROM is only read, TO is made when
    it is not there, and nothing of it is deleted.  Killed at any moment, the same command
    goes on where it was.
    """
    general: General = click.get_current_context().find_root().obj
    with ExitStack() as stack:
        before = stack.enter_context(closing(_open(source, general, readonly=True)))
        after = stack.enter_context(_target(target, general, codec, dry_run=dry_run))
        what = "comparing" if dry_run else "migrating"
        with progress_bar(what, shown=not (as_json or quiet)) as progress:
            done = carry_over(before, after, policy=policy, dry_run=dry_run, progress=progress)
    if as_json:
        screen.machine({**asdict(done), "dry_run": dry_run})
    else:
        screen.note(_sentence(done, dry_run=dry_run), quiet=quiet)


def _open(
    location: str,
    general: General,
    *,
    codec: str | None = None,
    readonly: bool = False,
    create: bool = False,
) -> Store:
    return filestore.open(
        location.removeprefix("file:"),
        codec=codec,
        readonly=readonly,
        create=create,
        lock_timeout=general.lock_timeout,
        watch=False,
        actor=None if readonly else user(),
    )


def _target(location: str, general: General, codec: str | None, *, dry_run: bool) -> Store:
    """The store to write to; for a dry run nothing is made, and what is not there is empty."""
    try:
        return _open(location, general, codec=codec, readonly=dry_run, create=not dry_run)
    except NotFound:
        if not dry_run:
            raise
        return filestore.open("memory:")


def _sentence(done: Migration, *, dry_run: bool) -> str:
    parts = [
        f"{done.created:,} created",
        f"{done.updated:,} updated",
        f"{done.unchanged:,} the same",
    ]
    if done.kept:
        parts.append(f"{done.kept:,} left as they were")
    noun = "document" if done.documents == 1 else "documents"
    would = "would be: " if dry_run else ""
    verified = "" if dry_run else "; both sides compared"
    return f"{done.documents:,} {noun}: {would}{', '.join(parts)}{verified}"
