"""What one handle has open: the settings, the tree, the journal, the lock, the state."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from filestore.codec import codec_named
from filestore.engine import config as configuration
from filestore.engine.fs import let_go, make_file, sync_folder, write_at
from filestore.engine.journal import Journal, SyncFailed
from filestore.engine.layout import CONFIG, RUNTIME, Layout, folder_mode
from filestore.engine.lock import WriteLock
from filestore.engine.settings import read_settings
from filestore.engine.state import Flag, State
from filestore.engine.tree import Tree, make_folder, no_folder, signature_of, storage_error
from filestore.errors import Corrupt, FilestoreError, NotFound, ReadOnly, RecoveryNeeded

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from filestore.engine.fs import FileSystem
    from filestore.engine.recovery import Damage
    from filestore.engine.settings import Settings
    from filestore.model import Commit

_READONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_MARK_SUFFIXES: Final = {"json": ".json", "yaml": ".yaml"}


class Durability(Enum):
    """What a commit that returned survives."""

    FULL = "full"  # power loss
    NORMAL = "normal"  # the death of any process; power loss may take the last moments
    OFF = "off"  # the death of any process, in so far as nothing else goes wrong


@dataclass
class Ground:
    """One handle's open things, shared by those who read, write and recover.

    ``settings`` are those in force, as far as this handle has noticed: see
    :meth:`follow`.  ``refusal`` is why this handle does not write, ``estranged``
    why it must be opened again; ``damage`` what the journal lost; ``overlay`` the
    commits that a handle which may not write has to add to the files in its own
    memory.
    """

    fs: FileSystem
    layout: Layout
    settings: Settings
    durability: Durability
    readonly: bool
    lock_timeout: float
    tree: Tree
    journal: Journal
    lock: WriteLock
    state: State | None = None
    refusal: FilestoreError | None = None
    estranged: RecoveryNeeded | None = None
    damage: list[Damage] = field(default_factory=list)
    overlay: list[Commit] = field(default_factory=list)
    made: bool = False  # whether this handle made the store, in a tree without documents
    trouble: str | None = None  # the last thing that went wrong behind a caller's back
    following: AbstractContextManager[object] = field(default_factory=threading.RLock)

    @property
    def config(self) -> configuration.Config:
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
        self.journal.close()
        self.lock.close()
        self.attach()

    def detach(self) -> None:
        """Let go of all but the lock; the state goes with the last thread that is reading it."""
        self.state = None
        self.journal.close()


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
    if codec not in (None, *_MARK_SUFFIXES):
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
        new = configuration.Config(codec or "json", fanout or 0, str(uuid.uuid4()))
        settings = _create(fs, root, new, file_mode, level)
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
        fs=fs,
        layout=layout,
        settings=settings,
        durability=level,
        readonly=readonly,
        lock_timeout=lock_timeout,
        tree=Tree(fs, layout, form),
        journal=Journal(fs, layout, config.id, config.retention),
        lock=WriteLock(fs, layout),
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


def _create(
    fs: FileSystem, root: str, settings: configuration.Config, file_mode: int, level: Durability
) -> Settings:
    """Make an empty store; of several processes that do, one wins and all go on with it."""
    # Where git is told what a document is and what is nobody's business but this machine's.
    suffix = _MARK_SUFFIXES[settings.codec]
    attributes = f"*{suffix} text eol=lf merge=filestore diff=filestore\n".encode()
    try:
        mode = folder_mode(file_mode)
        made = _make_folders(fs, root, mode)
        runtime = f"{root}/{RUNTIME}"
        for folder in (runtime, f"{runtime}/tmp", f"{runtime}/journal"):
            make_folder(fs, folder, mode)
        sync = level is not Durability.OFF
        _write_new(fs, root, ".gitignore", f"/{RUNTIME}/\n".encode(), file_mode, sync=sync)
        _write_new(fs, root, ".gitattributes", attributes, file_mode, sync=sync)
        _write_new(fs, root, CONFIG, settings.encode(), file_mode, sync=sync)
        if sync:
            for folder in (runtime, root, *(os.path.dirname(folder) for folder in made)):
                sync_folder(fs, folder)
    except OSError as error:
        raise storage_error(error, root, None) from error
    winner = read_settings(fs, root)
    if winner is None:
        raise NotFound(f"{root}: the store vanished while it was made", path=root)
    return winner


def _write_new(
    fs: FileSystem, root: str, name: str, content: bytes, mode: int, *, sync: bool
) -> None:
    """Make a file whole, or leave the one that is there."""
    target = f"{root}/{name}"
    while True:
        tmp = f"{root}/{RUNTIME}/tmp/new-{uuid.uuid4().hex}"
        fd = make_file(fs, tmp, os.O_WRONLY | os.O_EXCL, mode)
        try:
            write_at(fs, fd, content, 0)
            if sync:
                fs.fsync(fd)
        finally:
            fs.close(fd)
        try:
            fs.rename_new(tmp, target)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                fs.unlink(tmp)
        except FileNotFoundError:
            # Another process has made the store meanwhile, and its recovery has cleared tmp/.
            continue
        return


def _make_folders(fs: FileSystem, path: str, mode: int) -> list[str]:
    """Make a folder and those above it; which were made, innermost first."""
    made = []
    try:
        fresh = make_folder(fs, path, mode)
    except Corrupt:
        return []  # a link, which may lead to a folder; what it does not lead to, is told next
    except FileNotFoundError:
        made = _make_folders(fs, os.path.dirname(path), mode)
        fresh = make_folder(fs, path, mode)  # once more, not until it works: /proc takes none
    return [path, *made] if fresh else made
