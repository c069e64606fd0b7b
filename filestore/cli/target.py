"""Which store and which document a command line means."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

import filestore
from filestore.engine.files import FileBackend
from filestore.engine.layout import RUNTIME
from filestore.errors import FilestoreError, NotFound, StorageError, UnsupportedFormat
from filestore.location import is_path, masked_url
from filestore.model import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.past import Past
    from filestore.store import Store


@dataclass(frozen=True, slots=True)
class General:
    """The options before the command's name."""

    store: str | None
    lock_timeout: float


_Command = TypeVar("_Command", bound="Callable[..., Any]")

MARK: Final = "filestore.yaml"
"""The file that makes a folder a store."""

GIT: Final = "git:"
"""What a revision of git begins with, where revisions of the store could be meant."""

_LOOK_SECONDS: Final = 1.0  # looking back waits no longer for whoever records


def place(_context: click.Context, _parameter: click.Parameter, path: str | None) -> str | None:
    """The location that somebody wrote: ``file:PATH`` is PATH.

    Refuses an empty one: it is a script's unset variable, not the current folder.
    """
    if path is None:
        return None
    bare = path.removeprefix("file:")
    if not bare:
        raise click.BadParameter("the path is empty")
    if bare != path and (bare.isdecimal() or bare == "-" or bare.startswith(GIT)):
        return f"./{bare}"  # a path, not a revision and not standard input
    return bare


def store_option(command: _Command) -> _Command:
    """``--store`` after the command's name too."""
    return click.option(
        "-s",
        "--store",
        "location",
        metavar="PATH",
        callback=place,
        help="The store's folder or URL (see filestore -h).",
    )(command)


def json_option(shape: str) -> Callable[[_Command], _Command]:
    """``--json``, with what it gives told in the help."""
    return click.option("--json", "as_json", is_flag=True, help=f"For programs: {shape}.")


def examples(*lines: str) -> str:
    """An epilog of command lines, which the help does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  filestore {line}" for line in lines)


quiet_option = click.option("-q", "--quiet", is_flag=True, help="No confirmation.")
message_option = click.option(
    "-m", "--message", metavar="TEXT", help="Why: kept with the change in the journal."
)
collection_option = click.option(
    "-c",
    "--collection",
    metavar="NAME",
    help="The collection; the argument is then the id alone, slashes and all.",
)


def open_store(location: str | None, *, readonly: bool = False) -> Store:
    """Open the store that the command line, the environment or the folder names.

    Raises NotFound when there is none, and whatever ``filestore.open`` raises.
    """
    asked = _asked(location)
    try:
        return open_at(asked, readonly=readonly)
    except NotFound:
        raise _no_store(asked) from None
    except ValueError as error:  # a scheme that filestore.open does not know
        shown = masked_url(asked)
        raise UnsupportedFormat(f"cannot open {shown}: {error}", path=shown) from error


def open_history(location: str | None) -> Store:
    """Open the store to look back, once what was edited by hand meanwhile is recorded.

    A program that has the store open records by itself, and nobody has for what no program
    ever opened here.  Where this may not write, the history is what it is.
    """
    asked = _asked(location)
    if is_path(asked) and os.path.isdir(os.path.join(asked, RUNTIME)):
        general: General = click.get_current_context().find_root().obj
        patience = min(general.lock_timeout, _LOOK_SECONDS)
        with (
            suppress(FilestoreError),
            filestore.open(asked, create=False, lock_timeout=patience, watch=False) as store,
        ):
            store.rescan()
    return open_store(location, readonly=True)


def open_at(
    location: str, *, codec: str | None = None, readonly: bool = False, create: bool = False
) -> Store:
    """Open the store in this folder or at this URL.  Raises what ``filestore.open`` raises."""
    general: General = click.get_current_context().find_root().obj
    return filestore.open(
        location,
        codec=codec,
        readonly=readonly,
        create=create,
        lock_timeout=general.lock_timeout,
        watch=False,
        actor=None if readonly else user(),
    )


def open_backend(location: str | None) -> FileBackend:
    """The tree of files under the store that the command line, or else, names.

    For what is about files, and not about documents.  Raises as :func:`open_store` does.
    """
    general: General = click.get_current_context().find_root().obj
    asked = root_of(location)
    try:
        return FileBackend(asked, create=False, lock_timeout=general.lock_timeout, watch=False)
    except NotFound:
        raise _no_store(asked) from None


def _no_store(asked: str) -> NotFound:
    asked = masked_url(asked)
    return NotFound(
        f"there is no store at {asked}: name one with --store or FILESTORE,"
        f" or make it with: filestore init {asked}",
        path=asked,
    )


def root_of(location: str | None) -> str:
    """The folder of the store that is meant; nobody has looked yet whether there is one.

    Raises NotFound when nothing names one, UnsupportedFormat when it is no folder.
    """
    asked = _asked(location)
    if not is_path(asked):
        shown = masked_url(asked)
        raise UnsupportedFormat(
            f"this command is about a store's files, and {shown} has none: name a folder",
            path=shown,
        )
    return asked


def _asked(location: str | None) -> str:
    """The location of the store that is meant, a URL or a folder.  Raises NotFound."""
    general: General = click.get_current_context().find_root().obj
    return location or general.store or _nearest(_here())


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise StorageError(
            "the current folder was removed: name a store with --store or FILESTORE",
            errno=error.errno,
        ) from None


def _nearest(folder: str) -> str:
    """The store that ``folder`` is in."""
    here = folder
    while not os.path.lexists(os.path.join(here, MARK)):
        above = os.path.dirname(here)
        if above == here:
            raise NotFound(
                f"there is no store in {folder} or above it: name one with --store or FILESTORE,"
                " or make one here with: filestore init",
                path=folder,
            )
        here = above
    return here


def user() -> str | None:
    import getpass  # only writers tell who they are

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return None


def find_key(store: Store | Past, name: str, collection: str | None, *, new: bool = False) -> Key:
    """The key that COLLECTION/ID names; both parts may have slashes of their own.

    A document that exists decides; else, for a ``new`` one, a collection that
    exists.  Where several readings are left, asks for ``--collection``.
    """
    if collection is not None:
        return Key(collection, name)
    readings = [
        Key(name[:at], name[at + 1 :])
        for at, character in enumerate(name)
        if character == "/" and 0 < at < len(name) - 1
    ]
    if not readings:
        raise click.UsageError(
            f"'{name}' does not name a document: write COLLECTION/ID, such as volumes/3f2a"
        )
    if len(readings) == 1:
        return readings[0]
    existing = set(store.collections())
    known = [key for key in readings if key.collection in existing]
    there = [key for key in known if key.id in store[key.collection]]
    if len(there) == 1:
        return there[0]
    if not there and not new:
        return (known or readings)[0]
    if not there and len(known) == 1:
        return known[0]
    choices = " or ".join(f"-c {key.collection} {key.id}" for key in (there or known or readings))
    raise click.UsageError(f"'{name}' can be read in several ways: write {choices}")
