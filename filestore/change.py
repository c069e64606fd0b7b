"""What one commit did to one document, as the change feed tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filestore.diff import Diff
    from filestore.model import Document, Key, Origin, Revision


@dataclass(frozen=True)
class Change:
    """What one commit did to one document; ``before`` and ``after`` are None where absent.

    ``before`` of an external edit is None as well where the store never saw what was there,
    or keeps it no more.
    """

    revision: Revision
    time: float
    actor: str | None
    message: str | None
    origin: Origin
    key: Key
    before: Document | None = field(repr=False)
    after: Document | None = field(repr=False)

    @cached_property
    def diff(self) -> Diff:
        """The fields that differ; computed when first looked at."""
        from filestore.diff import diff  # deepdiff takes 57 ms to import

        return diff(self.before, self.after)
