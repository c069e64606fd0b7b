"""Two places with documents, compared: what may differ is read, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from filestore.backend import Entry
from filestore.codec import canonical
from filestore.collection import ReadCollection
from filestore.collector import BULK
from filestore.errors import InvalidDocument
from filestore.model import Key
from filestore.past import Past

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filestore.backend import Unreadable
    from filestore.model import Document
    from filestore.plan import Documents

Held: TypeAlias = "bytes | Unreadable | None"
"""A document's canonical bytes, why it cannot be read, or None where there is none."""


class Pair(NamedTuple):
    """A document in both places."""

    id: str
    one: Held
    other: Held


def differing(
    before: Documents, after: Documents
) -> Iterator[tuple[Key, bytes | None, bytes | None] | Unreadable]:
    """The documents that differ, by key, with their canonical bytes in both places.

    In place of one that cannot be read there is its error.  Of two moments of one history only
    what was changed in between is read.  Raises InvalidDocument for what no store can hold.
    """
    if isinstance(before, Past) and isinstance(after, Past):
        suspects = before.suspects(after)
        if suspects is not None:
            for collection, ids in sorted(suspects.items()):
                yield from _differing(collection, before[collection], after[collection], ids)
            return
    in_before, in_after = set(before), set(after)
    for collection in sorted(in_before | in_after):
        one = before[collection] if collection in in_before else {}
        other = after[collection] if collection in in_after else {}
        yield from _differing(collection, one, other, None)


def _differing(
    collection: str,
    one: Mapping[str, Document],
    other: Mapping[str, Document],
    ids: Collection[str] | None,
) -> Iterator[tuple[Key, bytes | None, bytes | None] | Unreadable]:
    for id, old, new in pairs(collection, one, other, ids):
        if isinstance(old, Exception):
            yield old
        elif isinstance(new, Exception):
            yield new
        elif old != new:
            yield Key(collection, id), old, new


def pairs(
    collection: str,
    one: Mapping[str, Document],
    other: Mapping[str, Document],
    ids: Iterable[str] | None = None,
) -> Iterator[Pair]:
    """The documents of a collection in two places, by id; of these ids or all there are."""
    wanted = sorted({*one, *other} if ids is None else ids)
    for begin in range(0, len(wanted), BULK):
        chunk = wanted[begin : begin + BULK]
        ones, others = (_held(collection, each, chunk) for each in (one, other))
        for id in chunk:
            yield Pair(id, ones.get(id), others.get(id))


def _held(
    collection: str, documents: Mapping[str, Document], ids: Sequence[str]
) -> dict[str, bytes | Unreadable]:
    if isinstance(documents, ReadCollection):
        return {
            id: entry.data if isinstance(entry, Entry) else entry
            for id, entry in documents.entries(ids)
        }
    return {id: _encoded(collection, id, documents[id]) for id in ids if id in documents}


def _encoded(collection: str, id: str, document: Document) -> bytes:
    try:
        return canonical(document)
    except InvalidDocument as error:
        key = Key(collection, id)
        raise InvalidDocument(f"{key} cannot be stored: {error}", key=key) from error
