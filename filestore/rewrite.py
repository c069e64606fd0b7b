"""Reading a document, deciding on it and writing it, in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.model import Document
    from filestore.store import Store

_ATTEMPTS: Final = 5
"""How often to decide anew when an editor changes the same document meanwhile."""


def rewrite(
    store: Store, collection: str, id: str, after: Callable[[Document | None], Document | None]
) -> Document | None:
    """Replace a document by what ``after`` makes of it; returns that.

    None is a document that is not there, to ``after`` and from it.  It runs under the store's
    write lock, several times if need be; what it raises leaves everything as it was.  Takes part
    in the thread's transaction, where there is one.
    """
    documents = store[collection]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with store.transaction():
                before = documents.get(id)
                document = after(before)
                if document is not None:
                    documents[id] = document
                elif before is not None:
                    del documents[id]
            return document
        except Conflict:  # an editor saved it after it was read
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
