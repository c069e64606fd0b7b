"""Keeping a collection's index between runs: what to write, and what to believe of what is there.

Believed is only an index whose checksums are right, that is of this collection and whose
commit the store's history has.  The rest is as if it were not there.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.index.layered import Layered
from filestore.index.saved import Damaged, Header, MappedImage, decode, encode

if TYPE_CHECKING:
    from filestore.backend import Indexing
    from filestore.model import Revision
    from filestore.query import Fields, Source

_MOST_UNREAD: Final = 1000  # with more unreadable documents, an index is not worth keeping


class Kept(NamedTuple):
    """An index that was kept: it tells of every commit up to ``revision``.

    ``id``: of its lower image, as it was saved; empty while it was not.
    """

    layered: Layered
    sources: tuple[Source, ...]
    unread: tuple[str, ...]
    revision: Revision
    id: str


def load(indexing: Indexing, collection: str, computed: Fields) -> Kept | None:
    """What was kept of the fields that there still are; None where nothing can be believed."""
    lower = _read(indexing, collection, "lower")
    if lower is None:
        return None
    header, image = lower
    upper = _read(indexing, collection, "upper")
    if upper is not None and (
        upper[0].upper_of != header.id
        or upper[0].salt != header.salt
        or not indexing.holds(upper[0].revision, upper[0].token)
    ):
        upper = None
    if upper is None and not indexing.holds(header.revision, header.token):
        return None
    newest = header if upper is None else upper[0]
    fields = [
        field
        for field in header.fields
        if field in newest.fields and _source(field, computed) is not None
    ]
    if not fields:
        return None
    layered = Layered(
        image.only(header.fields.index(field) for field in fields),
        header.salt,
        None if upper is None else upper[1].only(newest.fields.index(field) for field in fields),
    )
    sources = [_source(field, computed) for field in fields]
    return Kept(
        layered,
        tuple(source for source in sources if source is not None),
        newest.unread,
        newest.revision,
        header.id,
    )


def save(indexing: Indexing, collection: str, kept: Kept, token: str) -> str | None:
    """Keep an index, all settled in its images, that tells of every commit up to its revision.

    ``kept.id``: of the lower image that was saved before; empty for none.  ``token``: of the
    revision.  Only what changed is written.  Returns the id of the lower image that is there
    now, None where nothing could be kept.
    """
    layered, sources, unread, revision, id = kept
    if len(unread) > _MOST_UNREAD:
        return None
    fields = tuple(
        (source, None) if isinstance(source, str) else (source.name, source.version)
        for source in sources
    )
    whole = not id or layered.lower_changed
    new = os.urandom(16).hex() if whole else id
    header = Header(
        collection, revision, token, new, None, layered.salt, fields, tuple(sorted(unread))
    )
    if whole and not indexing.save(_name(collection, "lower"), encode(layered.lower, header)):
        return None
    if layered.upper.count or not whole:
        above = header._replace(id=os.urandom(16).hex(), upper_of=new)
        if not indexing.save(_name(collection, "upper"), encode(layered.upper, above)):
            return None
    layered.lower_changed = layered.upper_changed = False
    return new


def _read(indexing: Indexing, collection: str, which: str) -> tuple[Header, MappedImage] | None:
    data = indexing.load(_name(collection, which))
    if data is None:
        return None
    try:
        header, image = decode(data)
    except Damaged:
        return None
    return (header, image) if header.collection == collection else None


def _name(collection: str, which: str) -> str:
    return f"{blake2b(collection.encode(), digest_size=8).hexdigest()}.{which}"


def _source(field: tuple[str, str | None], computed: Fields) -> Source | None:
    """What the field is now; None when it is not what it was."""
    name, version = field
    here = computed.get(name)
    if version is None:
        return name if here is None else None
    return here if here is not None and here.version == version else None
