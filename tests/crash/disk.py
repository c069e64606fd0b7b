"""What a power cut may leave of a folder: a model of which writes and names are durable.

A file's bytes are durable once the file was synced, a name once its folder
was (a name changed in two folders at once, once either was: journalled file
systems rename atomically); ``syncfs`` makes everything so.  All else is
*pending* and may be lost, kept, or torn, each independently of the rest, but
a name only together with the earlier changes of that name.  A file that is
mapped for writing may hold anything.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = 4096
SECTOR: Final = 512


class Fate(Enum):
    """What becomes of a file's pending writes."""

    LOST = "lost"
    KEPT = "kept"
    ZEROED = "zeroed"  # the size arrived, the data did not
    PAGES = "pages"  # some pages of some writes arrived
    CUT = "cut"  # the writes up to some byte arrived, sectors or not


class _State(Enum):
    PENDING = "pending"
    SYNCED = "synced"
    DOOMED = "doomed"  # a sync of it failed: cached, clean, and never written


@dataclass(slots=True)
class _Write:
    offset: int
    data: bytes | None  # None: truncate or extend to ``offset``
    state: _State = _State.PENDING


def _apply(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


class File:
    """A file, whatever its names: durable bytes and the writes since."""

    def __init__(self, content: bytes = b"", mode: int = 0o600) -> None:
        self.base = bytearray(content)
        self.mode = mode
        self.writes: list[_Write] = []
        self.mapped: int | None = None  # a descriptor to read what was stored

    def write(self, offset: int, data: bytes) -> None:
        self.writes.append(_Write(offset, bytes(data)))

    def resize(self, size: int) -> None:
        self.writes.append(_Write(size, None))

    def synced(self) -> None:
        if self.mapped is not None:
            self.base = bytearray(_whole(self.mapped))
            self.writes.clear()
            return
        for write in self.writes:
            if write.state is _State.PENDING:
                write.state = _State.SYNCED
        if all(write.state is _State.SYNCED for write in self.writes):
            self._fold(self.base, Fate.KEPT)
            self.writes.clear()

    def sync_failed(self) -> None:
        """The pages are marked clean: no later sync writes them."""
        for write in self.writes:
            if write.state is _State.PENDING and write.data is not None:
                write.state = _State.DOOMED

    def content(self, fate: Fate, chance: random.Random) -> bytes:
        if self.mapped is not None:
            return self._mapped_content(self.mapped, fate, chance)
        content = bytearray(self.base)
        if fate is Fate.PAGES:
            self._some_pages(content, chance)
        elif fate is Fate.CUT:
            self._cut(content, chance)
        else:
            self._fold(content, fate)
        return bytes(content)

    def _mapped_content(self, descriptor: int, fate: Fate, chance: random.Random) -> bytes:
        now = _whole(descriptor)
        if fate is Fate.KEPT:
            return now
        if fate is Fate.LOST:
            return bytes(self.base)
        if fate is Fate.ZEROED:
            return bytes(len(now))
        if fate is Fate.CUT:
            return chance.randbytes(len(now))
        old = bytes(self.base).ljust(len(now), b"\0")
        words = range(0, len(now), 8)
        return b"".join(
            chance.choice((old[i : i + 8], now[i : i + 8], bytes(len(now[i : i + 8]))))
            for i in words
        )

    def _fold(self, content: bytearray, fate: Fate) -> None:
        last = max((i for i, w in enumerate(self.writes) if w.state is _State.SYNCED), default=-1)
        for index, write in enumerate(self.writes):
            if write.state is _State.SYNCED or fate is Fate.KEPT:
                self._whole_write(content, write)
            elif fate is Fate.ZEROED or index < last:  # sizes and truncations are metadata
                self._size_only(content, write)

    @staticmethod
    def _whole_write(content: bytearray, write: _Write) -> None:
        if write.data is None:
            _resize(content, write.offset)
        else:
            _apply(content, write.offset, write.data)

    @staticmethod
    def _size_only(content: bytearray, write: _Write) -> None:
        if write.data is None:
            _resize(content, write.offset)
        else:
            _resize(content, max(len(content), write.offset + len(write.data)))

    def _some_pages(self, content: bytearray, chance: random.Random) -> None:
        sized = chance.random() < 0.5
        for write in self.writes:
            if write.state is _State.SYNCED:
                self._whole_write(content, write)
                continue
            if write.data is None:
                if chance.random() < 0.5:
                    return  # without the truncation, nothing that came after it
                _resize(content, write.offset)
                continue
            start, end = write.offset, write.offset + len(write.data)
            while start < end:
                stop = min(end, start - start % PAGE + PAGE)
                if chance.random() < 0.5:
                    _apply(content, start, write.data[start - write.offset : stop - write.offset])
                start = stop
            if sized:
                self._size_only(content, write)

    def _cut(self, content: bytearray, chance: random.Random) -> None:
        pending = [w for w in self.writes if w.state is not _State.SYNCED]
        victim = chance.choice(pending) if pending else None
        arrived = True
        for write in self.writes:
            if write is victim:
                arrived = False
                if write.data:
                    cut = chance.randrange(len(write.data) + 1)
                    if chance.random() < 0.5:  # at the sector's end, not within it
                        cut = max(0, cut - (write.offset + cut) % SECTOR)
                    _apply(content, write.offset, write.data[:cut])
                    if chance.random() < 0.5:
                        self._size_only(content, write)
            elif arrived or write.state is _State.SYNCED:
                self._whole_write(content, write)


def _whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


class Link:
    """A symbolic link; nothing of it is modelled but that it is there."""

    def __init__(self, target: str) -> None:
        self.target = target


class Folder:
    """A folder: the durable names, and the names as they are now."""

    def __init__(self, mode: int = 0o700) -> None:
        self.mode = mode
        self.base: dict[str, Node] = {}
        self.names: dict[str, Node] = {}


Node: TypeAlias = File | Folder | Link


@dataclass(slots=True)
class _Slot:
    folder: Folder
    name: str
    node: Node | None  # None: the name is gone
    durable: bool = False

    def assign(self, names: dict[str, Node]) -> None:
        if self.node is None:
            names.pop(self.name, None)
        else:
            names[self.name] = self.node

    @property
    def place(self) -> tuple[int, str]:
        return id(self.folder), self.name


_Change: TypeAlias = tuple[_Slot, ...]  # the names that one call changed together


class Item(NamedTuple):
    """One name in an image; ``content`` is None for a folder."""

    content: bytes | str | None
    mode: int


@dataclass(frozen=True, slots=True)
class Image:
    """A tree that a power cut may leave; ``label`` tells how it came about."""

    label: str
    items: dict[str, Item] = field(repr=False)
    digest: bytes = field(repr=False)

    def write(self, folder: str) -> None:
        """Make it real in a folder that does not exist yet."""
        os.mkdir(folder, 0o700)
        for path, (content, mode) in self.items.items():
            target = os.path.join(folder, path)
            if content is None:
                os.mkdir(target, mode)
            elif isinstance(content, str):
                os.symlink(content, target)
            else:
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                os.write(descriptor, content.rstrip(b"\0"))
                os.ftruncate(descriptor, len(content))
                os.close(descriptor)


class Disk:
    """A folder of the real file system, and what of it would survive a power cut.

    Everything there at the start is durable.  Only calls that go through a
    :class:`~tests.crash.sim.RecordingFileSystem` on this disk are known to it.
    """

    def __init__(self, root: str, boot_id: str = "boot-1") -> None:
        self.path = os.path.realpath(root)
        self.boot_id = boot_id
        self.root = self._import(self.path)
        self._changes: list[_Change] = []
        self._mapped: list[File] = []
        self._frozen: dict[File, bytes] = {}

    def _import(self, path: str) -> Folder:
        folder = Folder(os.stat(path).st_mode & 0o7777)
        for entry in os.scandir(path):
            mode = entry.stat(follow_symlinks=False).st_mode & 0o7777
            if entry.is_symlink():
                folder.names[entry.name] = Link(os.readlink(entry.path))
            elif entry.is_dir():
                folder.names[entry.name] = self._import(entry.path)
            else:
                with open(entry.path, "rb") as file:
                    folder.names[entry.name] = File(file.read(), mode)
        folder.base = dict(folder.names)
        return folder

    # Names.

    def _parts(self, path: str) -> list[str] | None:
        """The names that lead to a path, None where it is not on this disk."""
        if path == self.path:
            return []
        head, size = self.path + "/", len(self.path) + 1
        if path[:size] != head or "/../" in path or path.endswith("/.."):
            return None
        return path[size:].split("/")

    def reaches(self, path: str) -> bool:
        return self._parts(path) is not None

    def place(self, path: str) -> tuple[Folder, str]:
        """The folder that a path is in, and its last name."""
        parts = self._parts(path)
        assert parts, f"outside of the disk: {path!r}"
        *parents, name = parts
        folder = self.root
        for parent in parents:
            found = folder.names[parent]
            assert isinstance(found, Folder), f"not through a folder: {path!r}"
            folder = found
        return folder, name

    def find(self, path: str) -> Node | None:
        """What a path names; None for nothing, and for what is not on this disk."""
        parts = self._parts(path)
        if parts is None:
            return None
        node: Node | None = self.root
        for name in parts:
            if not isinstance(node, Folder):
                return None
            node = node.names.get(name)
        return node

    def change(self, *slots: tuple[tuple[Folder, str], Node | None]) -> None:
        """Names came, went or moved, together."""
        change = tuple(_Slot(folder, name, node) for (folder, name), node in slots)
        for slot in change:
            slot.assign(slot.folder.names)
        self._changes.append(change)

    def folder_synced(self, folder: Folder) -> None:
        for change in self._changes:
            for slot in change:
                slot.durable |= slot.folder is folder
        self._fold()

    def all_synced(self) -> None:
        for node in self._nodes():
            if isinstance(node, File):
                node.synced()
        for change in self._changes:
            for slot in change:
                slot.durable = True
        self._fold()

    def _fold(self) -> None:
        while self._changes and all(slot.durable for slot in self._changes[0]):
            for slot in self._changes.pop(0):
                slot.assign(slot.folder.base)

    def _nodes(self) -> Iterator[Node]:
        todo: list[Node] = [self.root]
        while todo:
            node = todo.pop()
            yield node
            if isinstance(node, Folder):
                todo.extend(node.names.values())

    # Death of a process: what it had mapped stays as it was.

    def mapped(self, file: File, descriptor: int) -> None:
        """A process can store into a file's pages from now on."""
        if file.mapped is None:
            file.mapped = os.dup(descriptor)
            self._mapped.append(file)

    def freeze(self) -> None:
        for file in self._mapped:
            assert file.mapped is not None
            self._frozen.setdefault(file, _whole(file.mapped))

    def settle(self) -> None:
        """Undo what a dead process's code still stored in its mappings."""
        for node, content in self._frozen.items():
            assert node.mapped is not None
            if _whole(node.mapped) != content:
                os.pwrite(node.mapped, content, 0)
        self._frozen.clear()

    def release(self) -> None:
        """Close what the model holds open."""
        self.settle()
        for file in self._mapped:
            if file.mapped is not None:
                os.close(file.mapped)
                file.mapped = None
        self._mapped.clear()

    # Images.

    def now(self) -> Image:
        """The tree as every process sees it: what the death of one leaves."""
        self.settle()
        chance = random.Random(0)
        return self._image("now", self._changes, Fate.KEPT, chance)

    def images(self, *, seed: int = 0, samples: int = 4, split: bool = False) -> Iterator[Image]:
        """The trees that a power cut may leave now, each once: the extremes, then samples.

        ``split``: a rename may survive in one of its two folders alone, as on
        file systems without a journal.
        """
        self.settle()
        seen: set[bytes] = set()
        for image in self._candidates(seed, samples, split):
            if image.digest not in seen:
                seen.add(image.digest)
                yield image

    def _candidates(self, seed: int, samples: int, split: bool) -> Iterator[Image]:
        chance = random.Random(seed)
        durable = self._durable(split)
        everything = self._changes
        yield self._image("lost", durable, Fate.LOST, chance)
        yield self._image("kept", everything, Fate.KEPT, chance)
        yield self._image("names without data", everything, Fate.LOST, chance)
        yield self._image("data without names", durable, Fate.KEPT, chance)
        yield self._image("zeroed", everything, Fate.ZEROED, chance)
        yield self._image("pages", everything, Fate.PAGES, chance)
        yield self._image("cut", everything, Fate.CUT, chance)
        for number in range(samples):
            if number % 2:
                changes = self._sample(chance, split)
            else:
                changes = self._first(chance.randrange(len(everything) + 1), split)
            yield self._image(f"sample {seed}:{number}", changes, None, chance)

    def _durable(self, split: bool) -> list[_Change]:
        return self._chosen((slot.durable for c in self._changes for slot in c), split)

    def _first(self, count: int, split: bool) -> list[_Change]:
        return self._chosen(
            (slot.durable or i < count for i, c in enumerate(self._changes) for slot in c), split
        )

    def _sample(self, chance: random.Random, split: bool) -> list[_Change]:
        odds = chance.choice((0.1, 0.5, 0.9))
        return self._chosen(
            (slot.durable or chance.random() < odds for c in self._changes for slot in c), split
        )

    def _chosen(self, wanted: Iterable[bool], split: bool) -> list[_Change]:
        """The chosen slots with all that must have come before them."""
        marks = iter(wanted)
        marked = [[next(marks) for _ in change] for change in self._changes]
        needed: set[tuple[int, str]] = set()
        chosen: list[_Change] = []
        for change, own in zip(reversed(self._changes), reversed(marked), strict=True):
            takes = [mark or slot.place in needed for slot, mark in zip(change, own, strict=True)]
            if not split and any(takes):
                takes = [True] * len(takes)
            slots = tuple(slot for slot, take in zip(change, takes, strict=True) if take)
            needed.update(slot.place for slot in slots)
            if slots:
                chosen.append(slots)
        chosen.reverse()
        return chosen

    def _image(
        self, label: str, changes: list[_Change], fate: Fate | None, chance: random.Random
    ) -> Image:
        tables: dict[int, dict[str, Node]] = {}

        def names(folder: Folder) -> dict[str, Node]:
            return tables.setdefault(id(folder), dict(folder.base))

        for change in changes:
            for slot in change:
                slot.assign(names(slot.folder))
        items: dict[str, Item] = {}
        contents: dict[File, bytes] = {}  # a file with two names has one content

        def visit(folder: Folder, prefix: str) -> None:
            for name, node in sorted(names(folder).items()):
                path = prefix + name
                if isinstance(node, Folder):
                    items[path] = Item(None, node.mode)
                    visit(node, path + "/")
                elif isinstance(node, Link):
                    items[path] = Item(node.target, 0o777)
                else:
                    if node not in contents:
                        own = fate or chance.choice(tuple(Fate))
                        contents[node] = node.content(own, chance)
                    items[path] = Item(contents[node], node.mode)

        visit(self.root, "")
        digest = blake2b()
        for path, item in items.items():
            digest.update(repr((path, item.mode)).encode())
            content = item.content
            if content is not None:
                digest.update(content.encode() if isinstance(content, str) else content)
        return Image(label, items, digest.digest())
