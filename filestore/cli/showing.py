"""Commits and differences as people and programs read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from filestore.diff import Kind, diff
from filestore.model import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filestore.change import Change
    from filestore.diff import Diff, Difference
    from filestore.model import Document, Key

Line: TypeAlias = "tuple[str, str]"
"""A style of rich's and a text."""

_STYLES: Final = {"created": "green", "deleted": "red", "updated": "yellow"}
_MARKS: Final = {"created": "+", "deleted": "-", "updated": "~"}
_NAMED: Final = 6  # fields that a line of the log names


def when(time: float) -> str:
    """A moment in local time, to the second."""
    try:
        moment = datetime.fromtimestamp(time, tz=UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return f"@{time:g}"  # a clock gone wild, or a journal of somebody else's making
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def kind_of(before: Document | None, after: Document | None) -> str:
    """``created``, ``updated`` or ``deleted``."""
    return "created" if before is None else "deleted" if after is None else "updated"


def by_commit(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """The changes of each commit together."""
    for _, group in groupby(changes, key=lambda change: change.revision):
        yield list(group)


def commit_value(changes: Sequence[Change], *, patch: bool) -> dict[str, Any]:
    """A commit for programs; with ``patch`` also the fields that differ."""
    first = changes[0]
    return {
        "revision": first.revision,
        "time": first.time,
        "actor": first.actor,
        "message": first.message,
        "origin": first.origin.value,
        "changes": [
            change_value(each.key, each.before, each.after, each.diff if patch else None)
            for each in changes
        ],
    }


def change_value(
    key: Key, before: Document | None, after: Document | None, fields: Diff | None
) -> dict[str, Any]:
    """What became of one document, for programs."""
    value: dict[str, Any] = {
        "collection": key.collection,
        "id": key.id,
        "kind": kind_of(before, after),
    }
    if fields is not None:
        value["diff"] = fields.to_json()
    return value


def commit_lines(changes: Sequence[Change], *, patch: bool) -> Iterator[Line]:
    """A commit for people."""
    first = changes[0]
    words = [f"revision {first.revision}", when(first.time)]
    if first.actor is not None:
        words.append(first.actor)
    if first.origin is not Origin.LOCAL:
        words.append(f"({first.origin.value})")
    yield "bold", "  ".join(words)
    if first.message is not None:
        for line in first.message.splitlines():
            yield "italic", f"    {line}"
    for each in changes:
        yield from change_lines(each.key, each.before, each.after, patch=patch)


def change_lines(
    key: Key, before: Document | None, after: Document | None, *, patch: bool
) -> Iterator[Line]:
    """What became of one document, for people."""
    kind = kind_of(before, after)
    head = f"  {_MARKS[kind]} {key}"
    if patch:
        yield _STYLES[kind], f"{head}  {kind}"
        for style, line in field_lines(before, after):
            yield style, f"      {line}"
    elif kind == "updated":
        yield _STYLES[kind], f"{head}  {_names(diff(before, after))}"
    else:
        yield _STYLES[kind], f"{head}  {kind}"


def field_lines(before: Document | None, after: Document | None) -> Iterator[Line]:
    """The fields that differ, old and new; those of a document that came or went one by one."""
    for each in diff(before or {}, after or {}):
        yield _field_line(each)


def _field_line(each: Difference) -> Line:
    old, new = _compact(each.old), _compact(each.new)
    if each.kind is Kind.ADDED:
        return "green", f"+ {each.field}: {new}"
    if each.kind is Kind.REMOVED:
        return "red", f"- {each.field}: {old}"
    if each.kind is Kind.MOVED:
        return "cyan", f"> {each.field}: {new} (was {each.old_field})"
    told = " (another type)" if each.kind is Kind.TYPE_CHANGED else ""
    return "yellow", f"~ {each.field}: {old} -> {new}{told}"


def _names(fields: Diff) -> str:
    names = list(dict.fromkeys(each.field for each in fields))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
