"""Making commits of external edits: once each, whoever is the first to see them.

Of all handles that have a store open, in all processes, one is the *recorder*: it
holds a lock on ``.filestore/state``, which goes with its holder.  It alone has
the catalog.  What may have been edited comes to it as *hints*: from events, from
reads that found a file changed, from going through the tree.  A hint says nothing but
where to look: the document is read, and compared by etag with what the journal and the
catalog say that it is.  Only if it differs the write lock is taken, all that is
committed is published, so that what differs still is an edit, and a commit of origin
``external`` is appended.

A recorder that dies leaves files that are not as the catalog says, and the next one
finds them: nothing is forgotten, nothing recorded twice.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from filestore.collector import paused
from filestore.engine import recover
from filestore.engine.election import Election
from filestore.engine.grouping import Changed, Grouping
from filestore.engine.ledger import Ledger
from filestore.engine.reflog import Reflog
from filestore.engine.survey import walk
from filestore.engine.tree import storage_error
from filestore.engine.verify import Suspect, Verifier, learn
from filestore.errors import FilestoreError, LockTimeout
from filestore.model import Op, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from filestore.engine.catalog import Catalog, Differing
    from filestore.engine.ground import Ground
    from filestore.engine.grouping import Group
    from filestore.engine.ledger import Moves
    from filestore.engine.reads import Reads
    from filestore.engine.record import Etags
    from filestore.engine.shelf import Shelf
    from filestore.engine.tree import FileEntry
    from filestore.engine.verify import Found
    from filestore.engine.writer import Writer
    from filestore.model import Key

_PATIENCE_SECONDS: Final = 0.2
_PUBLISHING_SECONDS: Final = 0.05
_LOOKED_AT: Final = 250  # so many documents are read at a time, a few times to a commit
_ASK_SECONDS: Final = 0.01  # between two looks whether another has recorded
_OPEN_SECONDS: Final = 0.25  # how long a file that is being written to is waited for
_MOST_UNPROVEN: Final = 50_000


class Hint(NamedTuple):
    """Where to look.

    ``touched``: the file was written to, so its signature proves nothing.  ``was``: what it
    was when it was last read; ``now``: what it was then, and was found to be still.
    ``moves``: how often files were moved to that name and from it.
    """

    touched: bool
    being_written: bool
    since: float
    was: FileEntry | None
    now: FileEntry | None
    moves: Moves


_NO_MOVES: Final = (0, 0)
_BLANK: Final = Hint(False, False, 0.0, None, None, _NO_MOVES)


class Recorder:
    """The recorder of one handle, elected or not.

    Hints and commits come from any thread; :meth:`round`, :meth:`survey` and what they call
    run in one thread at a time (``mutex``).
    """

    def __init__(self, ground: Ground, reads: Reads, writer: Writer, shelf: Shelf) -> None:
        self._ground = ground
        self._fs = ground.fs
        self._layout = ground.layout
        self._reads = reads
        self._writer = writer
        self.ledger = Ledger(ground, reads, shelf, self.suspect)
        self._verifier = Verifier(ground, reads)
        self._election = Election(ground)
        self.mutex = threading.Lock()
        self.pace = self.ledger.pace
        self.stopping = False
        self.heard: Callable[[], float] = lambda: 0.0  # until when all events have become hints
        self.passes = 0
        self.recorded = 0  # commits
        self._begin()

    def _begin(self) -> None:
        self._hints: dict[str, Hint] = {}
        self._folders: dict[str, bool] = {}  # to be gone through, "" for all
        self._unproven: dict[str, None] = {}  # of which events told no more than such a publishing
        self._explained: list[str] = []  # whose moves were seen already
        self._pushed_back: list[str] = []
        self._edits: dict[str, Found] = {}  # to be recorded in the next commit
        self._edited_bytes = 0
        self._newest = time.monotonic()  # when the newest hint came
        self._locked_out = False  # whether others kept the lock from this handle
        self._asked = 0  # when somebody wanted the whole tree gone through, in nanoseconds
        self._grouping = Grouping(Reflog(self._fs, self._layout.root))

    # -- hints, from any thread -----------------------------------------------------

    @property
    def elected(self) -> bool:
        return self._election.won

    def hint(
        self,
        name: str,
        *,
        touched: bool,
        being_written: bool = False,
        was: FileEntry | None = None,
        now: FileEntry | None = None,
        moves: Moves = _NO_MOVES,
    ) -> None:
        """A document's file may have been edited."""
        if not self._election.won:
            return  # whoever is elected next goes through the whole tree
        old = self._hints.get(name)
        if old is not None:
            touched = touched or old.touched
            was = old.was or was
            moves = old.moves[0] + moves[0], old.moves[1] + moves[1]
        self._newest = time.monotonic()
        since = old.since if old is not None else self._newest
        self._hints[name] = Hint(touched, being_written, since, was, now, moves)

    def touched(self, names: Iterable[str]) -> None:
        """Many files were written to, of which nothing was known.

        As :meth:`hint` for each, with one hint for all: the collector would go through those of
        a checkout over and over.
        """
        if not self._election.won:
            return
        self._newest = now = time.monotonic()
        hints, same = self._hints, Hint(True, False, now, None, None, _NO_MOVES)
        for name in names:
            if name in hints:
                self.hint(name, touched=True)
            else:
                hints[name] = same

    def explained(self, names: Iterable[str]) -> None:
        """Files came to these names that are what this handle committed, and just that.

        There is nothing to look at: the catalog learns them with the commit, which was told before.
        """
        if self._election.won:
            self._explained.extend(names)

    def noticed(self, was: FileEntry) -> None:
        """A read found a document that is not what it was."""
        self.hint(self._layout.name(was.path), touched=True, was=was)

    def suspect(self, below: str = "", *, gone: bool = True) -> None:
        """A folder, or the whole tree, may hold anything: have it gone through.

        ``below``: its path below the root and a slash.  ``gone``: documents may be missing, too.
        """
        if self._election.won:
            self._newest = time.monotonic()
            self._folders[below] = gone or self._folders.get(below, False)

    # -- who records ----------------------------------------------------------------

    def elect(self) -> bool:
        """Become the recorder if nobody is; whether this handle is.  Raises OSError."""
        if self._election.won:
            return True
        if not self._election.possible or not self._election.stand():
            return False
        self._folders[""] = True
        return True

    def resign(self, *, save: bool) -> None:
        """Let another one record; with ``save``, leave it the catalog."""
        with self.mutex:
            if save and self._election.won and self.ledger.catalog is not None:
                try:
                    self.ledger.take_in()
                    if self.ledger.worth_saving(closing=True):
                        self.ledger.save()
                except (FilestoreError, OSError):
                    pass  # it is made anew
            self._let_go()

    def _let_go(self) -> None:
        self._begin()
        self.ledger.let_go()
        self._election.resign()

    def after_fork(self) -> None:
        """In a child: the lock and the catalog are the parent's; closing its descriptor here
        leaves the parent's lock alone.
        """
        self.mutex = threading.Lock()
        self._begin()
        self.ledger.begin()
        self.stopping = False
        self._election.resign()

    # -- the work, inside mutex -------------------------------------------------------

    def round(self, *, idle: bool = False, patient: bool = True) -> float | None:
        """Look at what was hinted at, and record; ``idle``: do what can wait as well.

        ``patient``: leave it all until an operation that is under way is done.  How many seconds
        until something is due, None for nothing.
        """
        if not self.elect():
            return None
        try:
            return self._round(idle=idle, patient=patient)
        except BaseException:
            self.suspect()  # what was in hand is to be found again
            raise

    def _round(self, *, idle: bool, patient: bool) -> float | None:
        heard = self.heard()
        if idle and not self._election.holds():
            self._let_go()
            return 0.0
        patient = not self._asked_for() and patient
        self.pace.hurry = not patient
        if patient and self._reads.publishing_many:
            return _PUBLISHING_SECONDS  # what is learnt takes the memory that publishing frees
        # In this order: what expects these moves is known then.
        explained, self._explained = self._explained, []
        catalog = self.ledger.known()
        self._expect_no_moves(explained)
        if self._hints or self._folders or self._edits:
            behind = self._reads.trusting and not heard
            seconds = self._grouping.wait(self._newest, behind=behind)
            if patient and seconds is not None:
                return seconds
        if "" in self._folders:
            self._folders = {"": True}
        for below in list(self._folders):
            gone = self._folders.pop(below)
            if not self._survey(catalog, below, gone=gone):
                self._folders[below] = True
                return None
            catalog = self.ledger.known()
        self.ledger.take_in()
        if self.ledger.catalog is None:
            return 0.0
        ready, later = self._ripe()
        self._verify(self._suspected(self._taken(ready)))
        # An operation that began meanwhile may have made some of these.
        seconds = self._grouping.begins(self._newest) if patient and self._edits else None
        if seconds is not None:
            return seconds
        self._record()
        if idle:
            self._do_what_can_wait(heard)
        self._say_how_far(heard if catalog.complete else 0.0)
        if self._pushed_back:
            for name in self._pushed_back:
                self.hint(name, touched=True)
            self._pushed_back = []
            return 0.1
        return later

    def _do_what_can_wait(self, heard: float) -> None:
        unproven, self._unproven = self._unproven, {}
        self._verify(self._suspected((name, _BLANK) for name in unproven))
        self._record()
        if (heard or not self._reads.trusting) and not (self._hints or self._lagging()):
            self.ledger.published.clear()  # what was not told of by now was never moved
        if self.ledger.worth_saving(closing=False):
            self.ledger.save()

    def _lagging(self) -> bool:
        state = self._ground.state
        return state is not None and state.lagging

    def _asked_for(self) -> bool:
        """Whether somebody waits for the whole tree; the first time, have it gone through."""
        state = self._ground.state
        if state is None:
            return False
        if state.asked > max(state.answered, self._asked):
            self._asked = state.asked
            self._folders[""] = True
        return self._asked > state.answered

    def _say_how_far(self, heard: float) -> None:
        state = self._ground.state
        if state is None:
            return
        if heard and self._done_until(heard):
            state.set_heard(heard)
        if self._asked > state.answered and self._done_until(self._asked / 1e9):
            state.answer(self._asked)

    def _done_until(self, heard: float) -> bool:
        """Whether all is recorded that was hinted at until then."""
        return not (self._folders or self._pushed_back or self._edits) and all(
            hint.since > heard for hint in list(self._hints.values())
        )

    def rescan(self, patience: float) -> None:
        """Have all edits recorded that were made until now, by this handle or whoever records.

        Waits for so many seconds.  What cannot be recorded is left: of a store that may not be
        written.  Raises LockTimeout, StorageError and its kind, OSError.
        """
        asked = time.monotonic_ns()
        deadline = time.monotonic() + patience
        while not self._rescanned(asked):
            if time.monotonic() >= deadline:
                raise LockTimeout(
                    f"{self._layout.root}: edits from outside could not all be recorded within "
                    f"{patience:g} s: another process holds the store, or records and does not "
                    "answer; try again, or end it",
                    path=self._layout.state,
                )
            time.sleep(_ASK_SECONDS)

    def _rescanned(self, asked: int) -> bool:
        """Do what there is to do; whether all is recorded that was edited until then."""
        ground = self._ground
        state = ground.state
        if self.stopping or state is None or not self._election.possible:
            return True
        self.pace.hurry = True
        with self.mutex:
            if self.elect():
                if self._asked < asked:
                    self._asked = asked
                    self._folders[""] = True
                self._locked_out = False
                self.round(patient=False)
                return self._done_until(asked / 1e9) and not self._locked_out
        if state.answered >= asked:
            self._reads.catch_up()
            return True
        if state.asked < asked:
            state.ask(asked)
        return False

    def _ripe(self) -> tuple[list[str], float | None]:
        """What to look at now for a hint, and in how many seconds there is more."""
        now, ready = time.monotonic(), []
        later: float | None = None
        for name, hint in list(self._hints.items()):
            left = _unripe(hint, now)
            if left > 0:
                later = left if later is None else min(later, left)
            else:
                ready.append(name)
        return ready, later

    def _taken(self, names: Iterable[str]) -> Iterator[tuple[str, Hint]]:
        """Those hints, each let go of just before it is followed."""
        hints = self._hints
        for name in names:
            hint = hints.get(name)
            if hint is not None and _unripe(hint, time.monotonic()) <= 0:
                yield name, hints.pop(name)

    def _survey(self, catalog: Catalog, below: str, *, gone: bool) -> bool:
        """Compare a part of the tree with the catalog; False if it was ended before its end."""
        inside = self._layout.name(f"{self._layout.root}/{below}")
        if gone and inside != below:
            below = below[: f"/{below}".index("/@")]  # names do not tell the folders of a fan-out
            inside = self._layout.name(f"{self._layout.root}/{below}")
        comparison = catalog.comparison(inside)
        for differing in walk(self._fs, self._layout, comparison, below):
            learnt = self.ledger.learnt
            self.ledger.take_in()
            if self.ledger.catalog is not catalog:
                return True  # it is begun anew, and wants all of it
            if self.stopping:
                return False
            self._verify(self._differing(differing, learnt))
            self.pace()
        if gone:
            self._verify(self._missing(comparison.missing()))
        if self.stopping:
            return False
        if not below:
            catalog.complete = True
            self.passes += 1
        return True

    # -- verifying -------------------------------------------------------------------

    def _verify(self, suspects: Iterable[Suspect]) -> None:
        """Look at documents, and record those that were edited when they are many."""
        batch: list[Suspect] = []
        for suspect in suspects:
            if self.stopping:
                self._pushed_back.append(suspect.name)
                continue
            batch.append(suspect)
            if len(batch) >= _LOOKED_AT:
                self._look(batch)
                batch = []
        self._look(batch)

    def _look(self, batch: list[Suspect]) -> None:
        catalog = self.ledger.catalog
        if catalog is None or not batch:
            return
        self.pace()
        with paused(len(batch)):
            for found in self._verifier.look(catalog, batch):
                self._edits[found.name] = found
                self._edited_bytes += len(found.entry.data) if found.entry is not None else 0
                if self._grouping.full(len(self._edits), self._edited_bytes):
                    self._record()
            self._expect_no_moves(suspect.name for suspect in batch)

    def _expect_no_moves(self, names: Iterable[str]) -> None:
        """Have moves to these names looked at: what was expected may have been seen already."""
        published = self.ledger.published
        if published:
            for name in names:
                published.pop(name, None)

    def _differing(self, differing: Iterable[Differing], learnt: int) -> Iterator[Suspect]:
        """What going through the tree found to be another file than the catalog said then."""
        for name, known in differing:
            catalog = self.ledger.catalog
            # It is read now: what was hinted at until now has been looked at then.
            hint = self._hints.pop(name, _BLANK)
            key = self._key(name)
            if key is not None and catalog is not None:
                now = known if self.ledger.learnt == learnt else catalog.get(name)
                yield Suspect(name, key, now, True, hint.was)

    def _missing(self, missing: Iterable[Differing]) -> Iterator[Suspect]:
        """What going through the tree did not find; as the catalog says now."""
        for name, known in missing:
            key = self._key(name)
            if key is not None:
                yield Suspect(name, key, known, False, None)

    def _suspected(self, hints: Iterable[tuple[str, Hint]]) -> Iterator[Suspect]:
        """What was hinted at, but for what is explained without looking."""
        published = self.ledger.published
        for name, hint in hints:
            catalog = self.ledger.catalog
            if catalog is None:
                return
            known = catalog.get(name)
            came, left = published.pop(name, _NO_MOVES)
            if known is not None and hint.since and not hint.touched:
                if hint.now is not None and bytes.fromhex(hint.now.etag) == known.etag:
                    learn(catalog, name, hint.now)  # this handle's own publishing, most often
                    continue
                if hint.was is None and hint.moves[0] <= came and hint.moves[1] <= left:
                    # No more happened than another's commit makes happen when it is published:
                    # that it was that is proven when there is time, not in the middle of writes.
                    if len(self._unproven) < _MOST_UNPROVEN:
                        self._unproven[name] = None
                    continue
            key = self._key(name)
            if key is not None:
                yield Suspect(name, key, known, hint.touched, hint.was)

    def _key(self, name: str) -> Key | None:
        """The document of that name, if it is one that can be looked at now."""
        key = self._layout.named(name)
        if key is not None and self._reads.pending(key) is not None:
            self._pushed_back.append(name)
            return None
        return key

    # -- recording -------------------------------------------------------------------

    def _record(self) -> None:
        """Make commits of the edits that were found, one of those that belong together."""
        catalog, edits = self.ledger.catalog, list(self._edits.values())
        self._edits, self._edited_bytes = {}, 0
        if catalog is None or not edits:
            return
        for group in self._grouping.groups([_changed(found) for found in edits]):
            self._record_group(catalog, [edits[number] for number in group.members], group)

    def _record_group(self, catalog: Catalog, edits: list[Found], group: Group) -> None:
        """Make one commit of what is an edit still when nobody else writes."""
        was = self._verifier.was(edits)
        try:
            with self._writer.exclusive(_PATIENCE_SECONDS), paused(len(edits)):
                self._record_locked(catalog, edits, was, group)
        except LockTimeout:
            self._pushed_back += [found.name for found in edits]
            self._locked_out = True
        else:
            self._writer.recorded()

    def _record_locked(
        self,
        catalog: Catalog,
        edits: list[Found],
        was: dict[Key, tuple[bytes, bytes]],
        group: Group,
    ) -> None:
        ground = self._ground
        state = ground.check_writable()
        if state.lagging:
            try:
                recover.publish_pending(ground, state)
            except OSError as error:
                raise storage_error(error, self._layout.root, None) from error
        self.ledger.take_in()
        if self.ledger.catalog is not catalog:
            return  # the journal is another: all is looked at anew
        asked = {found.key: found.known and found.known.etag for found in edits}
        sure = list(self._verifier.look_again(catalog, edits))
        late = [now for now in sure if now.known and now.known.etag != asked[now.key]]
        was |= self._verifier.was(late)  # of what was committed since
        ops: list[Op] = []
        etags: list[Etags] = []
        for now in sure:
            known = now.known
            if known is None:
                old = before = None
            else:
                old = known.etag.hex()
                etag, data = was.get(now.key, (b"", b""))
                before = data if etag == known.etag else stand_in(old)
            if now.entry is None:
                ops.append(Op(now.key, before, None))
                etags.append((old, None))
            else:
                ops.append(Op(now.key, before, now.entry.data))
                etags.append((old, now.entry.etag))
        self._expect_no_moves(found.name for found in edits)
        if not ops:
            return
        commit = self._writer.record(ops, etags, actor=group.actor, message=group.message)
        self.recorded += 1
        self.ledger.own = commit.revision
        self.ledger.take_in()  # the commit itself; then what it is about
        for now in sure:
            learn(catalog, now.name, now.entry)


def _unripe(hint: Hint, now: float) -> float:
    """In how many seconds to look; a file that is being written to is left until it is closed."""
    return hint.since + _OPEN_SECONDS - now if hint.being_written else 0.0


def _changed(found: Found) -> Changed:
    entry = found.entry
    return Changed(None, 0) if entry is None else Changed(entry.signature[1] / 1e9, len(entry.data))
