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


_MISSING: Final = object()
_PIECE: Final = 4096  # elements of a list that are compared as a whole


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
            other = new.get(key, _MISSING)
            if value is other:
                continue
            kind = type(value)
            if kind is type(other) and kind in _EXACT and value == other:
                continue  # as most fields, and many documents have many
            if other is _MISSING:
                yield Difference((*old_path, key), Kind.REMOVED, value, None, (*old_path, key))
            else:
                yield from _compare(value, other, (*old_path, key), (*path, key))
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
    shorter = min(len(old), len(new))
    first = _alike(old, new, shorter, at_end=False)
    last = _alike(old, new, shorter - first, at_end=True)
    # As texts the items are hashable, so that deepdiff aligns the lists, and strict.
    olds = {at: text_of(old[at]) for at in range(first, len(old) - last)}
    news = {at: text_of(new[at]) for at in range(first, len(new) - last)}
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


def _alike(old: list[Any], new: list[Any], most: int, *, at_end: bool) -> int:
    """How many elements, of ``most``, are the same at the beginning or at the end.

    Pieces are compared as wholes, growing while they are the same: an element by itself
    takes ten times as long.
    """
    count, size = 0, 1
    while count < most:
        size = min(size, most - count)
        if at_end:
            ours = old[len(old) - count - size : len(old) - count]
            theirs = new[len(new) - count - size : len(new) - count]
        else:
            ours, theirs = old[count : count + size], new[count : count + size]
        if same(ours, theirs):
            count, size = count + size, min(size * 2, _PIECE)
        elif size == 1:
            break
        else:
            size //= 2
    return count


def _aligned(
    olds: dict[int, str], news: dict[int, str]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The indexes of what was taken out, of what was put in, and pairs of what was replaced."""
    if not olds or not news:
        return list(olds), list(news), []
    was, at = list(olds), list(news)
    if len(was) == len(at) == 1:
        return [], [], [(was[0], at[0])]
    from deepdiff import DeepDiff

    tree = DeepDiff(list(olds.values()), list(news.values()), view="tree").tree
    # The keys that deepdiff's results of text items can have.
    removed = [was[_index(each, use_t2=False)] for each in tree.get("iterable_item_removed", ())]
    added = [at[_index(each, use_t2=True)] for each in tree.get("iterable_item_added", ())]
    replaced = [
        (was[_index(each, use_t2=False)], at[_index(each, use_t2=True)])
        for each in tree.get("values_changed", ())
    ]
    return removed, added, replaced


def _index(level: Any, *, use_t2: bool) -> int:
    return int(level.path(output_format="list", use_t2=use_t2)[0])


def same(old: Any, new: Any) -> bool:
    """Whether two values have the same canonical bytes."""
    # What == calls equal may still be 1 and True, 0.0 and -0.0, also somewhere inside.
    if type(old) is not type(new) or old != new:
        return False
    if type(old) in _EXACT:
        return True
    # Keys are in one order in all that was decoded; sorting them takes twice as long.
    return orjson.dumps(old) == orjson.dumps(new) or text_of(old) == text_of(new)


def text_of(value: Any) -> str:
    """A text that is the same for the same values alone."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _order(difference: Difference) -> tuple[Any, ...]:
    # A key and an index meet in no one place, unless a value changed its type.
    steps = tuple((isinstance(step, str), step) for step in difference.path)
    return steps, difference.kind.value
