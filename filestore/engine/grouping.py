"""Which external edits belong together: those that one operation of git made.

Nobody says that files are about to be changed by one command, but git leaves traces: a lock
while it works, a line in its log when it is done.  While an operation is under way its edits are
let gather, and then recorded as one commit that says what the operation was.  Edits that no
operation explains are recorded as they come.

Pure but for the clock and the :class:`Source`, which reads the traces.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_DOCUMENTS: Final = 1000
"""So many edits are one commit at most: the lock is held for milliseconds, not for seconds."""

MOST_BYTES: Final = 8 << 20

OPERATION_DOCUMENTS: Final = 20_000
"""The same for what one operation did; what is more is more commits, which say the same."""

OPERATION_BYTES: Final = 64 << 20

STUCK_SECONDS: Final = 2.0
"""A lock is waited for as long as files are changed: somebody may have forgotten it.

Events that are still to come are waited for as long after an operation, too.
"""

LONGEST_SECONDS: Final = 120.0
"""And for no longer than this, so that a forgotten one holds up nobody who changes files."""

LATE_SECONDS: Final = 0.5
"""How long after its last change an operation may take to write its log."""

PAUSE_SECONDS: Final = 0.3
"""How long an operation of many steps may do nothing between two of them."""

_LOOK_SECONDS: Final = 0.02
_TICK_SECONDS: Final = 0.02  # the clock of files goes in steps
_BEFORE_SECONDS: Final = 5  # an operation that nobody saw begin took no longer than that
_TEXTS: Final = 3


class Operation(NamedTuple):
    """One line of the log: something that was done.

    ``position`` grows from line to line; ``ended`` is in whole seconds since the epoch.
    """

    position: int
    ended: int
    actor: str | None
    text: str


class Look(NamedTuple):
    """The traces at one moment; times in seconds since the epoch, 0 where there is nothing.

    ``locked``: since when an operation is under way; ``stepping``: one of many steps is.
    ``changed``: when one last finished with the files, ``told`` when the log was last written.
    """

    locked: float
    stepping: bool
    changed: float
    told: float


class Source(Protocol):
    """Where operations leave their traces."""

    def look(self) -> Look | None:
        """What there is now; None where nobody would leave a trace."""

    def operations(self) -> Sequence[Operation]:
        """The last ones that change files, the oldest first."""


class Changed(NamedTuple):
    """One edit: when its file was last changed, in seconds since the epoch, and its bytes.

    ``moment`` is None for a file that is gone.
    """

    moment: float | None
    size: int


class Group(NamedTuple):
    """Edits, by their numbers, and what made them."""

    members: list[int]
    actor: str | None = None
    message: str | None = None


class Grouping:
    """What the recorder asks; in one thread at a time."""

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._clock = clock
        self._steady = steady
        self._begun: float | None = None  # since when an operation was seen under way
        self._told = 0.0  # when the log was written that was read last
        self._read = 0  # its newest operation
        self._news: list[Operation] = []  # what was new in it
        self._silent = 0.0  # when something ended just now that has not written the log
        self.at_work = False  # whether what gathers may be an operation's

    def full(self, documents: int, size: int) -> bool:
        """Whether no more may gather."""
        if self.at_work:
            return documents >= OPERATION_DOCUMENTS or size >= OPERATION_BYTES
        return documents >= MOST_DOCUMENTS or size >= MOST_BYTES

    def wait(self, newest: float, *, behind: bool = False) -> float | None:
        """In how many seconds to ask again, or None: what has gathered is to be recorded now.

        ``newest``: when the newest hint came, by the steady clock.  ``behind``: there are events
        that have not become hints yet.
        """
        look = self._source.look()
        self.at_work = False
        if look is None:
            return None
        seconds = self._under_way(look, newest)
        if seconds is not None:
            return seconds
        now, quiet = self._clock(), self._steady() - newest
        idle = abs(now - max(look.changed, look.told))
        if (idle < LATE_SECONDS and look.told < look.changed) or (behind and idle < STUCK_SECONDS):
            return _LOOK_SECONDS
        if look.stepping and min(quiet, idle) < PAUSE_SECONDS:
            return _LOOK_SECONDS
        silent = look.told < look.changed and idle < STUCK_SECONDS
        self._silent = look.changed if silent else 0.0
        self.at_work = self._begun is not None or look.told != self._told or idle < STUCK_SECONDS
        if look.told != self._told:
            found = self._source.operations()
            self._news = [one for one in found if one.position > self._read]
            self._told = look.told
            if found:
                self._read = found[-1].position
        return None

    def begins(self, newest: float) -> float | None:
        """As :meth:`wait`, but for an operation only that began since that was asked."""
        look = self._source.look()
        return None if look is None else self._under_way(look, newest)

    def _under_way(self, look: Look, newest: float) -> float | None:
        """In how many seconds to ask again while an operation is; remembers since when it was."""
        now = self._clock()
        if self._steady() - newest >= STUCK_SECONDS or now - look.locked >= LONGEST_SECONDS:
            return None
        self._begun = now if self._begun is None else self._begun
        return _LOOK_SECONDS

    def groups(self, changes: Sequence[Changed]) -> list[Group]:
        """Divide edits into commits: first those that nothing explains, then each operation's."""
        begun, self._begun = self._begun, None
        moments = [change.moment for change in changes]
        groups = divided(moments, self._news, begun, self._told + _TICK_SECONDS)
        known = begun is not None or any(group.message is not None for group in groups)
        latest = max((moment for moment in moments if moment is not None), default=0.0)
        if not known and latest > self._silent + _TICK_SECONDS:
            # Nobody's operation: no reason to hold the lock for longer.
            return [part for group in groups for part in _parts(group, changes)]
        return groups


def _parts(group: Group, changes: Sequence[Changed]) -> Iterator[Group]:
    members: list[int] = []
    size = 0
    for number in group.members:
        members.append(number)
        size += changes[number].size
        if len(members) >= MOST_DOCUMENTS or size >= MOST_BYTES:
            yield group._replace(members=members)
            members, size = [], 0
    if members:
        yield group._replace(members=members)


def divided(
    changed: Sequence[float | None],
    operations: Sequence[Operation],
    begun: float | None,
    until: float,
) -> list[Group]:
    """Which edit is of which operation.

    An edit is of the first operation that ended after it, and not long after.  ``begun``: when
    the first was seen at work, for the long ones; ``until``: when the last had ended.  Operations
    that follow upon each other are one.  Nothing tells when a file went that is gone: it goes with
    the last operation that explains another edit, or that was seen at work.
    """
    clusters: list[list[Operation]] = []
    for one in operations:
        if clusters and one.ended - clusters[-1][-1].ended <= _BEFORE_SECONDS:
            clusters[-1].append(one)
        else:
            clusters.append([one])
    ends = [(one.ended, number) for number, each in enumerate(clusters) for one in each]
    members: list[list[int]] = [[] for _ in clusters]
    earliest = [float("inf")] * len(clusters)
    rest, gone = [], []
    for number, moment in enumerate(changed):
        if moment is None:
            gone.append(number)
            continue
        # The log has whole seconds.
        at = bisect_left(ends, (int(moment), 0))
        if moment <= until and at < len(ends):
            ended, cluster = ends[at]
            first = ended - _BEFORE_SECONDS if begun is None else min(begun, ended) - 1
            if moment >= min(first, ended - _BEFORE_SECONDS):
                members[cluster].append(number)
                earliest[cluster] = min(earliest[cluster], ended)
                continue
        rest.append(number)
    home = next((found for found in reversed(members) if found), rest)
    if home is rest and not rest and clusters and begun is not None:
        home = members[-1]
    home += gone
    groups = [Group(sorted(rest))] if rest else []
    for cluster_of, found, first in zip(clusters, members, earliest, strict=True):
        if found:
            # Of those in one second the last is as likely as any.
            done = [one for one in cluster_of if one.ended > first] or cluster_of[-1:]
            same = [one for one in cluster_of if one.ended == first]
            if same and done[0] is not same[-1]:
                done.insert(0, same[-1])
            groups.append(Group(sorted(found), done[-1].actor, told(done)))
    return groups


def told(operations: Sequence[Operation]) -> str:
    """A message of what was done: of an operation of many steps the last one."""
    texts: list[str] = []
    step = ""
    for one in operations:
        name = one.text.partition(" (")[0] if " (" in one.text.partition(":")[0] else ""
        if name and name == step:
            texts.pop()
        if not texts or texts[-1] != one.text:
            texts.append(one.text)
        step = name
    more = [f"{len(texts) - _TEXTS} more"] if len(texts) > _TEXTS else []
    return "; ".join([*more, *texts[-_TEXTS:]])
