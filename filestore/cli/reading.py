"""The commands that only read: ``ls``, ``get``, ``stats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from filestore.cli import screen
from filestore.cli.target import (
    collection_option,
    examples,
    find_key,
    json_option,
    open_store,
    store_option,
)
from filestore.cli.values import FORMS, alternatives, compact, form_of, write
from filestore.errors import Corrupt, NotFound, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filestore.collection import Collection
    from filestore.model import Document, Record

_COLUMNS: Final = (
    "display_name",
    "name",
    "size",
    "status",
    "backend",
    "volume_id",
    "attached_host",
    "host",
    "value",
)
"""Fields worth a column, the most telling first; those that no document has are left out."""
_COLUMNS_SHOWN: Final = 4

Unreadable: TypeAlias = Corrupt | StorageError


@click.command(epilog=examples("ls", "ls volumes", "ls volumes status=in-use size=10"))
@click.argument("collection", required=False)
@click.argument("filters", metavar="[FIELD=VALUE]...", nargs=-1)
@store_option
@json_option("JSON lines, one collection or one record a line")
@click.option("-q", "--quiet", is_flag=True, help="Names or ids alone, one a line.")
def ls(
    *,
    collection: str | None,
    filters: tuple[str, ...],
    location: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """List the collections, or the documents of one.

    FIELD=VALUE leaves the documents whose field is that: a JSON value, or
    plain text.  Several must all hold.
    """
    with open_store(location, readonly=True) as store:
        if collection is None:
            counts = {name: len(store[name]) for name in store.collections()}
            _list_collections(counts, as_json=as_json, quiet=quiet)
            return
        name = collection.rstrip("/")
        if name not in store.collections():
            raise NotFound(f"there is no collection '{collection}': see filestore ls")
        listed = _select(store[name], filters)
    if as_json:
        for id, found in listed.items():
            screen.machine(_as_value(name, id, found))
    elif quiet:
        _list_names(listed)
    else:
        _list_documents(listed)


def _list_collections(counts: dict[str, int], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        for name, count in counts.items():
            screen.machine({"collection": name, "documents": count})
    elif quiet:
        _list_names(counts)
    elif counts:
        rows = [(name, str(count)) for name, count in counts.items()]
        screen.table(("COLLECTION", "DOCUMENTS"), rows, right=frozenset({1}))


def _list_names(names: Iterable[str]) -> None:
    for name in names:
        screen.text(screen.visible(name) if screen.on_terminal() else name)


def _select(collection: Collection, filters: Sequence[str]) -> dict[str, Record | Unreadable]:
    """The documents that pass, sorted by id; unreadable ones pass when nothing is asked of them."""
    found: dict[str, Record | Unreadable] = {}
    if filters:
        for fields in alternatives(filters):
            found.update({record.key.id: record for record in collection.find(**fields)})
    else:
        for id in collection:
            try:
                found[id] = collection.read(id)
            except (Corrupt, StorageError) as error:
                found[id] = error
            except NotFound:  # deleted since the listing
                continue
    return dict(sorted(found.items()))


def _as_value(collection: str, id: str, found: Record | Unreadable) -> dict[str, Any]:
    if isinstance(found, Unreadable):
        return {"collection": collection, "id": id, "error": found.message}
    return {
        "collection": collection,
        "id": id,
        "etag": found.etag,
        "revision": found.revision,
        "document": found.document,
    }


def _list_documents(listed: Mapping[str, Record | Unreadable]) -> None:
    if not listed:
        return
    documents = [found.document for found in listed.values() if not isinstance(found, Unreadable)]
    columns = _telling(documents) or [""]
    rows = []
    for id, found in listed.items():
        if isinstance(found, Unreadable):
            rows.append([id, "(unreadable)", *[""] * (len(columns) - 1)])
        else:
            rows.append([id, *(_cell(found.document, field) for field in columns)])
    numeric = frozenset(
        index
        for index, field in enumerate(columns, start=1)
        if all(isinstance(document.get(field, 0), int | float) for document in documents)
    )
    screen.table(("ID", *(field.upper() for field in columns)), rows, right=numeric)
    unreadable = len(listed) - len(documents)
    if unreadable:
        told = "1 document" if unreadable == 1 else f"{unreadable} documents"
        screen.aside(f"{told} cannot be read: filestore check tells why")


def _telling(documents: Sequence[Document]) -> list[str]:
    """The fields to show: the known ones, then the simple ones that most documents have."""
    present = [field for field in _COLUMNS if any(document.get(field) for document in documents)]
    counts: dict[str, int] = {}
    for document in documents:
        for field, value in document.items():
            if isinstance(value, str | int | float):
                counts[field] = counts.get(field, 0) + 1
    common = sorted(counts.keys() - {*present, "id"}, key=lambda field: (-counts[field], field))
    return [*present, *common][:_COLUMNS_SHOWN]


def _cell(document: Document, field: str) -> str:
    value = document.get(field)
    return "" if value is None else compact(value)


@click.command(epilog=examples("get volumes/3f2a", "get -c volumes a/b --form yaml"))
@click.argument("name", metavar="COLLECTION/ID")
@collection_option
@store_option
@click.option(
    "-f",
    "--form",
    type=click.Choice((*FORMS, "file")),
    default="json",
    show_default=True,
    help="How to write the document; 'file' is the form that the store keeps.",
)
@json_option("one JSON value with collection, id, etag, revision and document")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells if it is there.")
def get(
    *,
    name: str,
    collection: str | None,
    location: str | None,
    form: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a document."""
    with open_store(location, readonly=True) as store:
        key = find_key(store, name, collection)
        record = store[key.collection].read(key.id)
        form = form_of(store) if form == "file" else form
    if quiet:
        return
    if as_json:
        screen.machine(_as_value(key.collection, key.id, record))
    else:
        screen.document(write(record.document, form), form)


@click.command()
@store_option
@json_option("one JSON value")
@click.option("-q", "--quiet", is_flag=True, help="No output: the exit code tells if it opens.")
def stats(*, location: str | None, as_json: bool, quiet: bool) -> None:
    """Print figures about the store, such as its revision."""
    with open_store(location, readonly=True) as store:
        figures = store.stats()
    if quiet:
        return
    if as_json:
        screen.machine(figures)
        return
    screen.table(("FIGURE", "VALUE"), [(name, compact(value)) for name, value in figures.items()])
