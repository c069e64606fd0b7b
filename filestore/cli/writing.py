"""The commands that write documents: ``init``, ``put``, ``rm``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

import filestore
from filestore.cli import screen
from filestore.cli.target import (
    MARK,
    collection_option,
    examples,
    find_key,
    message_option,
    open_store,
    place,
    quiet_option,
    store_option,
)
from filestore.cli.values import FORMS, Whole, is_pair, pairs, read
from filestore.engine.files import FileBackend
from filestore.errors import Conflict, NotFound
from filestore.location import is_path, masked_url
from filestore.model import ANY

if TYPE_CHECKING:
    from filestore.model import Expected

form_option = click.option(
    "-f", "--form", type=click.Choice(FORMS), help="The input's form, if its name does not tell."
)
expected_option = click.option(
    "-e", "--expected", metavar="ETAG", help="Only if this is the document's etag (get --json)."
)


@click.command()
@click.argument("path", default=".", callback=place)
@click.option("--codec", type=click.Choice(FORMS), help="The files' form; json by default.")
@click.option(
    "--fanout",
    type=Whole(0, 2),
    help="Levels of hashed folders, none by default; they pay from some thousands of documents on.",
)
@quiet_option
def init(*, path: str, codec: str | None, fanout: int | None, quiet: bool) -> None:
    """Make a new, empty store in PATH, this folder by default.

    PATH is a folder or the URL of a database.  What lies in a folder stays as it is.
    """
    if not is_path(path):
        if codec is not None or fanout is not None:
            raise click.UsageError("--codec and --fanout say how files are: a database has none")
        _init_elsewhere(path, quiet=quiet)
        return
    codec = codec or "json"
    if os.path.lexists(os.path.join(path, MARK)):
        raise Conflict(f"{path} is a store already: see it with filestore -s {path} ls", path=path)
    # Not filestore.open: the fan-out is a setting of this one ground, made with it.
    FileBackend(path, codec=codec, fanout=fanout or 0, watch=False).close()
    screen.note(f"A new {codec} store is in {path}", quiet=quiet)


def _init_elsewhere(url: str, *, quiet: bool) -> None:
    """Make the tables of a store in a database."""
    shown = masked_url(url)
    try:
        filestore.open(url, create=False).close()
    except NotFound:
        filestore.open(url).close()
    else:
        raise Conflict(f"{shown} is a store already: see it with filestore -s URL ls", path=shown)
    screen.note(f"A new store is in {shown}", quiet=quiet)


@click.command(
    epilog=examples(
        "put volumes/3f2a volume.json",
        """put volumes/3f2a size=10 metadata='{"team": "db"}'""",
        "put volumes/3f2a --merge size=20 --message grow",
    )
)
@click.argument("name", metavar="COLLECTION/ID")
@click.argument("content", metavar="[FILE|-|FIELD=VALUE...]", nargs=-1)
@collection_option
@store_option
@click.option("--merge", is_flag=True, help="Change these fields only; null removes one.")
@expected_option
@click.option("--new", is_flag=True, help="Only if there is no such document yet.")
@form_option
@message_option
@quiet_option
def put(
    *,
    name: str,
    content: tuple[str, ...],
    collection: str | None,
    location: str | None,
    merge: bool,
    expected: str | None,
    new: bool,
    form: str | None,
    message: str | None,
    quiet: bool,
) -> None:
    """Store a document, from a file, standard input (-) or fields.

    A VALUE is JSON, or else plain text.  The document is replaced as a whole;
    with --merge only the fields given change (RFC 7386).
    """
    if new and (merge or expected is not None):
        raise click.UsageError("--new is for a document that is not there yet")
    document = _content(content, form)
    wanted: Expected = None if new else ANY if expected is None else expected
    with open_store(location) as store:
        key = find_key(store, name, collection, new=not merge)
        with store.transaction(message=message):
            documents = store[key.collection]
            before = documents.read(key.id).etag if key.id in documents else None
            if new and before is not None:
                raise Conflict(f"{key} is there already: leave out --new to replace it", key=key)
            if merge:
                documents.patch(key.id, document, expected=wanted)
            else:
                documents.put(key.id, document, expected=wanted)
            etag = documents.read(key.id).etag
    news = "is unchanged" if etag == before else "is stored"
    screen.note(f"{key} {news}, etag {etag}", quiet=quiet)


def _content(content: tuple[str, ...], form: str | None) -> dict[str, Any]:
    if not content:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("give the document as FILE, - or FIELD=VALUE")
        return read("-", form)
    if len(content) == 1 and not is_pair(content[0]):
        return read(content[0], form)
    return pairs(content)


@click.command()
@click.argument("names", metavar="COLLECTION/ID...", nargs=-1, required=True)
@collection_option
@store_option
@expected_option
@click.option("--missing-ok", is_flag=True, help="What is not there is no error.")
@message_option
@quiet_option
def rm(
    *,
    names: tuple[str, ...],
    collection: str | None,
    location: str | None,
    expected: str | None,
    missing_ok: bool,
    message: str | None,
    quiet: bool,
) -> None:
    """Delete documents: all of those named, or none if one can't be."""
    if expected is not None and len(names) > 1:
        raise click.UsageError("--expected goes with one document")
    with open_store(location) as store:
        keys = [find_key(store, name, collection) for name in names]
        gone = []
        with store.transaction(message=message):
            for key in keys:
                documents = store[key.collection]
                if expected is not None and documents.read(key.id).etag != expected:
                    raise Conflict(f"{key} is not what --expected says: read it again", key=key)
                if missing_ok and key.id not in documents:
                    continue
                del documents[key.id]
                gone.append(key)
    for key in gone:
        screen.note(f"{key} is deleted", quiet=quiet)
