"""Documents from anywhere: a revision, the store's or git's, another store, a folder, a dump."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from filestore.cli.target import GIT, MARK, open_at
from filestore.cli.values import parse, read_json
from filestore.codec import MAX_BYTES
from filestore.engine.fs import FileSystem
from filestore.engine.layout import Layout
from filestore.errors import InvalidDocument, NotFound
from filestore.location import is_url
from filestore.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from filestore.model import Document
    from filestore.past import Past
    from filestore.plan import Documents
    from filestore.store import Store

MAX_LINE: Final = 1 << 30
"""Bytes of a line of a dump.  A document has at most 16 MiB; a plan, which is a line, has many."""

_DIGITS: Final = 19  # of a revision

_FORMS: Final = {".json": "json", ".yaml": "yaml"}


@contextmanager
def documents(source: str, store: Callable[[], Store]) -> Iterator[Documents]:
    """The documents that an argument names; ``store`` gives the one that revisions are of.

    Raises NotFound, InvalidDocument, and whatever opening a store raises.
    """
    if is_moment(source):
        with at(store(), source) as past:
            yield past
    elif is_url(source) or os.path.lexists(os.path.join(source, MARK)):
        with open_at(source, readonly=True) as opened:
            yield opened
    elif os.path.isdir(source):
        yield Folder(source)
    else:
        found = read_dump(source)
        if isinstance(found, Plan):
            raise InvalidDocument(f"{source}: is a plan; filestore apply carries it out")
        yield found


def is_moment(source: str) -> bool:
    """Whether an argument is a revision, the store's own or one of git's (``git:NAME``)."""
    return (source.isdecimal() and len(source) <= _DIGITS) or source.startswith(GIT)


def at(store: Store, moment: str) -> Past:
    """The store at such a revision.  Raises what ``Store.at`` raises."""
    if moment.startswith(GIT):
        return store.at(git=moment.removeprefix(GIT))
    return store.at(revision=int(moment))


class Folder(Mapping[str, "Mapping[str, Document]"]):
    """A folder with a folder for each collection, and in it a file for each document.

    As in a store, but with no settings; JSON and YAML side by side.
    """

    def __init__(self, path: str) -> None:
        root = os.path.abspath(path)
        self._fs = FileSystem()
        self._layouts = [Layout(root, suffix, 0) for suffix in _FORMS]
        self._names = sorted(
            {name for layout in self._layouts for name in layout.collections(self._fs)}
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, collection: str) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for layout in self._layouts:
            for id in layout.ids(self._fs, collection):
                path = layout.path((collection, id))
                if id in found:
                    raise InvalidDocument(f"{path}: the document is there as JSON and as YAML")
                with open(path, "rb") as file:
                    found[id] = parse(file.read(MAX_BYTES + 1), _FORMS[layout.suffix], path)
        return found


def read_dump(source: str) -> dict[str, dict[str, Document]] | Plan:
    """Lines of JSON with ``collection``, ``id`` and ``document``, as ``ls --json`` writes them.

    Or a plan.  ``-`` is standard input.  Raises InvalidDocument, NotFound.
    """
    with _opened(source) as file:
        found: dict[str, dict[str, Document]] = {}
        for number, line in enumerate(_lines(file, source), 1):
            if not line.strip():
                continue
            value = _value(line, f"{source}, line {number}")
            if "plan" in value:
                return Plan.from_json(value)
            collection, id, document = _fields(value, f"{source}, line {number}")
            if id in found.setdefault(collection, {}):
                raise InvalidDocument(f"{source}, line {number}: {collection}/{id} once more")
            found[collection][id] = document
    return found


def _opened(source: str) -> AbstractContextManager[BinaryIO]:
    if source == "-":
        if sys.stdin is None:
            raise click.UsageError("there is no standard input")
        return nullcontext(sys.stdin.buffer)
    try:
        return open(source, "rb")
    except FileNotFoundError:
        raise NotFound(
            f"{source}: is no revision, and there is no such store, folder or file (a revision of"
            f" git is written {GIT}{source})",
            path=source,
        ) from None


def _lines(file: BinaryIO, source: str) -> Iterator[bytes]:
    """A file's lines, none of which is longer than one can be."""
    number = 1
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise InvalidDocument(
                f"{source}, line {number}: has more than {MAX_LINE:,} bytes: it is neither a"
                " document (as of ls COLLECTION --json) nor a plan"
            )
        yield line
        number += 1


def _value(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = read_json(line.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{where}: is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidDocument(f"{where}: is no object")
    return value


def _fields(value: dict[str, Any], where: str) -> tuple[str, str, Document]:
    collection, id, document = (value.get(name) for name in ("collection", "id", "document"))
    if isinstance(collection, str) and isinstance(id, str) and isinstance(document, dict):
        return collection, id, document
    if isinstance(collection, str) and isinstance(id, str) and "error" in value:
        raise InvalidDocument(f"{where}: {collection}/{id} could not be read when it was dumped")
    raise InvalidDocument(
        f"{where}: needs collection, id and document (as of ls COLLECTION --json)"
    )
