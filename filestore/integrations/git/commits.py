"""Committing to git what the store has changed, and nothing else.

What changed since the last commit is known from the journal, so no other file is looked at.  The
commit is made from HEAD's own tree: what somebody has staged besides stays staged.  The documents
go in as their files are, through git's filters.

The position is kept in the runtime folder: the store's revision and the commit that has it.  It
is written last, and a commit that is begun from an older position finds the same files again
and that HEAD has them, so a crash anywhere repeats no commit and loses none.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from filestore.engine.layout import CONFIG, RUNTIME
from filestore.errors import Conflict, Corrupt, FilestoreError
from filestore.integrations.git import repository as repositories
from filestore.integrations.git.batch import Batch
from filestore.integrations.git.conflicts import read_file
from filestore.integrations.git.loose import Loose
from filestore.integrations.git.objects import Objects, TreeEntry
from filestore.integrations.git.plan import Trees, message_for
from filestore.integrations.git.run import Aside, Git
from filestore.integrations.git.saving import write_file
from filestore.integrations.git.staging import Staging, left_out
from filestore.integrations.git.tree import GitPast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filestore.backend import Backend
    from filestore.integrations.git.plan import Ids
    from filestore.integrations.git.repository import Repository
    from filestore.model import Commit, Key, Revision
    from filestore.query import Fields
    from filestore.store import Store

_UNDER_WAY: Final = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
_OWN_FILES: Final = (CONFIG, ".gitattributes", ".gitignore")
_LARGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Position:
    """A revision of the store, and the git commit that has it; ``fanout`` is where files were."""

    revision: Revision
    commit: str
    fanout: int


class StoreGit:
    """``store.git``: the repository that the store's folder is in.  Safe for threads.

    Several processes may commit at once: git's own locks decide, and the loser gets an error.
    Git's hooks are not run.
    """

    def __init__(self, store: Store, backend: Backend) -> None:
        self._store = store
        self._backend = backend
        self._mutex = threading.Lock()
        self._batches: list[Batch] = []

    def commit(self, message: str | None = None, *, full: bool = False) -> str | None:
        """Commit to git what the store has changed since the last commit made so.

        One git commit, however many of the store's it covers; its name, or None when nothing
        has changed.  Without a message it tells which documents changed, and the messages of
        the store's commits.  ``full`` compares every file with git instead, which finds also what
        was edited by hand and not noticed yet; so does the first commit, and one that
        the journal does not lead back from, or after HEAD went elsewhere.

        Nothing else in the index is committed or touched.  Raises Conflict while a merge or
        rebase is under way, or when HEAD moved meanwhile; Corrupt for a changed file that is no
        document; GitError, NotFound, StorageError.  When it raises, HEAD is as before.
        """
        with self._mutex:
            return _Committing(self._store, self._backend).run(message, full=full)

    def batch(
        self, *, every: float | None = None, on_close: bool = True, message: str | None = None
    ) -> Batch:
        """Commit to git by itself: every so many seconds, when the store is closed, or both.

        Ends with the batch's ``close()``, or the store's.  What goes wrong in between is in its
        ``trouble``, and the next turn tries again; the last commit's error is raised by closing.
        """
        batch = Batch(self.commit, every, message, on_close=on_close)
        self._batches.append(batch)
        return batch

    def past(self, commit: str, computed: Callable[[str], Fields] | None = None) -> GitPast:
        """What ``store.at(git=…)`` reads."""
        repository = repositories.find(_folder(self._store))
        return GitPast(
            repository.root,
            commit,
            folder=repository.prefix,
            revision=self._backend.revision,
            computed=computed,
        )

    def close(self) -> None:
        """End the batches, each with its last commit; idempotent."""
        batches, self._batches = self._batches, []
        for batch in batches:
            batch.close()


class _Committing:
    """One commit being made."""

    def __init__(self, store: Store, backend: Backend) -> None:
        folder = _folder(store)
        self._store = store
        self._backend = backend
        # Git takes a while to start, each time: what does not depend on another is asked aside.
        self._objects = Objects(Git(folder))
        self._head = Aside(lambda: self._objects.find("HEAD^{commit}"))
        try:
            self._repository: Repository = repositories.find(folder)
        except BaseException:
            self._objects.close()
            raise
        self._git = self._repository.git
        self._commits: list[Commit] = []
        self._statuses: dict[str, os.stat_result] = {}  # as each file was before it was read
        self._settings = Aside(self._ask_settings)

    def run(self, message: str | None, *, full: bool) -> str | None:
        with contextlib.closing(self._objects) as objects:
            self._refuse_while_under_way()
            revision = self._backend.revision
            head = self._head.wait()
            parent = None if head is None else head[0]
            keys = None if full else self._changed_keys(parent)
            paths = self._all_paths() if keys is None else self._paths_of(keys)
            repository, prefix = self._repository, self._repository.prefix
            loose = Loose(repository.objects, objects.read)
            root = None if head is None else _tree_in(head[1])
            trees = Trees(loose.tree, repository.object_format, root)
            position = Position(revision, parent or "", repository.config.fanout)
            # In a large store the trees take longest, and next to them the index.
            with Aside(lambda: trees.open(prefix + path for path in paths)) as opening:
                self._publish(keys or ())
                files = {prefix + path: entry for path, entry in self._entries(paths).items()}
                with (
                    Aside(lambda: _changed_when(opening, trees, files)) as changing,
                    self._staging(files, trees, changing) as staging,
                ):
                    tree = changing.wait()
                    if not trees.differing:
                        staging.wait()
                        if parent is not None:
                            self._remember(position)
                        return None
                    told = message if message is not None else self._told(trees, files)
                    if self._plain:
                        for name, raw in trees.new.items():
                            loose.write_tree(name, raw)
                    else:
                        self._write_trees(trees)
                    commit = self._make_commit(tree, parent, told)
                    staging.wait()
        self._move_head(commit, parent, told)
        self._remember(replace(position, commit=commit))
        return commit

    def _staging(
        self, files: Mapping[str, TreeEntry | None], trees: Trees, changing: Aside[str]
    ) -> Aside[None]:
        """Have git's index say the same as the commit, of these files."""
        staging = Staging(self._repository, files, self._statuses)

        def folders() -> Mapping[str, Ids]:
            changing.wait()
            return trees.folders

        def there() -> None:
            changing.wait()  # nothing is staged where there can be no commit
            staging.there()

        return Aside(partial(staging.here_or_there, folders) if self._plain else there)

    @cached_property
    def _plain(self) -> bool:
        """Whether nothing is asked of how git writes its files."""
        told = self._settings.wait()
        return told.get("core.fsync", "none") == "none" and not {
            "core.fsyncobjectfiles",
            "core.sharedrepository",
        }.intersection(told)

    def _ask_settings(self) -> dict[str, str]:
        """Git's settings that matter here, those that are set."""
        names = (
            r"^(commit\.gpgsign|core\.(fsync|fsyncobjectfiles|sharedrepository|sparsecheckout))$"
        )
        done = self._git.call("config", "-z", "--get-regexp", names, codes=(0, 1))
        lines = (os.fsdecode(line).partition("\n") for line in done.stdout.split(b"\0"))
        return {name: value for name, _, value in lines if name}

    def _refuse_while_under_way(self) -> None:
        for name, what in _UNDER_WAY.items():
            if os.path.lexists(os.path.join(self._repository.git_dir, name)):
                raise Conflict(
                    f"a {what} is under way in {self._repository.root}: finish it with git"
                    " (filestore conflicts tells what is left), or give it up, and try again",
                    path=self._repository.root,
                )

    # -- what changed ---------------------------------------------------------------

    def _changed_keys(self, head: str | None) -> set[Key] | None:
        """The documents that commits since the position touched; None where that can't be told."""
        position = self._position()
        if (
            position is None
            or head is None
            or position.fanout != self._repository.config.fanout
            or position.revision > self._backend.revision
            or self._backend.horizon > position.revision
            or not self._leads_to(position.commit, head)
        ):
            return None
        self._commits = list(self._backend.changes(position.revision))
        return {op.key for commit in self._commits for op in commit.ops}

    def _leads_to(self, commit: str, head: str) -> bool:
        if commit == head:
            return True
        done = self._git.call("merge-base", "--is-ancestor", commit, head, codes=(0, 1, 128))
        return done.returncode == 0

    def _paths_of(self, keys: Iterable[Key]) -> list[str]:
        return [self._repository.path_of(key) for key in sorted(keys)]

    def _publish(self, keys: Iterable[Key]) -> None:
        """Have the files of these documents be what the store has."""
        if not all(self._is_published(key) for key in keys):
            self._backend.checkpoint()

    def _is_published(self, key: Key) -> bool:
        path = self._repository.path_of(key)
        entry = self._backend.get(key)
        raw = read_file(os.path.join(self._repository.root, path))
        if raw is None or entry is None:
            return raw is None and entry is None
        return repositories.parsed(self._repository.codec, raw) == entry.data

    def _all_paths(self) -> list[str]:
        """Every document, and every file of the store's own, that is not as HEAD has it."""
        self._backend.checkpoint()
        told = self._git.lines(
            *("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"),
            *("--ignore-submodules=all", "--", "."),
        )
        prefix = self._repository.prefix
        paths = (line[3:] for line in told)
        below = [path[len(prefix) :] for path in paths if path.startswith(prefix)]
        return [
            path
            for path in below
            if path in _OWN_FILES or self._repository.key_of(path) is not None
        ]

    def _entries(self, paths: list[str]) -> dict[str, TreeEntry | None]:
        """Each file as git is to have it, its content written; None for one that is gone."""
        found: dict[str, TreeEntry | None] = dict.fromkeys(paths)
        present = []
        for path in paths:
            full = os.path.join(self._repository.root, path)
            try:
                self._statuses[path] = os.lstat(full)
            except OSError:
                pass  # reading it tells
            raw = read_file(full)
            if raw is None:
                self._statuses.pop(path, None)
                continue
            if path not in _OWN_FILES:
                try:
                    self._repository.codec.parse(raw)
                except Corrupt as error:
                    raise Corrupt(
                        f"{full}: {error.message}; mend it, then commit to git",
                        key=self._repository.key_of(path),
                        path=full,
                        line=error.line,
                    ) from error
            present.append(path)
        if present:
            # Where it reads paths, git takes them from the top, wherever it was started.
            prefix = self._repository.prefix
            top = Git(self._repository.root[: -len(prefix)] if prefix else self._git.folder)
            feed = b"".join(os.fsencode(f"{prefix}{path}\n") for path in present)
            told = top.run("hash-object", "-w", "--stdin-paths", feed=feed)
            for path, id in zip(present, told.split(), strict=True):
                found[path] = TreeEntry("100644", bytes.fromhex(id.decode()))
        if None in found.values() and "core.sparsecheckout" in self._settings.wait():
            # It took the files away, and so the store does without them; the commit keeps them.
            prefix, left = self._repository.prefix, left_out(self._repository)
            found = {
                path: entry for path, entry in found.items() if entry or prefix + path not in left
            }
        return found

    # -- the commit -----------------------------------------------------------------

    def _told(self, trees: Trees, files: dict[str, TreeEntry | None]) -> str:
        verbs = {}
        for path, existed in trees.differing.items():
            key = self._repository.key_of(path[len(self._repository.prefix) :])
            if key is not None:
                gone = files[path] is None
                verbs[key] = "Delete" if gone else "Change" if existed else "Add"
        return message_for(verbs, self._commits)

    def _write_trees(self, trees: Trees) -> None:
        with tempfile.TemporaryDirectory(prefix="filestore-git-") as folder:
            for name, raw in trees.new.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(raw)
            # Object names do not compress, and those of a large folder take long to try.
            large = any(len(raw) > _LARGE for raw in trees.new.values())
            told = self._git.run(
                *(("-c", "core.looseCompression=0") if large else ()),
                *("hash-object", "-t", "tree", "-w", "--no-filters", "--stdin-paths"),
                feed="".join(f"{folder}/{name}\n" for name in trees.new).encode(),
            )
        assert told.decode().split() == list(trees.new)

    def _make_commit(self, tree: str, parent: str | None, message: str) -> str:
        signs = b""
        if "commit.gpgsign" in self._settings.wait():
            signs = self._git.run("config", "--type=bool", "--get", "commit.gpgSign", codes=(0, 1))
        arguments = ["commit-tree", tree, "-F", "-"]
        if parent is not None:
            arguments += ["-p", parent]
        if signs.strip() == b"true":
            arguments.append("-S")
        text = message.replace("\0", "").rstrip("\n") + "\n"
        return self._git.run(*arguments, feed=text.encode(errors="replace")).decode().strip()

    def _move_head(self, commit: str, parent: str | None, message: str) -> None:
        subject = message.partition("\n")[0]
        old = parent if parent is not None else "0" * len(commit)
        done = self._git.call(
            *("update-ref", "-m", f"commit (filestore): {subject}", "HEAD", commit, old),
            codes=(0, 1, 128),
        )
        if done.returncode:
            raise Conflict(
                f"{self._repository.root}: somebody else committed meanwhile: try again"
                f" ({done.stderr.decode(errors='replace').strip()})",
                path=self._repository.root,
            )

    # -- the position ---------------------------------------------------------------

    @property
    def _place(self) -> str:
        return os.path.join(self._repository.root, RUNTIME, "git")

    def _position(self) -> Position | None:
        raw = read_file(self._place)
        if raw is None:
            return None
        try:
            told = json.loads(raw)
            return Position(int(told["revision"]), str(told["commit"]), int(told["fanout"]))
        except (ValueError, KeyError, TypeError):
            return None  # as good as none: every file is looked at

    def _remember(self, position: Position) -> None:
        told = {
            "revision": position.revision,
            "commit": position.commit,
            "fanout": position.fanout,
        }
        if not self._store.readonly:
            # Not synced: an older position is good, and one that is no position as good as none.
            write_file(self._place, f"{json.dumps(told)}\n".encode(), sync=False)


def _folder(store: Store) -> str:
    if store.location == "memory:" or "://" in store.location:
        raise FilestoreError(f"{store.location} is in no folder that git could keep")
    return store.location


def _changed_when(opening: Aside[None], trees: Trees, files: Mapping[str, TreeEntry | None]) -> str:
    opening.wait()
    return trees.change(files)


def _tree_in(commit: bytes) -> str:
    return commit.split(b"\n", 1)[0].split(b" ")[1].decode()
