"""Doing to a store in a database what only other programs would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filestore.backends.sql.backend import SqlBackend

if TYPE_CHECKING:
    from filestore import Store


def carry_out(backend: SqlBackend, *texts: str) -> None:
    """Carry out SQL behind the store's back; its memory of documents is wiped."""
    session = backend._sessions.take()
    try:
        for text in texts:
            session.say(text)
    finally:
        backend._sessions.give(session)
    backend._reads.forget()


def spoil(store: Store, collection: str, id: str) -> None:
    """Cut a document's text short."""
    backend = store._backend
    assert isinstance(backend, SqlBackend)
    carry_out(
        backend,
        "UPDATE filestore_documents SET data = '{'"
        f" WHERE collection = '{collection}' AND id = '{id}'",
    )
