"""Where things are in a store's tree: pure functions between keys and paths.

    state/
      filestore.yaml            settings, tracked by git
      volumes/<id>.json         a document; a collection is a folder
      driver_data/lvm/<id>.json collections nest
      volumes/@3f/<id>.json     with fan-out: folders named by a hash of the id
      .filestore/               runtime, private to this machine
        lock  state  journal/NNNNNNNN.log  tmp/  index/  lost/  reshard

How an id becomes a file name is in :mod:`filestore.engine.names` (N1).
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final, Protocol

from filestore.engine.names import (
    decode_collection,
    decode_id,
    encode_collection,
    encode_id,
    is_ordinary,
)
from filestore.errors import Corrupt, FilestoreError, InvalidKey
from filestore.model import Key

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from filestore.engine.fs import Item

RUNTIME: Final = ".filestore"
CONFIG: Final = "filestore.yaml"
_MAX_WAYS: Final = 4096  # with two levels of fan-out a collection has 65,536 folders
_MAX_PATH: Final = 4000  # Linux's PATH_MAX is 4096 with the final NUL


class Folders(Protocol):
    """What a layout asks of a file system; paths begin with the layout's root."""

    def scan(self, path: str) -> list[Item]:
        """The names in a folder.  Raises FileNotFoundError, NotADirectoryError."""

    def lstat(self, path: str) -> os.stat_result:
        """The status of a name, of a link its own.  Raises the same."""


class Layout:
    """The paths of one store, and the permissions of what is made there.

    ``fanout`` follows the settings, for another process may reshard the store;
    ``moves`` counts how often it changed.
    """

    def __init__(self, root: str, suffix: str, fanout: int, file_mode: int = 0o600) -> None:
        self.file_mode = file_mode
        self.folder_mode = folder_mode(file_mode)
        self.root = root
        self.suffix = suffix
        self.fanout = fanout
        self.moves = 0
        self.config = f"{root}/{CONFIG}"
        self.runtime = f"{root}/{RUNTIME}"
        self.lock = f"{self.runtime}/lock"
        self.state = f"{self.runtime}/state"
        self.journal = f"{self.runtime}/journal"
        self.tmp = f"{self.runtime}/tmp"
        self.lost = f"{self.runtime}/lost"
        self.reshard = f"{self.runtime}/reshard"
        self._folders: dict[str, str] = {}
        self._ways: dict[str, tuple[str, ...]] = {}
        self._collections_in: dict[str, str] = {}

    def move(self, fanout: int) -> None:
        """Have documents elsewhere from here on."""
        if fanout != self.fanout:
            self.fanout = fanout
            self.moves += 1

    def segment(self, number: int) -> str:
        """The file of a segment of the journal."""
        return f"{self.journal}/{number:08d}.log"

    def folder(self, collection: str) -> str:
        """The folder of a collection.  Raises InvalidKey."""
        folder = self._folders.get(collection)
        if folder is None:
            folder = "/".join((self.root, *encode_collection(collection)))
            if len(self._folders) < _MAX_WAYS:
                self._folders[collection] = folder
        return folder

    def path(self, key: tuple[str, str], fanout: int | None = None) -> str:
        """The file of a document, by default at the fan-out in force.  Raises InvalidKey."""
        collection, id = key
        parts = encode_id(id)
        levels = self.fanout if fanout is None else fanout
        folder = self._folders.get(collection) or self.folder(collection)
        if levels:
            folder = f"{folder}/{_shard(id, levels)}"
        name = parts[0] if len(parts) == 1 else "/".join(parts)
        path = f"{folder}/{name}{self.suffix}"
        if len(path) > _MAX_PATH:
            raise InvalidKey(
                f"the path of {Key(*key)!s:.80} would have {len(path)} bytes; "
                f"the file system takes {_MAX_PATH}: use a shorter id",
                key=Key(*key),
            )
        return path

    def key(self, path: str, fanout: int | None = None) -> Key | None:
        """The document that a file is, if it stands where that document's file belongs."""
        below = path[len(self.root) + 1 :].split("/")
        for depth in range(1, len(below)):
            collection = decode_collection(tuple(below[:depth]))
            if collection is None:
                continue
            rest = tuple(part for part in below[depth:-1] if not is_shard(part))
            id = decode_id((*rest, below[-1][: -len(self.suffix)]))
            if id is None:
                continue
            try:
                if self.path((collection, id), fanout) == path:
                    return Key(collection, id)
            except FilestoreError:
                continue
        return None

    def name(self, path: str) -> str:
        """What a file is called below the root, without the folders of a fan-out.

        So it is called the same wherever a reshard, or a checkout, puts it.
        """
        below = path[len(self.root) + 1 :]
        if "@" not in below:
            return below
        *folders, name = below.split("/")
        return "/".join([*[one for one in folders if not is_shard(one)], name])

    def place(self, name: str, key: tuple[str, str]) -> str:
        """The file of a document whose :meth:`name` is known, at the fan-out in force."""
        return self.path(key) if self.fanout else f"{self.root}/{name}"

    def named(self, name: str) -> Key | None:
        """The document that :meth:`name` names; None where it names none."""
        folder, _, file = name.rpartition("/")
        collection = self._collections_in.get(folder)
        if collection is None:
            collection = self._collection_in(folder)
        if collection and file.endswith(self.suffix):
            id = file[: -len(self.suffix)]
            if is_ordinary(id) and len(self.root) + 1 + len(name) <= _MAX_PATH:
                return Key(collection, id)
        return self.key(f"{self.root}/{name}", 0)

    def _collection_in(self, folder: str) -> str:
        """The collection whose ordinary ids are files of a folder below the root, or nothing."""
        parts = folder.split("/")
        collection = None if parts[-1].endswith("%") else decode_collection(parts)
        if len(self._collections_in) < _MAX_WAYS:
            self._collections_in[folder] = collection or ""
        return collection or ""

    def folders(self, folder: str) -> tuple[str, ...]:
        """The folders from the root to this one, the root left out, outermost first."""
        folders = self._ways.get(folder)
        if folders is None:
            parts = folder[len(self.root) + 1 :].split("/")
            folders = tuple(
                "/".join((self.root, *parts[:depth])) for depth in range(1, len(parts) + 1)
            )
            if len(self._ways) < _MAX_WAYS:
                self._ways[folder] = folders
        return folders

    def ids(self, fs: Folders, collection: str) -> list[str]:
        """The ids whose files are where they should be; none where there is no folder."""
        if self.fanout:
            return [id for id, _ in self.documents(fs, collection)]
        found: list[str] = []
        suffix, cut = self.suffix, -len(self.suffix)
        rest = []
        for item in self._top(fs, collection):
            name, is_file, _ = item
            if is_file and name.endswith(suffix) and is_ordinary(name[:cut]):
                found.append(name[:cut])
            else:
                rest.append(item)
        top = self.folder(collection)
        for _, parts in self._named(fs, rest, top, (), 0):
            id = decode_id(parts)
            if id is not None:
                found.append(id)
        return found

    def documents(
        self, fs: Folders, collection: str, fanout: int | None = None
    ) -> Iterator[tuple[str, str]]:
        """The ids whose files are where a fan-out wants them, and those files."""
        levels = self.fanout if fanout is None else fanout
        top = self.folder(collection)
        for folder, parts in self._named(fs, self._top(fs, collection), top, (), levels):
            id = decode_id(parts)
            path = f"{folder}/{parts[-1]}{self.suffix}"
            if id is not None and (not levels or self.path((collection, id), levels) == path):
                yield id, path

    def _top(self, fs: Folders, collection: str) -> list[Item]:
        """What is in a collection's folder."""
        top = self.folder(collection)
        for above in self.folders(top):
            if _is_link(fs, above):
                raise Corrupt(f"{above}: is a symbolic link, not a folder", path=above)
        return _scan(fs, top)

    def _names(
        self, fs: Folders, folder: str, before: tuple[str, ...], fanout: int
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The folders and the file names, without suffix, of what may be documents."""
        return self._named(fs, _scan(fs, folder), folder, before, fanout)

    def _named(
        self, fs: Folders, items: list[Item], folder: str, before: tuple[str, ...], fanout: int
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        suffix, cut = self.suffix, -len(self.suffix)
        for name, is_file, is_folder in items:
            if is_folder:
                if fanout and is_shard(name):
                    yield from self._names(fs, f"{folder}/{name}", (), fanout - 1)
                elif not fanout and name[-1] == "%":
                    yield from self._names(fs, f"{folder}/{name}", (*before, name), 0)
            elif is_file and not fanout and name.endswith(suffix) and name[0] != ".":
                yield folder, (*before, name[:cut])

    def collections(self, fs: Folders) -> list[str]:
        """The names of the collections that have a document, sorted."""
        return sorted(self._collections(fs, self.root, ()))

    def _collections(self, fs: Folders, folder: str, parts: tuple[str, ...]) -> Iterator[str]:
        fanout = self.fanout
        for name, place in self._places(fs, folder, parts):
            if next(self._names(fs, place, (), fanout), None) is not None:
                yield name

    def places(self, fs: Folders) -> list[tuple[str, str]]:
        """Every collection that has a folder, though there be no document in it, and the folder."""
        return list(self._places(fs, self.root, ()))

    def _places(
        self, fs: Folders, folder: str, parts: tuple[str, ...]
    ) -> Iterator[tuple[str, str]]:
        if parts:
            name = decode_collection(parts)
            if name is None:
                return
            yield name, folder
        for item in _scan(fs, folder):
            name = item.name
            if item.is_folder and name[0] not in ".@" and name[-1] != "%":
                yield from self._places(fs, f"{folder}/{name}", (*parts, name))


def folder_mode(file_mode: int) -> int:
    """The permissions of a folder: whoever may read or write its files may enter it."""
    readers = file_mode & 0o444
    return 0o700 | (file_mode & 0o066) | readers >> 2


def _shard(id: str, levels: int) -> str:
    from hashlib import blake2b  # takes 3 ms to import, and a flat store needs none

    digest = blake2b(id.encode("utf-8", "surrogatepass"), digest_size=levels)
    return "/".join(f"@{byte:02x}" for byte in digest.digest())


def is_shard(name: str) -> bool:
    """Whether a folder may be one of a fan-out's."""
    return len(name) == 3 and name[0] == "@"


def _is_link(fs: Folders, path: str) -> bool:
    try:
        return stat.S_ISLNK(fs.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _scan(fs: Folders, folder: str) -> list[Item]:
    try:
        return fs.scan(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
