"""How three files of one path become a merge: the same for git's driver and for its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore import conflict_text
from filestore.codec import decode
from filestore.diff import text_of
from filestore.merge import merge, whole

if TYPE_CHECKING:
    from filestore.codec import Codec
    from filestore.merge import Merged
    from filestore.model import Document

UNSETTLED: Final = "(conflict)"
"""What a field is said to have had where the base is itself a merge that was in conflict."""


def combine(base: Document | None, ours: Document | None, theirs: Document | None) -> Merged:
    """Merge, unless they are not one document: then all of it is one conflict."""
    if are_strangers(base, ours, theirs):
        return whole(base, ours, theirs)
    return merge(base, ours, theirs)


def are_strangers(
    base: Document | None, ours: Document | None, theirs: Document | None
) -> bool:  # fmt: skip
    """Whether they name different resources: git guesses at renames by likeness.

    A document that was deleted and one that was added in its stead look like one that was renamed,
    and what the other side did to the first would be merged into the second.
    """
    sides = (base, ours, theirs)
    names = {text_of(document["id"]) for document in sides if document and "id" in document}
    return base is not None and len(names) > 1


def base_of(codec: Codec, raw: bytes) -> Document | None:
    """The base: none of a document that both sides added.

    Where two branches have several bases, git merges those first, and what is in conflict there
    stands in the base as a conflict.  Neither side can have left such a field as it was.
    Raises Corrupt.
    """
    if not raw.strip():
        return None
    held = conflict_text.read(raw)
    if held is None or held.base is None:
        return decode(codec.parse(raw))
    inner = combine(*(optional(codec, side) for side in (held.base, held.ours, held.theirs)))
    return inner.settle(lambda _: UNSETTLED).document


def optional(codec: Codec, raw: bytes) -> Document | None:
    """The document of a file; None for an empty one.  Raises Corrupt."""
    return decode(codec.parse(raw)) if raw.strip() else None
