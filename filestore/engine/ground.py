"""What one handle has open: the settings, the tree, the journal, the lock, the state."""

from __future__ import annotations

import errno
import os
import stat
import threading
from enum import Enum
from typing import TYPE_CHECKING, Final

from filestore.codec import codec_named
from filestore.engine.config import CODECS
from filestore.engine.fs import SyncFailed, let_go, sync_folder
from filestore.engine.layout import CONFIG, Layout
from filestore.engine.lock import WriteLock
from filestore.engine.settings import read_settings
from filestore.engine.state import Flag, State
from filestore.engine.tree import Tree, make_folder, no_folder, signature_of, storage_error
from filestore.errors import FilestoreError, NotFound, ReadOnly, RecoveryNeeded
from filestore.importing import importing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from filestore.engine.config import Config
    from filestore.engine.fs import FileSystem
    from filestore.engine.journal import Journal
    from filestore.engine.recovery import Damage
    from filestore.engine.settings import Settings
    from filestore.model import Commit
    from filestore.retention import Retention

_READONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Durability(Enum):
    """What a commit that returned survives."""

    FULL = "full"  # power loss
    NORMAL = "normal"  # the death of any process; power loss may take the last moments
    OFF = "off"  # the death of any process, in so far as nothing else goes wrong


class Ground:
    """One handle's open things, shared by those who read, write and recover.

    ``settings`` are those in force, as far as this handle has noticed: see
    :meth:`follow`.  ``refusal`` is why this handle does not write, ``estranged``
    why it must be opened again; ``damage`` what the journal lost; ``overlay`` the
    commits that a handle which may not write has to add to the files in its own
    memory.
    """

    def __init__(
        self,
        fs: FileSystem,
        layout: Layout,
        settings: Settings,
        tree: Tree,
        lock: WriteLock,
        *,
        durability: Durability,
        readonly: bool,
        lock_timeout: float,
    ) -> None:
        self.fs = fs
        self.layout = layout
        self.settings = settings
        self.tree = tree
        self.lock = lock
        self.durability = durability
        self.readonly = readonly
        self.lock_timeout = lock_timeout
        self.state: State | None = None
        self.refusal: FilestoreError | None = None
        self.estranged: RecoveryNeeded | None = None
        self.damage: list[Damage] = []
        self.overlay: list[Commit] = []
        self.made = False  # whether this handle made the store, in a tree without documents
        self.trouble: str | None = None  # the last thing that went wrong behind a caller's back
        self.following: AbstractContextManager[object] = threading.RLock()
        self._journal: Journal | None = None

    @property
    def retention(self) -> Retention:
        """How much of the history is kept."""
        kept = self.config.retention
        return _default_retention() if kept is None else kept

    @property
    def journal(self) -> Journal:
        """The journal, which who reads in an orderly store never asks for."""
        journal = self._journal
        return self._make_journal() if journal is None else journal

    def _make_journal(self) -> Journal:
        with importing(ours=True):
            from filestore.engine.journal import Journal

            if self._journal is None:
                self._journal = Journal(self.fs, self.layout, self.config.id, self.retention)
            return self._journal

    def close_journal(self) -> None:
        """Close what of the journal is open, for reading or writing."""
        if self._journal is not None:
            self._journal.close()

    def stop_reading(self) -> None:
        """Close what of the journal is open for reading."""
        if self._journal is not None:
            self._journal.close_reader()

    @property
    def config(self) -> Config:
        return self.settings.config

    def follow(self) -> None:
        """Take over the fan-out that ``filestore.yaml`` tells by now.

        Whoever did not find a document, follows, and sees ``layout.moves`` unchanged, knows
        that it was not there: documents are in their new places before the settings
        say so.  Settings that cannot be read, or are gone, change nothing.
        """
        try:
            status = self.fs.lstat(self.layout.config)
        except OSError:
            return
        if signature_of(status) != self.settings.signature or self.settings.racy:
            with self.following:  # or a thread that was late would turn it back
                self._follow()

    def _follow(self) -> None:
        layout = self.layout
        try:
            settings = read_settings(self.fs, layout.root)
        except FilestoreError as error:
            self.trouble = str(error)
            return
        if settings is None:
            return
        old, new = self.config, settings.config
        if (new.codec, new.id) != (old.codec, old.id):
            self.estranged = RecoveryNeeded(
                f"{layout.config}: the settings became those of another store (codec "
                f"{new.codec}, id {new.id}); close this store and open it again",
                path=layout.config,
            )
            return
        self.estranged = None
        self.settings = settings
        layout.move(new.fanout)

    def check_writable(self) -> State:
        """The state to write to.  Raises ReadOnly, RecoveryNeeded."""
        if self.readonly:
            raise ReadOnly(
                f"{self.layout.root}: the store was opened read-only", path=self.layout.root
            )
        if self.damage:
            first = self.damage[0]
            raise RecoveryNeeded(
                f"{first.path}: the journal is damaged ({first.reason}); the documents can be "
                "read, but not written until the store is repaired: store.repair(), or "
                f"filestore repair",
                path=first.path,
            )
        if self.refusal is not None:
            raise self.refusal
        if self.estranged is not None:
            raise self.estranged
        if self.state is None:
            raise RecoveryNeeded(f"{self.layout.root}: the store is not attached")
        return self.state

    def attach(self) -> None:
        """Map the shared state, making the runtime folder where this handle may write."""
        fs, layout = self.fs, self.layout
        if self.readonly:
            self.attach_readonly()
            return
        try:
            try:
                self._find_runtime()
                self.state = State.attach(fs, layout, self.config.id, writable=True)
                self.lock.open()
            except FileNotFoundError:
                self._make_runtime()
                self.state = State.attach(fs, layout, self.config.id, writable=True)
                self.lock.open()
        except OSError as error:
            refusal = storage_error(error, error.filename or layout.runtime, None)
            if error.errno not in _READONLY:
                raise refusal from error
            self.refusal = ReadOnly(
                f"{layout.runtime}: cannot be written ({error.strerror}); the store can only be "
                "read here",
                path=layout.runtime,
            )
            self.attach_readonly()

    def attach_readonly(self) -> None:
        """Map the shared state to look at; none where it tells nothing."""
        state = None
        try:
            state = State.attach(self.fs, self.layout, self.config.id, writable=False)
        except OSError:
            pass  # as good as none: what it would tell is worked out from the journal
        self.state = state if state is not None and state.valid else None

    def _find_runtime(self) -> None:
        """Follow no link out of the store.  Raises Corrupt, FileNotFoundError."""
        layout = self.layout
        for folder in (layout.runtime, layout.journal, layout.tmp):
            if not stat.S_ISDIR(self.fs.lstat(folder).st_mode):
                raise no_folder(folder)

    def _make_runtime(self) -> None:
        layout = self.layout
        for folder in (layout.runtime, layout.journal, layout.tmp):
            make_folder(self.fs, folder, layout.folder_mode)
        if self.durability is not Durability.OFF:
            sync_folder(self.fs, layout.runtime)
            sync_folder(self.fs, layout.root)

    def make_names_safe(self, state: State) -> None:
        """Put on the disk what leads to the journal, once: a name lasts only from then on.

        A handle with no durability to keep may have made the store without.
        Raises OSError, and SyncFailed.
        """
        if state.names_safe:
            return
        layout = self.layout
        self._sync(layout.config)
        for folder in (layout.journal, layout.runtime, layout.root):
            self._sync(folder)
        try:
            self._sync(os.path.dirname(layout.root))
        except PermissionError:
            pass  # not ours to look into, so not ours to have made
        state.set_names_safe()

    def _sync(self, path: str) -> None:
        fd = self.fs.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.fs.fsync(fd)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror, path) from error
        finally:
            let_go(self.fs, fd)

    def reattach(self) -> None:
        """Begin anew with what the path leads to now; the lock is to be taken again.

        The old state stays until there is a new one.
        """
        self.close_journal()
        self.lock.close()
        self.attach()

    def detach(self) -> None:
        """Let go of all but the lock; the state goes with the last thread that is reading it."""
        self.state = None
        self.close_journal()


def _default_retention() -> Retention:
    with importing(ours=True):  # who only reads has no use for it
        from filestore import retention

    return retention.DEFAULT


def poison(ground: Ground, state: State, error: OSError) -> RecoveryNeeded:
    """A sync failed: this handle must write no more.

    Syncing again must not be tried as if it could succeed: what was written may
    be gone from memory and never have reached the disk.
    """
    state.set_flags(state.flags | Flag.POISONED | Flag.DIRTY)
    root = ground.layout.root
    ground.refusal = RecoveryNeeded(
        f"{root}: the disk failed to sync ({error.strerror}); whether the last change was "
        "kept is unknown; check the disk, then close this store and open it again",
        path=root,
    )
    return ground.refusal


def save(ground: Ground, path: str) -> str:
    """Move a file that is no document out of the way, to ``lost/``; where to."""
    fs, layout = ground.fs, ground.layout
    make_folder(fs, layout.lost, layout.folder_mode)
    stem = os.path.relpath(path, layout.root).replace("/", "_")[-150:]
    for attempt in range(1, 1000):
        target = f"{layout.lost}/{attempt:03d}-{stem}"
        try:
            fs.rename_new(path, target)
        except FileExistsError:
            continue
        return target
    raise OSError(f"{layout.lost}: too many files; remove some")


def open_ground(
    path: str,
    *,
    fs: FileSystem,
    codec: str | None,
    fanout: int | None,
    durability: str,
    readonly: bool,
    create: bool,
    lock_timeout: float,
    file_mode: int,
) -> Ground:
    """Find or make the store; nothing is recovered yet.

    Raises NotFound, Corrupt, UnsupportedFormat, StorageError, and ValueError for
    an argument that means nothing.
    """
    level = _durability(durability)
    if codec not in (None, *CODECS):
        raise ValueError(f"codec must be json or yaml, not {codec!r}")
    if not 0 <= file_mode <= 0o777 or file_mode & 0o600 != 0o600:
        raise ValueError(f"file_mode must let the owner read and write, not {file_mode:o}")
    root = os.path.abspath(path)
    settings = read_settings(fs, root)
    made = settings is None
    if settings is None:
        if readonly or not create:
            raise NotFound(
                f"{root}: there is no store here (no {CONFIG}); filestore init makes one",
                path=root,
            )
        from filestore.engine import creation  # once in the life of a store

        sync = level is not Durability.OFF
        settings = creation.create(fs, root, codec or "json", fanout or 0, file_mode, sync=sync)
    config = settings.config
    if codec is not None and codec != config.codec:
        raise FilestoreError(
            f"{root}: the store's codec is {config.codec}, not {codec}; leave codec out to use "
            "the store's own",
            path=root,
        )
    if fanout is not None and fanout != config.fanout:
        raise FilestoreError(
            f"{root}: the store's fanout is {config.fanout}, not {fanout}; leave it out to use "
            "the store's own",
            path=root,
        )
    form = codec_named(config.codec)
    layout = Layout(root, form.suffix, config.fanout, file_mode)
    ground = Ground(
        fs,
        layout,
        settings,
        Tree(fs, layout, form),
        WriteLock(fs, layout),
        durability=level,
        readonly=readonly,
        lock_timeout=lock_timeout,
    )
    try:
        try:
            ground.made = made and not layout.collections(fs)
        except OSError as error:
            raise storage_error(error, root, None) from error
        ground.attach()
    except BaseException:
        ground.detach()
        ground.lock.close()
        raise
    return ground


def _durability(name: str) -> Durability:
    try:
        return Durability(name)
    except ValueError:
        raise ValueError(f"durability must be full, normal or off, not {name!r}") from None
