"""What a set writes: the fields that changed, merged into the document that is there.

Pure.  Whoever keeps the fields tracks what was assigned; changes inside
dictionaries are found by comparing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filestore.model import Document


def changed_fields(
    marked: Collection[str],
    fields: Document,
    seen: Mapping[str, Any],
    maps: Mapping[str, Document],
) -> tuple[set[str], dict[str, Document]]:
    """The names of ``fields`` that were assigned, and the maps changed only inside.

    ``marked``: names that were assigned as the tracker has it.  ``seen``: values that
    nothing tracks, as they were last read or written.  ``maps``: the same of maps whose
    keys are merged one by one; those that changed are returned with what they were.
    """
    assigned = {name for name in marked if name in fields}
    assigned.update(
        name for name, value in seen.items() if name in fields and fields[name] != value
    )
    inside = {
        name: before
        for name, before in maps.items()
        if name not in assigned and fields.get(name) is not None and fields[name] != before
    }
    return assigned, inside


def merged(
    current: Document | None,
    fields: Document,
    assigned: Collection[str],
    inside: Mapping[str, Document],
) -> Document:
    """The document to write.

    ``fields``: all fields of the resource, None for null.  ``inside``: the maps
    of which only some keys changed, with what they were before.  With nothing
    there or nothing changed, all fields are written.
    """
    document = dict(current or {})
    if current is None or not (assigned or inside):
        document.update(fields)
    else:
        document.update((name, fields[name]) for name in assigned)
        for name, before in inside.items():
            document[name] = merged_map(document.get(name) or {}, before, fields[name])
    return {name: value for name, value in document.items() if value is not None}


def merged_map(current: Document, before: Document, after: Document) -> Document:
    """``current`` with what was done between ``before`` and ``after``."""
    result = {key: value for key, value in current.items() if key in after or key not in before}
    result.update(
        (key, value) for key, value in after.items() if key not in before or before[key] != value
    )
    return result


def patch_of(
    fields: Document, assigned: Collection[str], inside: Mapping[str, Document]
) -> Document | None:
    """What :func:`merged` does to a document that is there, as a merge patch (RFC 7386).

    None when it is not one: nothing changed, so that everything is written, or a
    field was assigned whose value a patch would merge instead of replacing it.
    """
    if not (assigned or inside) or any(isinstance(fields[name], dict) for name in assigned):
        return None
    patch = {name: fields[name] for name in assigned}
    for name, before in inside.items():
        after = fields[name]
        patch[name] = {
            key: after.get(key)
            for key in {**before, **after}
            if key not in before or before[key] != after.get(key)
        }
    return patch
