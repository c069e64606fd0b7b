"""Three-way merges of sequences of keys: pure, and None where the order cannot be told.

Two rules, because two kinds of lists mean different things by a place:

* :func:`by_identity`: elements that have identities.  Who is a member has been decided; only
  the order is merged.  If one side alone reordered what both have, its order counts; if both
  did, differently, there is no answer.  An element that one side has alone stays behind the
  one that it stood behind; of two runs of such elements in one place, the one that
  was first in the base goes first, else the one whose first key is less.
* :func:`by_value`: elements that are nothing but their values, each at most once in a list.
  Runs of the base that one side alone replaced are replaced; two different changes that
  touch each other have no answer, and neither has a merge that would
  double an element, lose one or bring one back.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def by_identity(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str], members: Collection[str]
) -> list[str] | None:
    """The members in their merged order; each is in ``ours`` or ``theirs``."""
    mine = [key for key in ours if key in members]
    yours = [key for key in theirs if key in members]
    shared = set(mine) & set(yours)
    spine = _spine(
        [key for key in base if key in shared],
        [key for key in mine if key in shared],
        [key for key in yours if key in shared],
    )
    if spine is None:
        return None
    place = {key: index for index, key in enumerate(base)}
    behind_mine, behind_yours = _runs(mine, shared), _runs(yours, shared)
    merged: list[str] = []
    for anchor in (None, *spine):
        if anchor is not None:
            merged.append(anchor)
        runs = [behind_mine.get(anchor, []), behind_yours.get(anchor, [])]
        runs.sort(key=lambda run: (place.get(run[0], len(place)), run[0]) if run else (-1, ""))
        merged += runs[0] + runs[1]
    return merged


def _spine(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """The order of what both sides have."""
    if ours == theirs:
        return ours
    if len(base) < len(ours):
        return None  # both added an element and put it in different places
    if ours == base:
        return theirs
    if theirs == base:
        return ours
    return None


def _runs(keys: list[str], shared: set[str]) -> dict[str | None, list[str]]:
    """What stands behind each shared key (None: in front of all) up to the next."""
    runs: dict[str | None, list[str]] = {}
    anchor: str | None = None
    for key in keys:
        if key in shared:
            anchor = key
        else:
            runs.setdefault(anchor, []).append(key)
    return runs


class _Edit(NamedTuple):
    """``base[start:end]`` became ``new``."""

    start: int
    end: int
    new: tuple[str, ...]


def by_value(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str] | None:
    """The merged sequence."""
    if any(len(set(keys)) != len(keys) for keys in (base, ours, theirs)):
        return None  # which of two equal elements a side meant, cannot be told
    mine, yours = _edits(base, ours), _edits(base, theirs)
    both = sorted({*mine, *yours})
    merged: list[str] = []
    at = 0
    before: _Edit | None = None
    for edit in both:
        # A side's own edits never touch each other.
        if before is not None and edit.start <= before.end:
            return None
        merged += base[at : edit.start]
        merged += edit.new
        at = edit.end
        before = edit
    merged += base[at:]
    return merged if _keeps_members(base, ours, theirs, merged) else None


def _keeps_members(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str], merged: list[str]
) -> bool:
    """Whether an element is in the merge exactly if the three-way rule has it there."""
    was, mine, yours = set(base), set(ours), set(theirs)
    wanted = (mine & yours) | (mine - was) | (yours - was)
    return len(merged) == len(wanted) and set(merged) == wanted


def _edits(base: Sequence[str], side: Sequence[str]) -> list[_Edit]:
    """What the side replaced; what it kept is a longest common subsequence."""
    edits: list[_Edit] = []
    at_base = at_side = 0
    for in_base, in_side in (*_kept(base, side), (len(base), len(side))):
        if in_base > at_base or in_side > at_side:
            edits.append(_Edit(at_base, in_base, tuple(side[at_side:in_side])))
        at_base, at_side = in_base + 1, in_side + 1
    return edits


def _kept(base: Sequence[str], side: Sequence[str]) -> list[tuple[int, int]]:
    """The longest increasing run of places: with unique elements, what stays in order."""
    place = {key: index for index, key in enumerate(base)}
    pairs = [(place[key], index) for index, key in enumerate(side) if key in place]
    ends: list[int] = []  # the least place that a run of each length ends in
    last: list[int] = []  # the pair that it is
    before: list[int] = []  # for each pair the one in front of it in its run
    for number, (in_base, _) in enumerate(pairs):
        length = bisect_left(ends, in_base)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [in_base]
        last[length : length + 1] = [number]
    kept: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        kept.append(pairs[number])
        number = before[number]
    return kept[::-1]
