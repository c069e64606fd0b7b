"""What differs between two documents, field by field.

Objects are compared key by key and equal parts are passed over.  Only two lists that differ
are given to deepdiff, which tells what was put in, taken out and replaced; it is imported
then, for it takes longer to import than most commits take.

Equality is that of canonical bytes: 1, 1.0 and true differ, and so do 0.0 and -0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from filestore.fieldpath import FieldPath, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filestore.model import Document


_EXACT: Final = frozenset({str, int, bool, type(None)})
"""The types whose equal values are the same."""


class Kind(StrEnum):
    """How a field differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    TYPE_CHANGED = "type_changed"
    MOVED = "moved"  # the same value is elsewhere in the same list


class Difference(NamedTuple):
    """One field that differs.

    ``path`` leads to it in the document after, for a removed one in the document before.
    ``old_path`` is where it was before; another than ``path`` only inside lists.  ``old`` and
    ``new`` are None where there is no value, and belong to the documents compared.
    """

    path: FieldPath
    kind: Kind
    old: Any
    new: Any
    old_path: FieldPath

    @property
    def field(self) -> str:
        """The path as people write it: ``metadata.tags[2]``; empty for the whole document."""
        return readable(self.path)

    @property
    def old_field(self) -> str:
        """The old path as people write it."""
        return readable(self.old_path)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without ``old`` or ``new`` where there is none."""
        result: dict[str, Any] = {
            "path": list(self.path),
            "field": self.field,
            "kind": self.kind.value,
        }
        if self.old_path != self.path:
            result["old_path"] = list(self.old_path)
        if self.kind is not Kind.ADDED:
            result["old"] = self.old
        if self.kind is not Kind.REMOVED:
            result["new"] = self.new
        return result


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences of two documents, in the order of their paths; false when there is none."""

    differences: tuple[Difference, ...] = ()

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)

    def __len__(self) -> int:
        return len(self.differences)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [difference.to_json() for difference in self.differences]


def diff(before: Document | None, after: Document | None) -> Diff:
    """What differs; None is a document that is not there.

    A whole document that came or went is one difference with an empty path.
    """
    if before is None and after is None:
        return Diff()
    if before is None:
        return Diff((Difference((), Kind.ADDED, None, after, ()),))
    if after is None:
        return Diff((Difference((), Kind.REMOVED, before, None, ()),))
    found = list(_compare(before, after, (), ()))
    found.sort(key=_order)
    return Diff(tuple(found))


def _compare(old: Any, new: Any, old_path: FieldPath, path: FieldPath) -> Iterator[Difference]:
    if same(old, new):
        return
    if type(old) is not type(new):
        yield Difference(path, Kind.TYPE_CHANGED, old, new, old_path)
    elif isinstance(old, dict):
        for key, value in old.items():
            if key in new:
                yield from _compare(value, new[key], (*old_path, key), (*path, key))
            else:
                yield Difference((*old_path, key), Kind.REMOVED, value, None, (*old_path, key))
        for key, value in new.items():
            if key not in old:
                yield Difference((*path, key), Kind.ADDED, None, value, (*path, key))
    elif isinstance(old, list):
        yield from _compare_lists(old, new, old_path, path)
    else:
        yield Difference(path, Kind.CHANGED, old, new, old_path)


def _compare_lists(
    old: list[Any], new: list[Any], old_path: FieldPath, path: FieldPath
) -> Iterator[Difference]:
    # As texts the items are hashable, so that deepdiff aligns the lists, and strict.
    olds = [text_of(item) for item in old]
    news = [text_of(item) for item in new]
    removed, added, replaced = _aligned(olds, news)
    # A value that went from one place and came to another has moved, whichever way deepdiff
    # tells it: of two that changed places, it says that both were replaced.
    places: dict[str, list[int]] = {}
    for was in sorted([*removed, *(was for was, _ in replaced)], reverse=True):
        places.setdefault(olds[was], []).append(was)
    moved: dict[int, int] = {}
    for index in sorted([*added, *(index for _, index in replaced)]):
        if places.get(news[index]):
            moved[index] = places[news[index]].pop()
    taken = set(moved.values())
    for index, was in moved.items():
        yield Difference((*path, index), Kind.MOVED, old[was], new[index], (*old_path, was))
    for was, index in replaced:
        if was not in taken and index not in moved:
            yield from _compare(old[was], new[index], (*old_path, was), (*path, index))
        elif was not in taken:
            removed.append(was)
        elif index not in moved:
            added.append(index)
    for index in added:
        if index not in moved:
            yield Difference((*path, index), Kind.ADDED, None, new[index], (*path, index))
    for was in removed:
        if was not in taken:
            at = (*old_path, was)
            yield Difference(at, Kind.REMOVED, old[was], None, at)


def _aligned(
    olds: list[str], news: list[str]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The indexes of what was taken out, of what was put in, and pairs of what was replaced."""
    from deepdiff import DeepDiff

    tree = DeepDiff(olds, news, view="tree").tree
    # The keys that deepdiff's results of text items can have.
    removed = [_index(level, use_t2=False) for level in tree.get("iterable_item_removed", ())]
    added = [_index(level, use_t2=True) for level in tree.get("iterable_item_added", ())]
    replaced = [
        (_index(level, use_t2=False), _index(level, use_t2=True))
        for level in tree.get("values_changed", ())
    ]
    return removed, added, replaced


def _index(level: Any, *, use_t2: bool) -> int:
    return int(level.path(output_format="list", use_t2=use_t2)[0])


def same(old: Any, new: Any) -> bool:
    """Whether two values have the same canonical bytes."""
    # What == calls equal may still be 1 and True, 0.0 and -0.0, also somewhere inside.
    if type(old) is not type(new) or old != new:
        return False
    return type(old) in _EXACT or text_of(old) == text_of(new)


def text_of(value: Any) -> str:
    """A text that is the same for the same values alone."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _order(difference: Difference) -> tuple[Any, ...]:
    # A key and an index meet in no one place, unless a value changed its type.
    steps = tuple((isinstance(step, str), step) for step in difference.path)
    return steps, difference.kind.value
