"""The threads that notice external edits: one reads events, one records.

The *listener* reads what the system tells, makes reads look at those files anew, and
hints at them to the recorder.  It never waits for a lock that is held for long, so that
reads are right within milliseconds, whatever is being recorded.  The *scribe* does the
recorder's work: at first, and where no events come now and then, it goes through the
whole tree.

Events are hints.  Whenever some may have been missed (the queue overflowed, a folder
came or went, the root is another) reads look at every file again, and the tree is gone
through.  Both threads start a moment after the store was opened, see
:mod:`filestore.engine.lookout`.
"""

from __future__ import annotations

import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from filestore.engine import notices as system
from filestore.engine.layout import CONFIG
from filestore.engine.lookout import calling, green
from filestore.engine.notices import Notices
from filestore.engine.survey import folders, without_events
from filestore.errors import FilestoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filestore.engine.ground import Ground
    from filestore.engine.notices import Notice
    from filestore.engine.reads import Reads
    from filestore.engine.recorder import Recorder
    from filestore.engine.state import State
    from filestore.engine.tree import FileEntry

GATHER_SECONDS: Final = 0.01
"""How long events gather after some were read: each waking costs a commit its turn."""

SETTLE_SECONDS: Final = 0.008
"""How long a file is left alone before it is recorded, so that one save is one change."""

SETTLE_AT_MOST: Final = 0.1
TICK_SECONDS: Final = 1.0
POLL_SECONDS: Final = 3.0
"""How often the tree is gone through where no events come."""

_POLL_SHARE: Final = 20  # going through the tree may take a twentieth of the time
_RETRY_SECONDS: Final = 60.0
_BUSY_SECONDS: Final = 10.0
_TROUBLE: Final = "recording external edits"
_LISTENING_SECONDS: Final = 10.0  # more than it takes with ten thousands of folders
_PAUSE_SECONDS: Final = 0.2  # before listening begins anew

_FEW_BYTES: Final = 2048
"""Of events, up to which a reader hears them itself: 30 or less, half a millisecond."""

_LOOKS: Final = 4
"""How many reads look at their files before one hears: that costs as much as hearing does."""

_SETTINGS: Final = CONFIG.encode()
_TOUCHED: Final = system.MODIFY | system.CREATE
_CLOSED: Final = system.CLOSE_WRITE | system.MOVED_TO | system.MOVED_FROM | system.DELETE
_NEVER: Final = (1 << 30, 1 << 30)  # so often no publishing moves a file
_GONE: Final = system.DELETE_SELF | system.MOVE_SELF | system.UNMOUNT
_NO_DOCUMENT: Final = system.FOLDER | system.OVERFLOW | system.IGNORED | _GONE


Wait: TypeAlias = "Callable[[], object]"


class _Told:
    """What events told of a file: their masks, how often one was moved to its name and away."""

    __slots__ = ("came", "left", "mask")

    def __init__(self) -> None:
        self.mask = self.came = self.left = 0

    def add(self, mask: int) -> None:
        self.mask |= mask
        if mask & system.MOVED_TO:
            self.came += 1
        elif mask & system.MOVED_FROM:
            self.left += 1


class Watcher:
    """Both threads of one handle; ``events=False``: never listen, only go through the tree."""

    def __init__(
        self, ground: Ground, reads: Reads, recorder: Recorder, *, events: bool = True
    ) -> None:
        self._ground = ground
        self._layout = ground.layout
        self._reads = reads
        self._recorder = recorder
        self._events = events
        self._begin()

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._heard = threading.Event()  # the listener listens, or knows that it can't
        if not self._events:
            self._heard.set()
        self.records = True  # whether a thread does the recorder's work, or is about to
        self._listener: threading.Thread | None = None
        self._scribe: threading.Thread | None = None
        self._notices: Notices | None = None
        # Whoever reads events holds this, and sets ``hearing`` of the reads before and resets it
        # after.  Reentrant, so that releasing what an interrupt kept from being taken does no harm.
        self._ears = threading.RLock()
        self._left: list[Notice] = []  # read by a reader, to be followed by the listener
        self._unsure = False  # whether a reader is following events, or never came to an end
        self._overheard = False  # whether a reader followed some since the listener did
        self._looks = 0  # by readers, at files, since events were followed last
        self._watches: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._root_file = (0, 0)
        self._told: tuple[State | None, float] = (None, 0.0)
        self._begun = False
        self._without_for = 0.0
        self._due = self._idle_at = 0.0
        self._failed = False
        self.overflows = 0
        self.why = "" if self._events else "watch=False"

    # -- from outside -----------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, once."""
        why = ""
        try:
            with self._starting:
                if self._begun or self._stop.is_set():
                    return
                self._begun = True
                self._reads.noticed = calling(self._noticed, None)
                self._reads.asleep = None
                self._recorder.ledger.wake = self._wake.set
                self._recorder.heard = calling(self._heard_until, 0.0)
                if green():
                    why = "green threads"  # they became so since the store was opened
                else:
                    self._scribe = _thread_of(self._record, "filestore scribe")
                    if self._events:
                        self._listener = _thread_of(self._listen, "filestore listener")
        except RuntimeError as error:
            why = str(error)
        if why:
            self.do_without_threads(why)
            if not self.records:
                self._recorder.resign(save=True)  # a rescan may have had it elected

    def do_without_threads(self, why: str) -> None:
        """The system has no thread left, or none that may wait: every read looks at its file."""
        self._begun = True
        self.why = why
        self.records = self._scribe is not None
        self._heard.set()

    def stop(self) -> None:
        """End both threads, and leave the next recorder what is known."""
        with self._starting:
            self._stop.set()
            self._recorder.stopping = True
            self._heard.set()
            self._wake.set()
            notices = self._notices
            if notices is not None:
                notices.ring()
            threads = self._listener, self._scribe
        for thread in threads:
            if thread is not None and thread is not threading.current_thread():
                thread.join()
        self._reads.noticed = None
        self._reads.distrust()
        self._told = None, 0.0
        self._recorder.resign(save=True)
        self._close_notices()

    def after_fork(self) -> None:
        """In a child: nothing is inherited; what is open here is the parent's."""
        notices = self._notices
        self._begin()
        self._reads.noticed = None
        if notices is not None:
            notices.close()
        self._recorder.after_fork()

    @property
    def tells(self) -> bool | None:
        """Whether every edit is told of: now, soon (False), or who knows when (None)."""
        ground, reads = self._ground, self._reads
        state, since = ground.state, reads.since
        if reads.trusting and state is not None:
            if self._told == (state, since):
                return True
            if state.heard >= since:
                self._told = state, since  # for good: it is about the past
                return True
        if ground.readonly or ground.refusal is not None or ground.state is None:
            return None  # nobody may record what was edited before
        return None if self.why or self._stop.is_set() else False

    def listen(self) -> float | None:
        """From when on events tell of every edit, once they do; None if they don't."""
        if not self._reads.trusting:
            self.start()
            self._heard.wait(_LISTENING_SECONDS)
        return self._reads.since if self._reads.trusting else None

    @property
    def lasting(self) -> bool:
        """Whether what is edited becomes a commit, by this handle or by a later one.

        So it is once a catalog has all documents.  One that gets them from a pass of this
        handle may take an edit for what was there, until the pass has ended.
        """
        if self.tells:
            return True
        recorder, state = self._recorder, self._ground.state
        catalog = recorder.ledger.catalog
        if recorder.elected and catalog is not None and catalog.complete and not recorder.passes:
            return True
        return state is not None and state.heard > 0

    def stats(self) -> dict[str, Any]:
        live = self._reads.trusting
        return {
            "watching": live,
            "verifies": "events" if live else "stat",
            "watching_why_not": None if live else self.why or "starting",
            "recorder": self._recorder.elected,
            "passes": self._recorder.passes,
            "overflows": self.overflows,
            "external_commits": self._recorder.recorded,
        }

    # -- the scribe -------------------------------------------------------------------

    def _record(self) -> Wait | None:
        """Record what there is; how to wait for more, None when it is time to end."""
        if self._stop.is_set():
            return None
        if not self._heard.is_set():
            return partial(self._heard.wait, TICK_SECONDS)  # it would only begin anew
        if self._wake.is_set():
            self._settle()
        recorder, now = self._recorder, time.monotonic()
        due = not self._reads.trusting and now >= self._due
        if due:
            recorder.suspect()
        quiet = not recorder.ledger.news and now >= self._idle_at + TICK_SECONDS
        idle = quiet or now >= self._idle_at + _BUSY_SECONDS
        passes = recorder.passes
        try:
            with recorder.mutex:
                recorder.pace.begin()
                try:
                    pause = recorder.round(idle=idle)
                finally:
                    recorder.pace.end()
        except (FilestoreError, OSError) as error:
            # Nobody is there to raise it to; all is looked at again, later.  Once may be but the
            # runtime folder that is made anew.
            if self._failed:
                self._ground.trouble = f"{_TROUBLE}: {error}"
            self._failed = True
            took = time.monotonic() - now
            return partial(self._stop.wait, max(TICK_SECONDS, took * _POLL_SHARE))
        if self._failed:
            self._failed = False
            if (self._ground.trouble or "").startswith(_TROUBLE):
                self._ground.trouble = None
        after = time.monotonic()
        if idle:
            self._idle_at = after
        if due or recorder.passes != passes:  # due: another may record, and this one had no pass
            self._due = after + max(POLL_SECONDS, (after - now) * _POLL_SHARE)
        until_due = TICK_SECONDS if self._reads.trusting else max(0.0, self._due - after)
        seconds = until_due if pause is None else min(pause, until_due)
        return partial(self._wake.wait, min(seconds, TICK_SECONDS))

    def _settle(self) -> None:
        """Wait until nothing new has come for a moment."""
        deadline = time.monotonic() + SETTLE_AT_MOST
        while True:
            self._wake.clear()
            if self._stop.wait(SETTLE_SECONDS):
                return
            if not self._wake.is_set() or time.monotonic() >= deadline:
                self._wake.clear()
                return

    def _noticed(self, was: FileEntry) -> None:
        self._recorder.noticed(was)
        self._wake.set()

    # -- the listener -----------------------------------------------------------------

    def _listen(self) -> Wait | None:
        """Begin to listen, or hear what there is; how to wait for more, None to end."""
        if self._stop.is_set():
            return None
        notices = self._notices
        try:
            if notices is None:
                return self._begin_listening()
            alive, more = self._hear(notices)
        except OSError as error:
            return self._without(system.reason(error))
        if not alive:
            self._stop_listening()
            return partial(self._stop.wait, _PAUSE_SECONDS)
        return partial(_gather, notices, self._stop, 0.0 if more else GATHER_SECONDS)

    def _begin_listening(self) -> Wait | None:
        if self._without_for > 0:
            self._without_for -= TICK_SECONDS
            return partial(self._stop.wait, TICK_SECONDS)
        fs, root = self._ground.fs, self._layout.root
        kind = without_events(fs.mounts(), fs.resolve(root))
        if kind is not None:
            self.why = f"{kind} does not tell of all changes"
            self._heard.set()
            return None
        try:
            notices = Notices()
        except (OSError, ImportError, AttributeError) as error:
            return self._without(system.reason(error))
        with self._starting:  # stop() looks for it
            self._notices = notices
        if self._stop.is_set():
            return None
        self._watches, self._numbers = {}, {}
        self._root_file = self._look_at_root()
        self._follow(root)
        self.why = ""
        self._all_anew()
        return partial(_gather, notices, self._stop, 0.0)

    def _stop_listening(self) -> None:
        self._reads.distrust()
        self._close_notices()

    def _close_notices(self) -> None:
        with self._ears, self._starting:  # nobody reads what may be another file by now
            notices, self._notices = self._notices, None
            self._left, self._unsure = [], False
            if notices is not None:
                notices.close()

    def _without(self, why: str) -> Wait:
        """Do without events for a while."""
        self.why = why
        self._stop_listening()
        self._heard.set()
        self._without_for = _RETRY_SECONDS
        return partial(self._stop.wait, TICK_SECONDS)

    def _look_at_root(self) -> tuple[int, int]:
        status = self._ground.fs.lstat(f"{self._layout.root}/.")  # the root may be a link
        return status.st_ino, status.st_dev

    def _all_anew(self) -> None:
        """Events may have been missed: have every read and the recorder look anew."""
        self._trust(anew=True)
        self._recorder.suspect()
        self._heard.set()
        self._wake.set()

    def _trust(self, *, anew: bool) -> None:
        """Have reads believe what they know, until they hear otherwise."""
        notices = self._notices
        if notices is not None:
            self._reads.trust(partial(_unheard, notices, weakref.ref(self)), anew=anew)

    def _heard_until(self) -> float:
        """Until when all that happened has become hints; 0 where that is not known."""
        now, notices = time.monotonic(), self._notices
        if notices is None or not self._reads.trusting:
            return 0.0
        # In this order: who takes events from the kernel says first that it is about to.
        return 0.0 if notices.waiting() or self._reads.hearing else now

    def _hear(self, notices: Notices) -> tuple[bool, bool]:
        """Follow events; whether to go on listening, and whether to wait for more at once."""
        begun = time.thread_time()
        with self._ears:
            self._reads.hearing = True
            try:
                overheard, self._overheard = self._overheard, False
                self._looks = 0
                left, self._left = self._left, []
                heard, more = notices.read()
                heard = left + heard
                missed, self._unsure = self._unsure, False
                if (heard or missed) and not self._take(heard, missed=missed):
                    return False, False
            finally:
                self._reads.hearing = False
                self._recorder.pace.aside += time.thread_time() - begun
        if heard or missed or overheard:
            return True, more
        try:
            return self._look_at_root() == self._root_file, True
        except OSError:
            return False, False

    def overhear(self, notices: Notices) -> bool:
        """Follow events in a reading thread; whether all that were waiting have been followed.

        Not where they are many, somebody else follows some, or they are not for readers.
        Waits for nobody: the caller may have any lock.
        """
        ears, reads = self._ears, self._reads
        self._looks += 1
        if self._looks <= _LOOKS:
            return False
        try:
            if not ears.acquire(blocking=False) or reads.hearing or notices is not self._notices:
                return False
            if notices.waiting() > _FEW_BYTES:
                return False
            # An interrupt may end this at any moment.  Then nobody believes anything until the
            # listener, which wakes within a second, has begun anew.
            reads.hearing = self._unsure = self._overheard = True
            self._looks = 0
            heard, more = notices.read()
            if all(
                name and not mask & _NO_DOCUMENT and name != _SETTINGS for _, mask, name in heard
            ):
                self._take(heard)
                self._unsure = reads.hearing = False
                return not more
            self._left = heard
            self._unsure = False
            notices.call()
            return False
        except OSError:
            return False  # the listener finds out
        finally:
            try:
                ears.release()
            except RuntimeError:
                pass  # it is another's

    def _take(self, heard: list[Notice], *, missed: bool = False) -> bool:
        """Follow events, of which some may have been missed; False to begin listening anew."""
        files: dict[tuple[int, bytes], _Told] = {}
        suffix = self._layout.suffix.encode()
        anew = missed
        for watch, mask, name in heard:
            if mask & system.FOLDER:
                if name and name[0] != 0x2E:
                    self._folder(watch, mask, name)
            elif name:
                if name[0] != 0x2E and name.endswith(suffix):
                    at = watch, name
                    told = files.get(at)
                    if told is None:
                        told = files[at] = _Told()
                    told.add(mask)
            elif mask & system.OVERFLOW:
                self.overflows += 1
                anew = True
            elif mask & system.IGNORED:
                folder = self._watches.pop(watch, None)
                if folder is not None and self._numbers.get(folder) == watch:
                    del self._numbers[folder]
            elif mask & _GONE and self._watches.get(watch) == self._layout.root:
                return False
            if name == _SETTINGS:
                anew = True  # documents may be elsewhere
        if anew:
            self._ground.follow()
            self._follow(self._layout.root)
            self._all_anew()
        if files:
            self._files(files)
        return True

    def _files(self, files: dict[tuple[int, bytes], _Told]) -> None:
        reads, recorder, layout = self._reads, self._recorder, self._layout
        folders: dict[int, str] = {}
        plain: list[str] = []
        ours: list[str] = []
        try:
            reads.catch_up()  # so that another's publishing is known for what it is
        except FilestoreError:
            pass  # it is told by who reads
        for done, ((watch, raw), told) in enumerate(files.items(), 1):
            inside = folders.get(watch)
            if inside is None:
                folder = self._watches.get(watch)
                if folder is None:
                    continue
                inside = folders[watch] = layout.name(f"{folder}/")
            if not raw.isascii():
                continue
            name = f"{inside}{raw.decode()}"
            key = layout.named(name)
            if key is None:
                continue
            mask = told.mask
            touched = bool(mask & _TOUCHED)
            entry, current = reads.suspect(key, touched=touched)
            if entry is None and current:
                ours.append(name)
            elif entry is None and touched and mask & _CLOSED:
                plain.append(name)
            else:
                recorder.hint(
                    name,
                    touched=touched,
                    being_written=touched and not mask & _CLOSED,
                    was=None if current else entry,
                    now=entry if current else None,
                    moves=_NEVER if mask & system.DELETE else (told.came, told.left),
                )
            if not done % 256:
                time.sleep(0)  # let the others have their turn
        recorder.touched(plain)
        recorder.explained(ours)
        if recorder.elected:
            self._wake.set()

    def _folder(self, watch: int, mask: int, name: bytes) -> None:
        """A folder came or went."""
        above = self._watches.get(watch)
        if above is None or not name.isascii():
            return
        folder = f"{above}/{name.decode()}"
        gone = bool(mask & (system.DELETE | system.MOVED_FROM))
        if gone:
            self._forget(folder)
        if mask & (system.CREATE | system.MOVED_TO):
            self._follow(folder)
            self._have_all_looked_at(folder)
        self._trust(anew=gone)  # what was read before the folder was watched must prove itself
        self._recorder.suspect(f"{folder[len(self._layout.root) + 1 :]}/", gone=gone)
        self._wake.set()

    def _have_all_looked_at(self, top: str) -> None:
        """Events in a folder may have come before it was watched."""
        for folder in folders(self._ground.fs, top):
            try:
                items = self._ground.fs.scan(folder)
            except OSError:
                continue
            for item in items:
                if item.name.endswith(self._layout.suffix) and item.name.isascii():
                    key = self._layout.named(self._layout.name(f"{folder}/{item.name}"))
                    if key is not None:
                        self._reads.suspect(key, touched=True)

    def _follow(self, top: str) -> None:
        """Watch a folder and those in it; each is watched before it is looked into."""
        notices = self._notices
        assert notices is not None
        for folder in folders(self._ground.fs, top):
            if self._stop.is_set():
                return
            try:
                number = notices.add(f"{folder}/." if folder == self._layout.root else folder)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
            old = self._watches.get(number)
            if old is not None and old != folder:
                self._numbers.pop(old, None)
            self._watches[number] = folder
            self._numbers[folder] = number

    def _forget(self, top: str) -> None:
        notices = self._notices
        assert notices is not None
        inside = f"{top}/"
        for folder in [one for one in self._numbers if one == top or one.startswith(inside)]:
            number = self._numbers.pop(folder)
            self._watches.pop(number, None)
            notices.remove(number)


def _thread_of(method: Callable[[], Wait | None], name: str) -> threading.Thread:
    """A thread that works while there is the method's object; started."""
    # Who asks for no daemon asks which thread is calling, and has a bare one remembered for good.
    thread = threading.Thread(
        target=_run, args=(weakref.WeakMethod(method),), name=name, daemon=True
    )
    thread.start()
    return thread


def _unheard(notices: Notices, watcher: weakref.ref[Watcher]) -> bool:
    """Whether there are events that nobody has followed; for any thread that reads."""
    if not notices.waiting():
        return False
    target = watcher()
    return target is None or not target.overhear(notices)


def _gather(notices: Notices, stop: threading.Event, seconds: float) -> None:
    """Let events come together, then wait until there are some."""
    if not stop.wait(seconds):
        notices.wait(TICK_SECONDS)


def _run(work: Callable[[], Callable[[], Wait | None] | None]) -> None:
    # A handle that nobody holds any more must not live on for its threads' sake: while they
    # wait they hold nothing of it.
    while True:
        target = work()
        wait = None if target is None else target()
        del target
        if wait is None:
            return
        wait()
        del wait
