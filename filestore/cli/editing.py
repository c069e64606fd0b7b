"""``edit``: a document in the user's editor, written back only if nobody else changed it.

What the user typed is never lost: the private copy is removed only once it is
in the store, or when it says nothing new.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from filestore.cli import screen
from filestore.cli.exits import Refused
from filestore.cli.target import (
    collection_option,
    find_key,
    message_option,
    open_store,
    quiet_option,
    store_option,
)
from filestore.cli.values import FORMS, form_of, parse, write
from filestore.errors import InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.model import Document


@click.command()
@click.argument("name", metavar="COLLECTION/ID")
@collection_option
@store_option
@click.option(
    "-f", "--form", type=click.Choice(FORMS), help="What to edit; by default as the store keeps it."
)
@message_option
@quiet_option
def edit(
    *,
    name: str,
    collection: str | None,
    location: str | None,
    form: str | None,
    message: str | None,
    quiet: bool,
) -> None:
    """Edit a document with $VISUAL or $EDITOR.

    The copy that you edit is private (0600).  It is checked and stored when the
    editor ends; a document that somebody else changed meanwhile is not
    overwritten, and your text is kept.
    """
    with open_store(location, readonly=True) as store:
        key = find_key(store, name, collection)
        record = store[key.collection].read(key.id)
        form = form or form_of(store)
    with _private_copy(write(record.document, form), form) as copy:
        document = _edited(copy, form)
        if write(document, form) == write(record.document, form):
            screen.note(f"{key} is unchanged", quiet=quiet)
            return
        with open_store(location) as store, store.transaction(message=message):
            store[key.collection].put(key.id, document, expected=record.etag)
        screen.note(f"{key} is stored", quiet=quiet)


@contextmanager
def _private_copy(text: str, form: str) -> Iterator[str]:
    """A file that only this user can read; kept, and its place told, when an error ends this.

    It has a folder of its own (0700), where an editor's swap and backup files are private too.
    """
    folder = tempfile.mkdtemp(prefix="filestore-edit-")
    path = os.path.join(folder, f"document.{form}")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text.encode())
    try:
        yield path
    except BaseException:
        if _content(path) == text.encode():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            screen.aside(f"Your text is kept in {path}")
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _content(path: str) -> bytes | None:
    """What is in the copy; None when the editor removed it."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _edited(path: str, form: str) -> Document:
    """Run the editor until the text is a document or the user gives up."""
    while True:
        _run_editor(path)
        raw = _content(path)
        if raw is None:
            raise Refused("the editor left no file: nothing is changed")
        try:
            return parse(raw, form, "your text")
        except InvalidDocument as error:
            if not interactive():
                raise
            screen.complain(error.message)
            if not click.confirm("Edit it again?", default=True, err=True):
                raise


def interactive() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def _run_editor(path: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(editor)
    except ValueError as error:
        raise Refused(f"VISUAL or EDITOR is not a command: {error}") from None
    # Ctrl-C is the editor's while it runs.  A handler, unlike SIG_IGN, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.call([*words, path])  # noqa: S603  (the user's own choice)
    except OSError as error:
        raise Refused(
            f"cannot start the editor '{editor}' ({error.strerror}): set VISUAL or EDITOR"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise Refused(f"the editor '{editor}' failed ({code}): nothing is changed")
