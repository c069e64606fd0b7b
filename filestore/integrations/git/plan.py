"""What a commit to git is made of: which trees it needs, and its message.  No process is run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from filestore.integrations.git.objects import TREE, TreeEntry, patched, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filestore.model import Commit, Key

_NAMED: Final = 3
_REASONS: Final = 20


class Trees:
    """The tree objects that lead from a new root to changed files.

    ``read`` gives the content of a tree object that is there, by its name in hex.
    """

    def __init__(self, read: Callable[[str], bytes], object_format: str) -> None:
        self._read = read
        self._format = object_format
        self._size = hashlib.new(object_format, usedforsecurity=False).digest_size
        self.new: dict[str, bytes] = {}  # to be written, by name
        # Of each folder above the files, with a slash behind, its tree before and after.
        self.folders: dict[str, tuple[str | None, str | None]] = {}
        # The paths that are not so already, and whether they were there.
        self.differing: dict[str, bool] = {}

    def change(self, root: str | None, files: Mapping[str, TreeEntry | None]) -> str:
        """The name of the root tree with these files put in or taken out (None)."""
        raw = self._changed(None if root is None else self._read(root), files, "")
        name = self._named(raw)
        self.folders[""] = root, name
        return name

    def _changed(
        self, old: bytes | None, files: Mapping[str, TreeEntry | None], above: str
    ) -> bytes:
        here: dict[str, TreeEntry | None] = {}
        below: dict[str, dict[str, TreeEntry | None]] = {}
        for path, entry in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = entry
            else:
                here[name] = entry
        raw = old or b""
        there = pick(raw, {*below, *here}, self._size)
        edits: dict[str, TreeEntry | None] = {}
        for name, entry in here.items():
            was = there.get(name)
            if entry is not None and was is not None and was.mode == "100755":
                entry = TreeEntry(was.mode, entry.id)  # noqa: PLW2901  (as git has it)
            if entry != was:
                edits[name] = entry
                self.differing[above + name] = was is not None
        for name, inside in below.items():
            folder = there.get(name)
            is_folder = folder is not None and folder.mode == TREE
            before = self._read(folder.id.hex()) if folder is not None and is_folder else None
            after = self._changed(before, inside, f"{above}{name}/")
            tree = folder.id.hex() if folder is not None and is_folder else None
            becomes = tree
            if after != (before or b""):
                becomes = self._named(after) if after else None
                edits[name] = TreeEntry(TREE, bytes.fromhex(becomes)) if becomes else None
            self.folders[f"{above}{name}/"] = tree, becomes
        return patched(raw, edits, self._size) if edits else raw

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
