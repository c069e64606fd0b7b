"""Dropping the part of the journal that need not be kept: whole segments, oldest first.

Nothing is rewritten, so writers wait for no more than the unlinking.  What recovery
needs is what lies past the checkpoint, and stays.  Whoever dies in between has dropped
some of what was to be dropped: what is left is a journal that begins later.  Each
unlinking is synced before the next, so that a power cut leaves no gap.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from filestore.engine.fs import sync_folder
from filestore.engine.ground import Durability
from filestore.retention import Span

if TYPE_CHECKING:
    from filestore.engine.ground import Ground


class Compactor:
    """Compaction by one handle, under the write lock."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._begun: dict[int, tuple[int, float | None]] = {}

    def run(self, newest: int, checkpoint: int) -> int:
        """Drop what the settings let go of; returns how many segments.  Raises OSError."""
        ground = self._ground
        journal, fs = ground.journal, ground.fs
        numbers = journal.numbers()
        if len(numbers) < 2:
            return 0
        spans: list[Span] = []
        for number in numbers:
            header = journal.header(number)
            if header is None:
                break
            spans.append(Span(header.first, journal.size(number), self._begin(number, header.seed)))
        count = ground.retention.expired(spans, newest, time.time())
        while count and spans[count].first > checkpoint + 1:
            count -= 1
        for number in numbers[:count]:
            fs.unlink(journal.path(number))
            self._begun.pop(number, None)
            if ground.durability is not Durability.OFF:
                sync_folder(fs, ground.layout.journal)
        return count

    def _begin(self, number: int, seed: int) -> float | None:
        known = self._begun.get(number)
        if known is None or known[0] != seed or known[1] is None:
            known = self._begun[number] = (seed, self._ground.journal.begun(number))
        return known[1]
