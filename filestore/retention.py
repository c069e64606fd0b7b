"""How much of a store's history is kept.  Pure.

What ``filestore.yaml`` can say, each line by itself or several in one::

    retention: {age: 30d}             # what is younger than thirty days
    retention: {revisions: 10000}     # the newest ten thousand commits
    retention: {bytes: 64MiB}         # what a journal of that size holds; the default
    history: none                     # no more than recovery and the change feed need

A commit is dropped when any of the limits that are given is past.  The journal is dropped by
whole segments, oldest first, and so that at least what the limits say is kept.  Segments
are made small enough for what is kept beyond that to stay in proportion.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARE: Final = 8
"""A segment holds at most this part of what is kept."""

LEAST_COMMITS: Final = 64
"""But no fewer commits than these, for beginning a segment takes two syncs."""

FEED_SECONDS: Final = 60.0
"""What is younger is kept whatever age and revisions say: other processes' feeds read it."""

# Compiled for those who have such settings.
_AGE: Final = r"([0-9]+(?:\.[0-9]+)?) ?([smhdw])"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES: Final = r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]i?)?B"
_UNITS: Final = {
    None: 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}
_MOST: Final = 1 << 62


class Span(NamedTuple):
    """A segment of the journal: its first revision, its size and when it was begun.

    ``begun``: the time of its first commit, None where unknown.
    """

    first: int
    bytes: int
    begun: float | None


class Retention(NamedTuple):
    """Limits to what is kept, None where there is none; ``age`` in seconds."""

    age: float | None = None
    revisions: int | None = None
    bytes: int | None = None

    @property
    def nothing(self) -> bool:
        """Whether nothing is to be looked back at."""
        return self.revisions == 0

    def segment_bytes(self, most: int, least: int) -> int:
        """How large a segment grows before the next begins."""
        if self.bytes is None:
            return most
        return min(most, max(least, self.bytes // SHARE))

    @property
    def segment_commits(self) -> int | None:
        """How many commits a segment takes before the next begins."""
        if self.revisions is None:
            return None
        return max(LEAST_COMMITS, self.revisions // SHARE)

    @property
    def segment_seconds(self) -> float | None:
        """How old a segment grows before the next begins."""
        return None if self.age is None else self.age / SHARE

    def expired(self, segments: Sequence[Span], newest: int, now: float) -> int:
        """How many of the oldest segments can go; never the last."""
        total = sum(segment.bytes for segment in segments)
        count = 0
        for segment, following in itertools.pairwise(segments):
            too_large = self.bytes is not None and total > self.bytes
            # The next one's first commit is no older than this one's last.
            ended = now if following.begun is None else following.begun
            too_many = self.revisions is not None and newest - following.first + 1 >= self.revisions
            too_old = self.age is not None and now - ended > self.age
            if not (too_large or ((too_many or too_old) and now - ended > FEED_SECONDS)):
                break
            total -= segment.bytes
            count += 1
        return count


DEFAULT: Final = Retention(bytes=64 << 20)


def parse(fields: Mapping[str, object]) -> Retention:
    """What the settings say.  Raises ValueError, whose message names the setting."""
    history, limits = fields.get("history"), fields.get("retention")
    if history is not None:
        if history != "none":
            raise ValueError(f"history can only be none, not {history!r:.60}: see retention")
        if limits is not None:
            raise ValueError("history: none keeps nothing: leave out retention, or history")
        return Retention(revisions=0)
    if limits is None:
        return DEFAULT
    if not isinstance(limits, dict) or not limits:
        raise ValueError("retention must be some of age, revisions and bytes: {age: 30d}")
    unknown = limits.keys() - {"age", "revisions", "bytes"}
    if unknown:
        raise ValueError(
            f"retention knows age, revisions and bytes, not {', '.join(sorted(map(str, unknown)))}"
        )
    return Retention(
        _age(limits["age"]) if "age" in limits else None,
        _revisions(limits["revisions"]) if "revisions" in limits else None,
        _bytes(limits["bytes"]) if "bytes" in limits else None,
    )


def _age(value: object) -> float:
    match = re.fullmatch(_AGE, value) if isinstance(value, str) else None
    if match is None or not 0 < (age := float(match[1]) * _SECONDS[match[2]]) < _MOST:
        raise ValueError(f"retention: age must be such as 12h, 30d or 52w, not {value!r:.60}")
    return age


def _revisions(value: object) -> int:
    if type(value) is not int or not 0 < value < _MOST:
        raise ValueError(
            f"retention: revisions must be a number from 1 on, not {value!r:.60}; to keep none,"
            " say history: none"
        )
    return value


def _bytes(value: object) -> int:
    if type(value) is int and 0 < value < _MOST:
        return value
    match = re.fullmatch(_BYTES, value) if isinstance(value, str) else None
    if match is not None:
        count = float(match[1]) * _UNITS["k" if match[2] == "K" else match[2]]
        if 0 < count < _MOST:
            return int(count)
    raise ValueError(f"retention: bytes must be such as 64MiB or 1GB, not {value!r:.60}")
