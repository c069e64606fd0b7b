"""The command that copies a store into another: ``migrate``."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

import filestore
from filestore.cli import screen
from filestore.cli.progress import progress_bar
from filestore.cli.target import examples, json_option, open_at, place, quiet_option
from filestore.cli.values import FORMS
from filestore.errors import Conflict, NotFound, StorageError
from filestore.location import CINDERLIB, MEMORY, is_path, masked_url
from filestore.migration import Moment, Policy, StoreTarget, copy

if TYPE_CHECKING:
    from filestore.integrations.cinderlib.ends import CinderlibDatabase
    from filestore.migration import Migration, Source, Target


@click.command(
    epilog=examples(
        "migrate state backup",
        "migrate file:state sqlite:///state.db",
        "migrate old new --on-conflict skip --dry-run",
    )
)
@click.argument("source", metavar="FROM", callback=place)
@click.argument("target", metavar="TO", callback=place)
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
    """Copy every document of FROM into TO, then compare both.

    Stores are folders (PATH or file:PATH), databases (sqlite:///PATH, postgresql://...) or what
    a real cinderlib keeps in one (cinderlib+mysql+pymysql://...).  FROM is only read, TO is
    made when it is not there, and nothing of it is deleted.  Killed at any moment, the same
    command goes on where it was.
    """
    with ExitStack() as stack:
        before = _source(source, stack)
        after = _target(target, stack, codec=codec, dry_run=dry_run)
        if before.location == after.location:
            raise Conflict(f"{before.location}: a store cannot be migrated into itself")
        what = "comparing" if dry_run else "migrating"
        with progress_bar(what, shown=not (as_json or quiet)) as progress:
            done = copy(before, after, policy=policy, dry_run=dry_run, progress=progress)
    if as_json:
        screen.machine({**asdict(done), "dry_run": dry_run})
    else:
        screen.note(_sentence(done, dry_run=dry_run), quiet=quiet)


def _source(location: str, stack: ExitStack) -> Source:
    if location.startswith(CINDERLIB):
        return _cinderlib(location)
    store = stack.enter_context(open_at(location, readonly=True))
    return Moment(store.location, stack.enter_context(store.snapshot(keep=False)))


def _target(location: str, stack: ExitStack, *, codec: str | None, dry_run: bool) -> Target:
    """The store to write to; for a dry run nothing is made, and what is not there is empty."""
    if not is_path(location):
        if location in {MEMORY, "sqlite://"}:
            raise click.UsageError(f"{location} would be gone when the command ends")
        if codec is not None:
            raise click.UsageError("--codec is for folders: a database has no files")
    if location.startswith(CINDERLIB):
        return _cinderlib(location)
    try:
        store = open_at(location, codec=codec, readonly=dry_run, create=not dry_run)
    except NotFound:
        if not dry_run:
            raise
        store = filestore.open("memory:")
    return StoreTarget(stack.enter_context(store))


def _cinderlib(location: str) -> CinderlibDatabase:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of cinderlib's libraries help nobody here
            from filestore.integrations.cinderlib.ends import CinderlibDatabase
    except ImportError as error:
        raise StorageError(
            f"{masked_url(location)}: a database of cinderlib needs cinderlib: pip install"
            " 'filestore[cinderlib]'"
        ) from error
    return CinderlibDatabase(location)


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
