"""The store as a commit of git has it, read from git's objects: no file is touched."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from filestore.backend import Entry
from filestore.codec import codec_named
from filestore.engine import config as configuration
from filestore.engine.fs import Item
from filestore.engine.layout import CONFIG, Layout
from filestore.errors import Corrupt, NotFound
from filestore.index.fixed import Fixed
from filestore.integrations.git.objects import TREE, Objects, entries
from filestore.integrations.git.run import Git, GitError
from filestore.model import Key
from filestore.past import Past

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from filestore.backend import Unreadable
    from filestore.integrations.git.objects import TreeEntry
    from filestore.model import Revision
    from filestore.past import PastGround
    from filestore.query import Fields, Query

_FILES: Final = frozenset({"100644", "100755", "100664"})
_LINK: Final = "120000"


class Folders:
    """A commit's folders, for :class:`~filestore.engine.layout.Layout`.  Safe for threads."""

    def __init__(self, objects: Objects, tree: str, root: str) -> None:
        self._objects = objects
        self._root = root
        self._size = len(tree) // 2
        self._mutex = threading.Lock()
        self._known: dict[str, dict[str, TreeEntry]] = {root: self._read(tree)}

    def scan(self, path: str) -> list[Item]:
        return [
            Item(name, entry.mode in _FILES, entry.mode == TREE)
            for name, entry in self._folder(path).items()
        ]

    def lstat(self, path: str) -> os.stat_result:
        entry = self.entry(path)
        kinds = {TREE: stat.S_IFDIR, _LINK: stat.S_IFLNK}
        return os.stat_result((kinds.get(entry.mode, stat.S_IFREG), *(0,) * 9))

    def content(self, path: str) -> bytes:
        """A file's content.  Raises FileNotFoundError, GitError."""
        return self._objects.read(self._file(path).id.hex())

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are files.  Raises GitError."""
        found: dict[str, str] = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found[path] = self._file(path).id.hex()
        return dict(zip(found, self._objects.read_many([*found.values()]), strict=True))

    def differing(self, other: Folders, folder: str = "") -> Iterator[str]:
        """The paths below the roots of whatever is not the same in another commit, folders
        left out; folders that are the same are not read.
        """
        mine, theirs = self._below(folder), other._below(folder)
        for name in {name for name, _ in mine.items() ^ theirs.items()}:
            path = f"{folder}/{name}"
            kinds = {entry.mode for one in (mine, theirs) if (entry := one.get(name))}
            if TREE in kinds:
                yield from self.differing(other, path)
            if kinds != {TREE}:
                yield path

    def _below(self, folder: str) -> dict[str, TreeEntry]:
        try:
            return self._folder(self._root + folder)
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _file(self, path: str) -> TreeEntry:
        entry = self.entry(path)
        if entry.mode not in _FILES:
            raise FileNotFoundError(path)
        return entry

    def entry(self, path: str) -> TreeEntry:
        """What stands there.  Raises FileNotFoundError."""
        folder, _, name = path.rpartition("/")
        found = self._folder(folder).get(name)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _folder(self, path: str) -> dict[str, TreeEntry]:
        with self._mutex:
            known = self._known.get(path)
        if known is None:
            if not path.startswith(self._root):
                raise FileNotFoundError(path)
            entry = self.entry(path)
            if entry.mode != TREE:
                raise NotADirectoryError(path)
            known = self._read(entry.id.hex())
            with self._mutex:
                self._known[path] = known
        return known

    def _read(self, tree: str) -> dict[str, TreeEntry]:
        return entries(self._objects.read(tree), self._size)


class GitPast:
    """A :class:`filestore.past.PastGround`: the store in a commit.

    ``repository``: a folder in a work tree, or a bare repository.  ``folder``: the store's, from
    the repository's top.  ``computed`` gives a collection's computed fields, ``revision`` the
    revision to tell.  Raises NotFound for a revision that git does not know or that has no
    store, GitError, Corrupt, UnsupportedFormat.
    """

    def __init__(
        self,
        repository: str,
        commit: str,
        *,
        folder: str = "",
        revision: Revision = 0,
        computed: Callable[[str], Fields] | None = None,
    ) -> None:
        git = Git(repository)
        root = f"{commit}:{folder.strip('/')}".rstrip(":")
        tree = tree_of(git, commit, folder.strip("/"))
        self._revision = revision
        self._computed = computed
        self._indexes: dict[str, Fixed] = {}
        self._objects = Objects(git)
        try:
            self.folders = Folders(self._objects, tree, root)
            try:
                raw = self.folders.content(f"{root}/{CONFIG}")
            except FileNotFoundError as error:
                raise NotFound(f"{root}: there is no store (no {CONFIG})", path=root) from error
            config = configuration.parse(raw, f"{root}/{CONFIG}")
        except BaseException:
            self._objects.close()
            raise
        self._codec = codec_named(config.codec)
        self._layout = Layout(root, self._codec.suffix, config.fanout)

    @property
    def location(self) -> str:
        return self._layout.root

    @property
    def revision(self) -> Revision:
        return self._revision

    def get(self, key: tuple[str, str]) -> Entry | None:
        path = self._layout.path(key)
        try:
            raw = self.folders.content(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._parsed(key, path, raw)

    def _parsed(self, key: tuple[str, str], path: str, raw: bytes) -> Entry:
        try:
            return Entry(self._codec.parse(raw))
        except Corrupt as error:
            raise Corrupt(
                f"{path}: {error.message}", key=Key(*key), path=path, line=error.line
            ) from error

    def ids(self, collection: str) -> list[str]:
        return self._layout.ids(self.folders, collection)

    def collections(self) -> list[str]:
        return self._layout.collections(self.folders)

    def get_many(self, collection: str, ids: Sequence[str]) -> list[tuple[str, Entry | Unreadable]]:
        paths = {self._layout.path((collection, id)): id for id in ids}
        found: list[tuple[str, Entry | Unreadable]] = []
        for path, raw in self.folders.contents(paths).items():
            try:
                found.append((paths[path], self._parsed((collection, paths[path]), path, raw)))
            except Corrupt as error:
                found.append((paths[path], error))
        return found

    def computed(self, collection: str) -> Fields:
        return {} if self._computed is None else self._computed(collection)

    def candidates(self, collection: str, query: Query) -> list[str] | None:
        index = self._indexes.get(collection)
        if index is None:
            index = self._indexes.setdefault(
                collection,
                Fixed(partial(self.ids, collection), partial(self.get_many, collection)),
            )
        return index.candidates(query)

    def suspects(self, other: PastGround) -> Mapping[str, Collection[str]] | None:
        """Those whose files are not the same, in two commits that keep them in the same places."""
        if not isinstance(other, GitPast) or other.form != self.form:
            return None
        found: dict[str, list[str]] = {}
        for path in self.folders.differing(other.folders):
            key = self._layout.key(self._layout.root + path)
            if key is not None:
                found.setdefault(key.collection, []).append(key.id)
        return found

    @property
    def form(self) -> tuple[str, int]:
        """What tells where a document is: the suffix and the fan-out."""
        return self._layout.suffix, self._layout.fanout

    def close(self) -> None:
        self._objects.close()


def tree_of(git: Git, commit: str, folder: str) -> str:
    """The name of a commit's tree, or of a folder's in it.  Raises NotFound, GitError."""
    if not commit or commit.startswith("-") or ":" in commit or not commit.isprintable():
        raise NotFound(f"{commit!r} is no revision of git: name a commit, a branch or a tag")
    done = git.call("rev-parse", "--verify", "-q", f"{commit}^{{commit}}", codes=(0, 1, 128))
    if done.returncode == 128 and b"not a git repository" in done.stderr:
        raise GitError(f"{git.folder} is in no git repository", path=git.folder)
    if done.returncode:
        raise NotFound(f"{git.folder}: git knows no revision {commit!r}", path=git.folder)
    name = done.stdout.decode().strip()
    tree = git.call("rev-parse", "--verify", "-q", f"{name}:{folder}", codes=(0, 1, 128))
    if tree.returncode:
        raise NotFound(f"{commit} has no folder {folder!r}", path=git.folder)
    return tree.stdout.decode().strip()


def at(repository: str | os.PathLike[str], commit: str, folder: str = "") -> Past:
    """The store in a commit of any repository, also a bare one, where no store can be opened.

    ``folder`` is the store's, from the repository's top.  To be closed; read like
    :meth:`filestore.Store.at`.  Raises NotFound, GitError, Corrupt, UnsupportedFormat.
    """
    return Past(GitPast(os.fspath(repository), commit, folder=folder), lambda _: None)
