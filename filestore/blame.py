"""Who gave each field of a document the value that it has.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from filestore.diff import same
from filestore.fieldpath import FieldPath, readable
from filestore.model import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filestore.change import Change
    from filestore.model import Document, Revision


class Blame(NamedTuple):
    """A field and the commit that gave it its value.

    ``path`` leads through objects to anything that is none; a list is one field.  ``revision``
    is None where no commit that is kept did it: with ``origin`` external the file was edited
    and the store has not recorded that yet, with ``origin`` None it is older than the history.
    """

    path: FieldPath
    value: Any
    revision: Revision | None = None
    time: float | None = None
    actor: str | None = None
    message: str | None = None
    origin: Origin | None = None

    @property
    def field(self) -> str:
        """The path as people write it: ``metadata.team``."""
        return readable(self.path)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": list(self.path),
            "field": self.field,
            "value": self.value,
            "revision": self.revision,
            "time": self.time,
            "actor": self.actor,
            "message": self.message,
            "origin": None if self.origin is None else self.origin.value,
        }


def blame(document: Document, changes: Iterable[Change]) -> list[Blame]:
    """Every field of ``document`` with its last change, in the order of the paths.

    ``changes``: those of the document that are kept, in order.
    """
    fields: dict[FieldPath, Blame] = {}
    first = True
    for change in changes:
        if first:
            fields = {path: Blame(path, value) for path, value in _leaves(change.before)}
            first = False
        fields = _after(fields, change)
    if first:
        fields = {path: Blame(path, value) for path, value in _leaves(document)}
    found = []
    for path, value in _leaves(document):
        known = fields.get(path)
        if known is None or not same(known.value, value):
            known = Blame(path, value, origin=Origin.EXTERNAL)
        found.append(known)
    return sorted(found, key=lambda one: [str(step) for step in one.path])


def _after(fields: dict[FieldPath, Blame], change: Change) -> dict[FieldPath, Blame]:
    after = {}
    for path, value in _leaves(change.after):
        known = fields.get(path)
        if known is None or not same(known.value, value):
            known = Blame(
                path,
                value,
                change.revision,
                change.time,
                change.actor,
                change.message,
                change.origin,
            )
        after[path] = known
    return after


def _leaves(value: Any, path: FieldPath = ()) -> Iterable[tuple[FieldPath, Any]]:
    """What is no object, and objects with nothing in them."""
    if value is None and not path:
        return  # no document
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value
