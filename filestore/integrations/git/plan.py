"""What a commit to git is made of: which trees it needs, and its message.  No process is run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from filestore.integrations.git.objects import TREE, Place, TreeEntry, patched, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filestore.model import Commit, Key

Ids: TypeAlias = "tuple[str | None, str | None]"
"""A tree's name before and after; None for none."""

_NAMED: Final = 3
_REASONS: Final = 20


@dataclass(slots=True)
class _Folder:
    """A folder that leads to files, as its tree object has it; ``tree`` None: there is none."""

    tree: str | None
    raw: bytes
    there: dict[str, Place]
    below: dict[str, _Folder]


class Trees:
    """The tree objects that lead from a new root to changed files.

    ``read`` gives the content of a tree object that is there, by its name in hex; ``root`` is
    the root's, None for none.  First :meth:`open`, with the paths that may change,
    then :meth:`change`.
    """

    def __init__(self, read: Callable[[str], bytes], object_format: str, root: str | None) -> None:
        self._read = read
        self._format = object_format
        self._size = hashlib.new(object_format, usedforsecurity=False).digest_size
        self._top = _Folder(root, b"", {}, {})
        self.new: dict[str, bytes] = {}  # to be written, by name
        # Of each folder above the files, with a slash behind, its tree before and after.
        self.folders: dict[str, Ids] = {}
        # The paths that are not so already, and whether they were there.
        self.differing: dict[str, bool] = {}

    def open(self, paths: Iterable[str]) -> None:
        """Read the trees that lead to these paths.  Raises what ``read`` raises."""
        self._top = self._opened(self._top.tree, paths)

    def _opened(self, tree: str | None, paths: Iterable[str]) -> _Folder:
        here: set[str] = set()
        below: dict[str, list[str]] = {}
        for path in paths:
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, []).append(rest)
            else:
                here.add(name)
        raw = b"" if tree is None else self._read(tree)
        there = places(raw, {*below, *here}, self._size)
        folders = {}
        for name, inside in below.items():
            place = there.get(name)
            is_folder = place is not None and place.entry.mode == TREE
            id = place.entry.id.hex() if place is not None and is_folder else None
            folders[name] = self._opened(id, inside)
        return _Folder(tree, raw, there, folders)

    def change(self, files: Mapping[str, TreeEntry | None]) -> str:
        """The name of the root tree with these files put in or taken out (None)."""
        raw = self._changed(self._top, files, "")
        name = self._named(raw)
        self.folders[""] = self._top.tree, name
        return name

    def _changed(self, folder: _Folder, files: Mapping[str, TreeEntry | None], above: str) -> bytes:
        edits: dict[str, TreeEntry | None] = {}
        below: dict[str, dict[str, TreeEntry | None]] = {}
        for path, entry in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = entry
                continue
            place = folder.there.get(name)
            was = None if place is None else place.entry
            if entry is not None and was is not None and was.mode == "100755":
                entry = TreeEntry(was.mode, entry.id)  # noqa: PLW2901  (as git has it)
            if entry != was:
                edits[name] = entry
                self.differing[above + name] = was is not None
        for name, inside in below.items():
            one = folder.below[name]
            after = self._changed(one, inside, f"{above}{name}/")
            becomes = one.tree
            if after != one.raw:
                becomes = self._named(after) if after else None
                edits[name] = TreeEntry(TREE, bytes.fromhex(becomes)) if becomes else None
            self.folders[f"{above}{name}/"] = one.tree, becomes
        return patched(folder.raw, edits, folder.there, self._size) if edits else folder.raw

    def _named(self, raw: bytes) -> str:
        total = hashlib.new(self._format, b"tree %d\0" % len(raw), usedforsecurity=False)
        total.update(raw)
        name = total.hexdigest()
        self.new[name] = raw
        return name


def message_for(keys: Mapping[Key, str], commits: Sequence[Commit]) -> str:
    """A message that tells what changed, and below why, as the store's commits say it.

    ``keys``: each document with ``Add``, ``Change`` or ``Delete``.
    """
    verbs: dict[str, list[Key]] = {}
    for key, verb in sorted(keys.items()):
        verbs.setdefault(verb, []).append(key)
    parts = [_told(verb, verbs[verb]) for verb in ("Add", "Change", "Delete") if verb in verbs]
    subject = ", ".join(parts) or "Change the store's settings"
    subject = subject[0] + subject[1:].replace("Change", "change").replace("Delete", "delete")
    reasons = dict.fromkeys(
        " ".join(commit.message.split()) + (f" ({commit.actor})" if commit.actor else "")
        for commit in commits
        if commit.message and not commit.message.isspace()
    )
    shown = [f"- {reason}" for reason in list(reasons)[:_REASONS]]
    if len(reasons) > _REASONS:
        shown.append(f"- and {len(reasons) - _REASONS} more")
    return "\n".join([subject, *(["", *shown] if shown else []), ""])


def _told(verb: str, keys: list[Key]) -> str:
    if len(keys) <= _NAMED and sum(len(key.id) for key in keys) <= 60:
        return f"{verb} {', '.join(map(_visible, keys))}"
    collections = ", ".join(sorted({key.collection for key in keys}))
    return f"{verb} {len(keys)} of {collections}"


def _visible(key: Key) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(key))
