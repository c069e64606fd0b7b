"""Three-way merges of documents as values: pure, and a conflict is a value.

The rules, for any place in a document, where *same* is the equality of canonical bytes:

* Both sides are the same: that.  One side is the same as the base: the other one.  Absence is a
  value like any other here, so a side that removed a field wins over one that left it alone.
* Two objects, where the base has an object or nothing: key by key.
* Two lists, where the base has a list or nothing.  If the elements of all three are objects that
  have one of :data:`IDENTITIES` (the first that all of them have, as text or integer, each
  value once in a list), element by element, like an object with the identities as
  keys; else as :func:`filestore.sequence.by_value` tells, and as a whole where that can't.
* Anything else is a conflict: a scalar that both changed, a change against a removal, two
  changes of which one changed the type.

A document that is not there is None.  Two documents that were added under one key are merged
as if the base was ``{}``.

M1: ``merge(b, b, x) = merge(b, x, b) = merge(x', x, x) = x``, for any ``x'``.
M2: exchanging ours and theirs exchanges the sides of each conflict and nothing else.
M3: a field that one side alone changed is in the result as that side has it, and a value
that no side has is nowhere in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from filestore.diff import same, text_of
from filestore.fieldpath import FieldPath, readable
from filestore.sequence import by_identity, by_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filestore.model import Document

IDENTITIES: Final = ("id", "uuid", "key", "name")
"""The fields that may tell the elements of a list apart, in the order in which they are tried."""


class Absent(Enum):
    """The type of :data:`ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Nothing is there; null is something."""


class Side(StrEnum):
    """One of the three documents."""

    BASE = "base"
    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the three have in a place where they can't be merged; ABSENT for nothing."""

    base: Any
    ours: Any
    theirs: Any

    def of(self, side: Side) -> Any:
        """What that side has."""
        if side is Side.BASE:
            return self.base
        return self.ours if side is Side.OURS else self.theirs


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A place that can't be merged.

    ``path`` leads there in :attr:`Merged.tree`; it is empty for a whole document.
    """

    path: FieldPath
    choice: Choice

    @property
    def field(self) -> str:
        """The path as people write it: ``metadata.tags``; empty for the whole document."""
        return readable(self.path)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a side where nothing is has no field."""
        result: dict[str, Any] = {"path": list(self.path), "field": self.field}
        for side in Side:
            value = self.choice.of(side)
            if value is not ABSENT:
                result[side.value] = value
        return result


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge: a document's value in which a :class:`Choice` stands where there is a conflict.

    ``tree`` is ABSENT for a document that is gone.  Values are shared with the documents
    that were merged.
    """

    tree: Any
    conflicts: tuple[FieldConflict, ...] = ()

    @property
    def document(self) -> Document | None:
        """The merged document; where there is a conflict, with what the base has."""
        return self.take(Side.BASE)

    def take(self, side: Side) -> Document | None:
        """The merged document with what that side has wherever there is a conflict."""
        return _whole(_settled(self.tree, (), lambda conflict: conflict.choice.of(side)))

    def settle(self, choose: Callable[[FieldConflict], Any]) -> Merged:
        """Put in the place of each conflict what ``choose`` says.

        That is a value, ABSENT, or the conflict's own ``choice`` to leave it.
        """
        return _merged(_settled(self.tree, (), choose))


def merge(base: Document | None, ours: Document | None, theirs: Document | None) -> Merged:
    """Merge what became of a document on two sides; None is a document that is not there."""
    sides = (ABSENT if side is None else side for side in (base, ours, theirs))
    return _merged(_merge(*sides))


def whole(base: Document | None, ours: Document | None, theirs: Document | None) -> Merged:
    """No merge: one conflict of three whole documents."""
    sides = (ABSENT if side is None else side for side in (base, ours, theirs))
    return _merged(Choice(*sides))


def _merged(tree: Any) -> Merged:
    return Merged(tree, tuple(_conflicts(tree, ())))


def _same(one: Any, other: Any) -> bool:
    if one is ABSENT or other is ABSENT:
        return one is other
    return same(one, other)


def _merge(base: Any, ours: Any, theirs: Any) -> Any:
    if _same(ours, theirs) or _same(base, theirs):
        return ours
    if _same(base, ours):
        return theirs
    if type(ours) is type(theirs) and (base is ABSENT or type(base) is type(ours)):
        if isinstance(ours, dict):
            return _merge_objects({} if base is ABSENT else base, ours, theirs)
        if isinstance(ours, list):
            merged = _merge_lists([] if base is ABSENT else base, ours, theirs)
            if merged is not None:
                return merged
    return Choice(base, ours, theirs)


def _merge_objects(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, Any]:
    merged = {}
    for key in sorted({*ours, *theirs}):
        value = _merge(base.get(key, ABSENT), ours.get(key, ABSENT), theirs.get(key, ABSENT))
        if value is not ABSENT:
            merged[key] = value
    return merged


def _merge_lists(base: list[Any], ours: list[Any], theirs: list[Any]) -> list[Any] | None:
    lists = (base, ours, theirs)
    for name in IDENTITIES:
        keyed = [_by_identity(items, name) for items in lists]
        if None not in keyed:
            was, mine, yours = (items or {} for items in keyed)
            merged = _merge_objects(was, mine, yours)
            order = by_identity(list(was), list(mine), list(yours), merged)
            return None if order is None else [merged[key] for key in order]
    texts = [[text_of(item) for item in items] for items in lists]
    order = by_value(*texts)
    if order is None:
        return None
    values = {
        text: item
        for names, items in zip(texts, lists, strict=True)
        for text, item in zip(names, items, strict=True)
    }
    return [values[text] for text in order]


def identity_of(items: list[Any]) -> str | None:
    """The field that tells the elements of a list apart; None where there is none."""
    return next((name for name in IDENTITIES if _by_identity(items, name) is not None), None)


def _by_identity(items: list[Any], name: str) -> dict[str, Any] | None:
    """The elements by their identities; None where one has none, or two have the same."""
    keyed: dict[str, Any] = {}
    for item in items:
        identity = item.get(name) if isinstance(item, dict) else None
        if type(identity) not in (str, int):
            return None
        keyed[text_of(identity)] = item
    return keyed if len(keyed) == len(items) else None


def _conflicts(node: Any, path: FieldPath) -> Iterator[FieldConflict]:
    if isinstance(node, Choice):
        yield FieldConflict(path, node)
    elif isinstance(node, dict | list):
        for step, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _conflicts(value, (*path, step))


def _settled(node: Any, path: FieldPath, choose: Callable[[FieldConflict], Any]) -> Any:
    if isinstance(node, Choice):
        return choose(FieldConflict(path, node))
    if isinstance(node, dict):
        fields = ((key, _settled(value, (*path, key), choose)) for key, value in node.items())
        return {key: value for key, value in fields if value is not ABSENT}
    if isinstance(node, list):
        items = (_settled(value, (*path, at), choose) for at, value in enumerate(node))
        return [value for value in items if value is not ABSENT]
    return node


def _whole(tree: Any) -> Document | None:
    if tree is ABSENT:
        return None
    document: Document = tree
    return document
