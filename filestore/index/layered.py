"""The index of one collection, as documents change: two images and what is newer, in memory.

Lookups ask all three.  The newest are dictionaries; once there are many they
become part of the upper image, and that, once it is large, of the lower.  So a
change costs little, an index of a million documents is never made anew for a
few of them, and what is to be written when a store is closed is small too.

Nothing is taken out of an image: a document that has changed is found under its old
value too, read in vain, and left out.  Pure, and not safe for threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filestore.index.image import FEW, Hashes, Image, build, hashing, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIN_RECENT: Final = 1024
_MIN_UPPER: Final = 4096
_LOOKS: Final = 64  # look-ups after which it is worth checking mapped images whole
_MOST_KNOWN: Final = 1024  # values of a field, of which few documents have each
_MOST_KNOWN_BYTES: Final = 256
_WORTH_MEETING: Final = 16  # candidates; fewer are read sooner than compared
_RECENT_COST: Final = 500  # bytes of a document among the newest, roughly, beside 250 a field
_RECENT_FIELD_COST: Final = 250


class Layered:
    """See the module.  ``salt``: of all hashes in it."""

    def __init__(self, lower: Image, salt: bytes, upper: Image | None = None) -> None:
        self.salt = salt
        self._hash = hashing(salt)
        self.lower = lower
        self.upper = upper if upper is not None else build((), len(lower.columns))
        self._columns = len(lower.columns)
        # By column, what was asked for lately and what the images have of it.
        self._known: list[dict[bytes, tuple[int, list[str]]]]
        self._know_nothing()
        self._recent: dict[str, Hashes] = {}
        self._by_hash: list[dict[int, dict[str, None]]] = [{} for _ in range(self._columns)]
        self.lower_changed = False
        self.upper_changed = False
        self._looks = _LOOKS

    def _know_nothing(self) -> None:
        self._known = [{} for _ in range(self._columns)]

    @property
    def count(self) -> int:
        """How many documents, roughly: a changed one may count twice."""
        return self.lower.count + self.upper.count + len(self._recent)

    @property
    def single(self) -> bool:
        """Whether one image has it all: what it finds comes once, and ascending."""
        return not (self.upper.count or self._recent)

    @property
    def changed(self) -> bool:
        """Whether something is in no image that was saved or loaded."""
        return bool(self._recent) or self.lower_changed or self.upper_changed

    @property
    def nbytes(self) -> int:
        """The memory that it takes, roughly."""
        each = _RECENT_COST + _RECENT_FIELD_COST * self._columns
        return self.lower.nbytes + self.upper.nbytes + each * len(self._recent)

    def put(self, id: str, hashes: Hashes) -> None:
        """A document as it is now; all hashes None when there is none any more."""
        before = self._recent.get(id)
        if before == hashes:
            return
        self._recent[id] = hashes
        for column, by_hash in enumerate(self._by_hash):
            old = None if before is None else before[column]
            new = hashes[column]
            if new == old:
                continue
            if old is not None:
                ids = by_hash[old]
                del ids[id]
                if not ids:
                    del by_hash[old]
            if new is not None:
                by_hash.setdefault(new, {})[id] = None

    def size(self, column: int, data: bytes) -> int:
        """How many candidates there are for a value."""
        digest = self._hash(data)
        total = len(self._by_hash[column].get(digest, ()))
        for image in (self.lower, self.upper):
            low, high = image.span(column, digest)
            total += high - low
        return total

    def candidates(self, wanted: Sequence[tuple[int, bytes]]) -> list[str]:
        """The ids that may have these values in these columns; some twice, in no order.

        ``wanted``: columns with canonical bytes, at least one.
        """
        if len(wanted) == 1:
            return self.one(*wanted[0])
        pairs = [(column, self._hash(data)) for column, data in wanted]
        found: list[str] = []
        for image in (self.lower, self.upper):
            if image.count:
                found += _meeting(image, pairs)
        if self._recent:
            found += self._meeting(pairs)
        return found

    def one(self, column: int, data: bytes) -> list[str]:
        """:meth:`candidates` for one field."""
        known = self._known[column].get(data)
        if known is None:
            known = self._look(column, data)
        digest, found = known
        if self._recent:
            return [*found, *self._by_hash[column].get(digest, ())]
        return found.copy()

    def _look(self, column: int, data: bytes) -> tuple[int, list[str]]:
        """The hash of a value, and what both images have of it."""
        self._looks -= 1
        if not self._looks:
            self.lower, self.upper = self.lower.whole(), self.upper.whole()
        digest = self._hash(data)
        found = self.lower.found(column, digest)
        if self.upper.count:
            found += self.upper.found(column, digest)
        if len(found) <= FEW and len(data) <= _MOST_KNOWN_BYTES:
            known = self._known[column]
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[data] = digest, found
        return digest, found

    def _meeting(self, pairs: list[tuple[int, int]]) -> list[str]:
        every = [self._by_hash[column].get(digest) for column, digest in pairs]
        least = min((ids or {} for ids in every), key=len)
        return [id for id in least if all(ids is not None and id in ids for ids in every)]

    def fold(self) -> bool:
        """Have the images take in what is newer, if it is much; whether it was."""
        if len(self._recent) < _MIN_RECENT + self.upper.count // 2:
            return False
        self.settle()
        return True

    def settle(self) -> None:
        """Have the images take in all that is newer."""
        if self._recent:
            newest = build(sorted(self._recent.items()), self._columns, bare=True)
            self.upper = merge(self.upper, newest, bare=True)
            self.upper_changed = True
            self._recent = {}
            self._by_hash = [{} for _ in range(self._columns)]
            self._know_nothing()
        if self.upper.count > _MIN_UPPER + self.lower.count // 16:
            self.lower = merge(self.lower, self.upper, bare=False)
            self.upper = build((), self._columns)
            self.lower_changed = self.upper_changed = True
            self._know_nothing()


def _meeting(image: Image, pairs: list[tuple[int, int]]) -> list[str]:
    """The ids in an image that have all of these hashes."""
    spans = sorted(
        (high - low, column, low, high)
        for column, (low, high) in (
            (column, image.span(column, digest)) for column, digest in pairs
        )
    )
    size, column, low, high = spans[0]
    if not size:
        return []
    rows = image.rows(column, low, high)
    for _, column, low, high in spans[1:]:
        if len(rows) <= _WORTH_MEETING:
            break
        others = set(image.rows(column, low, high))
        rows = [row for row in rows if row in others]
    return image.ids(rows)
