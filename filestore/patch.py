"""JSON merge patch (RFC 7386): a document that says how to change another.

A patch's object is merged into the target's, field by field; null removes the field;
anything else, lists too, replaces what was there.  So a patch can't set a field to null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filestore.codec import MAX_DEPTH
from filestore.errors import InvalidDocument

if TYPE_CHECKING:
    from filestore.model import Document


def merge_patch(document: Document, patch: Document) -> Document:
    """The document that the patch makes of ``document``, which it takes over and changes.

    The patch is not changed, and the result shares no list and no dict with it.
    Raises InvalidDocument for a patch that is no dict, or that is nested more deeply than a
    document can be.
    """
    if not isinstance(patch, dict):
        raise InvalidDocument(f"a merge patch of a document is a dict, not {type(patch).__name__}")
    _merge(document, patch)
    return document


def apply(target: Any, patch: Any) -> Any:
    """What RFC 7386 calls MergePatch: for any JSON values, neither of which is changed."""
    if not isinstance(patch, dict):
        return _copied(patch, 0)
    result = _copied(target, 0) if isinstance(target, dict) else {}
    _merge(result, patch)
    return result


def _merge(target: Any, patch: Any) -> None:
    merges = [(target, patch, 0)]
    while merges:
        into, changes, depth = merges.pop()
        _check(depth)
        for name, value in changes.items():
            if value is None:
                into.pop(name, None)
            elif isinstance(value, dict):
                inner = into.get(name)
                if not isinstance(inner, dict):
                    inner = into[name] = {}
                merges.append((inner, value, depth + 1))
            else:
                into[name] = _copied(value, depth + 1)


def _copied(value: Any, depth: int) -> Any:
    """A copy that shares no list and no dict with the value."""
    if not isinstance(value, dict | list):
        return value
    result: Any = {} if isinstance(value, dict) else []
    copies: list[tuple[Any, Any, int]] = [(value, result, depth)]
    while copies:
        source, copy, depth = copies.pop()
        _check(depth)
        if isinstance(source, dict):
            copy.update(source)
            inside: Any = source.items()
        else:
            copy.extend(source)
            inside = enumerate(source)
        for name, inner in inside:
            if isinstance(inner, dict | list):
                copy[name] = {} if isinstance(inner, dict) else []
                copies.append((inner, copy[name], depth + 1))
    return result


def _check(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidDocument(
            f"the patch or the document is nested more than {MAX_DEPTH} deep"
            " (does something contain itself?)"
        )
