"""The commands that take back: ``undo`` and ``restore``."""

from __future__ import annotations

import click

from filestore.cli import screen
from filestore.cli.sources import at, is_moment
from filestore.cli.target import (
    GIT,
    collection_option,
    examples,
    find_key,
    message_option,
    open_store,
    quiet_option,
    store_option,
)
from filestore.cli.values import Whole
from filestore.errors import NotFound


@click.command(epilog=examples("undo 12", "undo 12 --message 'grew the wrong one'"))
@click.argument("revision", type=Whole(min=1))
@store_option
@message_option
@quiet_option
def undo(*, revision: int, location: str | None, message: str | None, quiet: bool) -> None:
    """Take one commit back, and keep what came after it.

    That is a commit of its own.  Refused when what the commit changed has
    been changed again since.  An undo can be undone.
    """
    with open_store(location) as store:
        made = store.undo(revision, message=message)
    if made is None:
        screen.note(f"All is as before revision {revision} already", quiet=quiet)
    else:
        screen.note(f"Revision {revision} is undone, in revision {made}", quiet=quiet)


def _moment(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if is_moment(text):
        return text
    raise click.BadParameter(f"'{text}' is no revision: a number, or {GIT}NAME for one of git's")


@click.command(
    epilog=examples("restore volumes/3f2a --at 12", "restore volumes/3f2a --at git:v1.2")
)
@click.argument("name", metavar="COLLECTION/ID")
@click.option(
    "--at",
    "revision",
    metavar="REVISION",
    required=True,
    callback=_moment,
    help="The revision after which it was as it should be again; git:NAME for one of git's.",
)
@collection_option
@store_option
@message_option
@quiet_option
def restore(
    *,
    name: str,
    revision: str,
    collection: str | None,
    location: str | None,
    message: str | None,
    quiet: bool,
) -> None:
    """Give a document, also a deleted one, the content it once had."""
    with open_store(location) as store:
        with at(store, revision) as past:
            key = find_key(past, name, collection)
            document = past[key.collection].get(key.id)
        if document is None:
            raise NotFound(
                f"{key} was not there at revision {revision}: filestore log {key} tells when it"
                " was, filestore rm deletes it",
                key=key,
            )
        told = message if message is not None else f"restore of {key} from revision {revision}"
        with store.transaction(message=told) as tx:
            tx[key.collection].put(key.id, document)
    if tx.made is None:
        screen.note(f"{key} is as at revision {revision} already", quiet=quiet)
    else:
        screen.note(f"{key} is as at revision {revision} again, in revision {tx.made}", quiet=quiet)
